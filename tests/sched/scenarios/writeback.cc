// Mail 000: writeback of the compressed pages' LRU against invalidation, reuse of the slot, and swapoff.
//
// The kernel's bug: the shrinker took an entry off the LRU, let the lock go, and used what the entry said
// although the page could have been freed, its slot given to another page, its device swapped off.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

using Mutant = sync::Mutant;

// Two pages in the pool, one who writes them back, and a program that uses them meanwhile; then the first
// holds `first` and the second what it held.
void beside_a_writer(Run& run, void (*program)(Machine& m, PageIndex a, PageIndex b), std::uint64_t first) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(2);
  PageIndex a = pages.begin, b = a + 1;
  m.out(a, 1);
  m.out(b, 2);
  run.task("writer", [&] {
    m.write_back();
    m.write_back();
  });
  run.task("program", [&] { program(m, a, b); });
  run.go();
  m.finish_writes();
  MUST(m.read(a) == first);
  MUST(m.read(b) == 2);
  m.check();
}

// The page under writeback is read, changed, and stored again, into the slot and the entry that became free.
void writeback_against_reuse(Run& run) {
  auto program = [](Machine& m, PageIndex a, PageIndex b) {
    MUST(m.read(a) == 1);
    m.write(a, 11);
    m.page_out({a, b});
  };
  beside_a_writer(run, program, 11);
}

// Two pages change places: each comes back and is stored where the other was.
void writeback_against_exchange(Run& run) {
  auto program = [](Machine& m, PageIndex a, PageIndex b) {
    MUST(m.read(a) == 1);
    MUST(m.read(b) == 2);
    m.page_out({a, b});
    m.page_out({b, b + 1});
  };
  beside_a_writer(run, program, 1);
}

// The device goes while pages are on their way to it, and one is read.
void writeback_against_swapoff(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(3);
  PageIndex a = pages.begin, b = a + 1, c = a + 2;
  m.out(a, 1, Machine::Tier::kDevice);
  m.out(b, 2);
  m.out(c, 3);
  run.task("writer", [&] {
    m.write_back();
    m.write_back();
  });
  run.task("swapoff", [&] { MUST(m.swap_off(0) == vm::Space::SwapOff::kDone); });
  run.task("program", [&] {
    MUST(m.read(a) == 1);
    MUST(m.read(b) == 2);
  });
  run.go();
  MUST(m.space().devices().records() == 0);
  MUST(m.read(a) == 1);
  MUST(m.read(b) == 2);
  MUST(m.read(c) == 3);
  m.check();
}

// A write that fails leaves the page where it was, whatever happens meanwhile.
void failing_writes(Run& run) {
  MachineOptions options{.devices = 1, .device_faults = {.write_error = 1}};
  Machine m(run, options);
  PageRange pages = m.map(1);
  PageIndex a = pages.begin;
  m.out(a, 1);
  m.begin_failures(options);
  run.task("writer", [&] {
    m.write_back();
    m.write_back();
  });
  run.task("program", [&] { MUST(m.read(a) == 1); });
  run.go();
  m.end_failures();
  m.finish_writes();
  MUST(m.read(a) == 1);
  m.check();
}

// Pages of two groups, of which the first ends while both are written back.
void writeback_against_end_of_group(Run& run) {
  Machine m(run, {.devices = 1, .counted = true});
  PageRange one = m.map(1), other = m.map(1, 8);
  memgroup::AccountId ends = m.group_with(one, {}), stays = m.group_with(other, {});
  m.out(one.begin, 1);
  m.out(other.begin, 2);
  run.task("writer", [&] {
    m.write_back();
    m.settle_writes();
  });
  run.task("program", [&] {
    MUST(m.read(one.begin) == 1);
    m.space().close_group(ends);
  });
  run.go();
  m.write_back();
  m.finish_writes();
  MUST(m.group().accounts()[stays].swapped.load() == 1);
  MUST(m.read(other.begin) == 2);
  m.check();
}

// Two who reclaim, one device: one packs, the other goes on without it.
void two_writers(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(2);
  PageIndex a = pages.begin, b = a + 1;
  m.out(a, 1);
  m.out(b, 2);
  for (int i = 0; i < 2; ++i) {
    run.task("writer", [&] { m.write_back(); });
  }
  run.task("program", [&] { MUST(m.read(a) == 1); });
  run.go();
  m.finish_writes();
  MUST(m.read(a) == 1);
  MUST(m.read(b) == 2);
  m.check();
}

// One who needs memory, and may not touch devices himself, waits for what another writes: he is told when it
// has arrived. The clock, which would hide that he is not, is away.
void write_is_awaited(Run& run) {
  constexpr std::int64_t kLimit = 1000;
  Machine m(run, {.limit_pages = kLimit, .devices = 1, .variant = sync::Variant::kNoClock});
  PageRange pages = m.map(2);
  m.out(pages.begin, 1);
  m.out(pages.begin + 1, 2);
  run.task("writer", [&] {
    m.write_back();
    m.settle_writes();
  });
  run.task("reclaimer", [&] {
    m.worker().devices = false;
    m.group().set_usage(kLimit);
    m.space().reclaim_to(kLimit - 1, m.worker());
    m.group().set_usage(0);
  });
  run.go();
  m.finish_writes();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

}  // namespace

std::vector<Scenario> writeback_scenarios() {
  return {
      {.name = "writeback_against_reuse",
       .body = writeback_against_reuse,
       .bound = 3,
       .marks = {"writeback: the page has gone during the write", "writeback: the victim is in use, or gone"},
       .mutants = {{Mutant::kIsolateVictim, "isolate_victim"},
                   {Mutant::kTouchBeforeLock, "touch_before_lock"},
                   {Mutant::kNoIdentityCheck, "no_identity_check"},
                   {Mutant::kSettleUnchecked, "settle_unchecked"},
                   {Mutant::kForgetRecord, "forget_record"}}},
      {.name = "write_is_awaited",
       .body = write_is_awaited,
       .marks = {"reclaim: waits for a write"},
       .mutants = {{Mutant::kSettleQuietly, "settle_quietly"}}},
      {.name = "writeback_against_exchange",
       .body = writeback_against_exchange,
       .marks = {"writeback: the page has gone during the write"},
       .mutants = {{Mutant::kNoIdentityCheck, "no_identity_check"}}},
      {.name = "writeback_against_swapoff",
       .body = writeback_against_swapoff,
       .marks = {"fault: starts over", "writeback: the page has gone during the write"},
       .mutants = {{Mutant::kNoWaitForWrites, "no_wait_for_writes"},
                   {Mutant::kFreezeNothing, "freeze_nothing"},
                   {Mutant::kNoWriterBarrier, "no_writer_barrier"},
                   {Mutant::kFreeThenDrop, "free_then_drop"},
                   {Mutant::kNoPin, "no_pin"}}},
      {.name = "failing_writes",
       .body = failing_writes,
       .marks = {"fault: starts over", "writeback: the page has gone during the write"},
       .mutants = {{Mutant::kForgetUnlock, "forget_unlock"}, {Mutant::kTrustWrite, "trust_write"}}},
      {.name = "two_writers",
       .body = two_writers,
       .marks = {"fault: starts over", "writeback: the page has gone during the write"}},
      {.name = "writeback_against_end_of_group",
       .body = writeback_against_end_of_group,
       .bound = 3,
       .marks = {"writeback: the page has gone during the write", "writeback: the victim is in use, or gone"},
       .mutants = {{Mutant::kEmptyGroupEnds, "empty_group_ends"}, {Mutant::kForgetCharge, "forget_charge"}}},
  };
}

}  // namespace coldpress::testing
