// Mails 002 and 003: loads. Who owns a page's bytes between the pool and the page table, and who waits for
// whom when two fault on one slot.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

using Mutant = sync::Mutant;

// Mail 002. Two threads load one page; either may have to start over, because the machine says that the
// layout is changing. The kernel's bug: the first had the only copy in a page of its own, lost the race, and
// threw it away.
void two_loads_from(Run& run, Machine::Tier tier, bool synchronous,
                    os::SimInterference interference = {.changing = 1}) {
  MachineOptions options{
      .devices = 1, .synchronous = synchronous, .takes_messages = true, .interference = interference};
  if (tier == Machine::Tier::kPool) options.devices = 0;
  Machine m(run, options);
  PageRange pages = m.map(1);
  m.out(pages.begin, 1, tier);
  m.begin_failures(options);
  for (const char* name : {"first", "second"}) {
    run.task(name, [&] { MUST(m.read(pages.begin) == 1); });
  }
  run.go();
  m.end_failures();
  MUST(m.read(pages.begin) == 1);
  m.check();
}

void two_loads(Run& run) { two_loads_from(run, Machine::Tier::kPool, false); }
void two_loads_from_device(Run& run) { two_loads_from(run, Machine::Tier::kDevice, false); }
// Mail 003, what a fault does when the page can not be had: it leaves everything as it was, for the other.
void two_loads_without_memory(Run& run) {
  two_loads_from(run, Machine::Tier::kPool, false, {.no_memory = 1});
}
void two_loads_from_memory(Run& run) { two_loads_from(run, Machine::Tier::kDevice, true); }

// The second fault brings the page behind it along, which another thread has, changes and sends out again.
void run_against_reuse(Run& run) {
  Machine m(run, {});
  PageRange pages = m.map(3);
  for (std::uint64_t i = 0; i < 3; ++i) m.out(pages.begin + i, i + 1);
  run.task("stream", [&] {
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
  });
  run.task("program", [&] {
    m.write(pages.begin + 2, 33);
    m.page_out({pages.begin + 2, pages.end});
  });
  run.go();
  MUST(m.read(pages.begin + 2) == 33);
  m.check();
}

// The device goes while a run is read from it.
void run_against_swapoff(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(3);
  for (std::uint64_t i = 0; i < 2; ++i) m.out(pages.begin + i, i + 1);
  m.out(pages.begin + 2, 3, Machine::Tier::kDevice);
  MUST(m.space().devices().records() == 3);
  run.task("stream", [&] {
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
  });
  run.task("swapoff", [&] { MUST(m.swap_off(0) == vm::Space::SwapOff::kDone); });
  run.go();
  for (std::uint64_t i = 0; i < 3; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

// Pages come in a run, and their copies are kept; one is written to. They go out again, meanwhile the copies
// are given up.
void copies_against_reclaim(Run& run) {
  Machine m(run, {});
  PageRange pages = m.map(3);
  m.space().set_readahead(2);  // so this is a stream at its full width
  for (std::uint64_t i = 0; i < 3; ++i) m.out(pages.begin + i, i + 1);
  run.task("program", [&] {
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
    m.write(pages.begin + 2, 33);
  });
  run.task("reclaim", [&] { m.page_out({pages.begin + 1, pages.end}); });
  run.task("pressure", [&] { m.space().zswap().drop_kept(); });
  run.go();
  m.page_out(pages);
  MUST(m.read(pages.begin) == 1 && m.read(pages.begin + 1) == 2 && m.read(pages.begin + 2) == 33);
  m.check();
}

// A page that came back, was not written to, and goes out again.
void load_and_store_again(Run& run) {
  Machine m(run, {});
  PageRange pages = m.map(1);
  m.out(pages.begin, 1);
  run.task("program", [&] { MUST(m.read(pages.begin) == 1); });
  run.task("reclaim", [&] { m.page_out(pages); });
  run.go();
  m.page_out(pages);
  MUST(m.read(pages.begin) == 1);
  m.check();
}

// Mail 003. Two threads fault on one slot at the limit: each may have to make room first, and reclaim meets
// the same slot. The kernel's livelock: the slot was marked before the page was allocated, and whoever found
// the mark looked again, and again.
void two_faults_at_the_limit(Run& run) {
  Machine m(run, {.limit_pages = 5});
  PageRange pages = m.map(3);
  m.out(pages.begin, 1);
  m.write(pages.begin + 1, 2);
  m.write(pages.begin + 2, 3);
  m.rest();
  run.task("first", [&] {
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
  });
  run.task("second", [&] {
    MUST(m.read(pages.begin + 1) == 2);
    MUST(m.read(pages.begin) == 1);
  });
  run.go();
  for (std::uint64_t i = 0; i < 3; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

// The same with room: the losers sleep on the winner's slot, or mark, and nobody looks at the clock.
template <sync::Variant variant, Machine::Tier tier = Machine::Tier::kPool>
void three_faults_on_one_page(Run& run) {
  constexpr bool kDevice = tier == Machine::Tier::kDevice;
  Machine m(run, {.devices = kDevice ? 1u : 0u, .synchronous = kDevice, .variant = variant});
  PageRange pages = m.map(1);
  m.out(pages.begin, 1, tier);
  for (const char* name : {"first", "second", "third"}) {
    run.task(name, [&] { MUST(m.read(pages.begin) == 1); });
  }
  run.go();
  m.check();
}

}  // namespace

std::vector<Scenario> load_scenarios() {
  return {
      {.name = "two_loads",
       .body = two_loads,
       .marks = {"fault: the page could not be mapped"},
       .mutants = {{Mutant::kExclusiveLoad, "exclusive_load"},
                   {Mutant::kLeakOnRetry, "leak_on_retry"},
                   {Mutant::kUnpinEarly, "unpin_early"}}},
      {.name = "two_loads_from_device",
       .body = two_loads_from_device,
       .marks = {"fault: the page could not be mapped"},
       .mutants = {{Mutant::kDeviceExclusive, "device_exclusive"}}},
      {.name = "two_loads_from_memory",
       .body = two_loads_from_memory,
       .marks = {"fault: the page could not be mapped"},
       .mutants = {{Mutant::kDeviceExclusive, "device_exclusive"}}},
      {.name = "two_loads_without_memory",
       .body = two_loads_without_memory,
       .marks = {"fault: the page could not be mapped", "fault: sleeps on the slot"},
       .mutants = {{Mutant::kLeakOnRetry, "leak_on_retry"}, {Mutant::kExclusiveLoad, "exclusive_load"}}},
      {.name = "run_against_reuse",
       .body = run_against_reuse,
       .marks = {"fault: a run comes at once"},
       .mutants = {{Mutant::kRunEqualIsProof, "run_equal_is_proof"}}},
      {.name = "run_against_swapoff",
       .body = run_against_swapoff,
       .marks = {"fault: a run comes at once"},
       .mutants = {{Mutant::kRunUnlocked, "run_unlocked"}}},
      {.name = "copies_against_reclaim",
       .body = copies_against_reclaim,
       .marks = {"zswap: a copy is kept", "zswap: a kept copy serves", "zswap: a kept copy is out of date"},
       .mutants = {{Mutant::kTrustCopy, "trust_copy"}, {Mutant::kLeakCopy, "leak_copy"}}},
      {.name = "load_and_store_again",
       .body = load_and_store_again,
       .bound = 3,
       .mutants = {{Mutant::kCleanDrop, "clean_drop"},
                   {Mutant::kKeepCopy, "keep_copy"},
                   {Mutant::kCompressUnlocked, "compress_unlocked"}}},
      {.name = "two_faults_at_the_limit",
       .body = two_faults_at_the_limit,
       .marks = {"fault: makes room first"},
       .mutants = {{Mutant::kPublishFirst, "publish_first"}}},
      {.name = "two_faults_on_one_slot",
       .body = three_faults_on_one_page<sync::Variant::kAsBuilt>,
       .sleeps = 0,
       .marks = {"fault: sleeps on the slot"},
       .mutants = {{Mutant::kPollForSlot, "poll_for_slot"}}},
      {.name = "three_loads_in_place",
       .body = three_faults_on_one_page<sync::Variant::kPins, Machine::Tier::kDevice>,
       .sleeps = 0,
       .marks = {"fault: sleeps on the slot"},
       .mutants = {{Mutant::kPollForSlot, "poll_for_slot"}}},
      {.name = "three_loads_marked",
       .body = three_faults_on_one_page<sync::Variant::kMarks>,
       .sleeps = 0,
       .marks = {"fault: sleeps on a mark"},
       .mutants = {{Mutant::kMarkWakesNobody, "mark_wakes_nobody"}}},
      {.name = "three_loads_in_place_marked",
       .body = three_faults_on_one_page<sync::Variant::kMarks, Machine::Tier::kDevice>,
       .sleeps = 0,
       .marks = {"fault: sleeps on a mark"},
       .mutants = {{Mutant::kMarkWakesNobody, "mark_wakes_nobody"}}},
  };
}

}  // namespace coldpress::testing
