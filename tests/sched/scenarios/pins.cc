// Mail 004: loads beside the swap cache. What keeps a page's bytes where they are while somebody reads them:
// the slot's lock, or, besides, a mark in the page table (vm/load_marks.h). The mail's races are explored
// with both, each from the pool and from a device that is memory.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"
#include "sync/futex.h"

namespace coldpress::testing {
namespace {

using sync::Mutant;
using sync::Variant;

// What keeps the bytes, and where they are: in the pool, or on a device that is memory, from where they are
// read in place, without a wait.
struct From {
  Variant variant;
  bool device = false;
};
MachineOptions machine_for(From from, bool takes_messages, std::uint32_t servers = 0) {
  return {.devices = from.device ? 1u : 0u,
          .synchronous = from.device,
          .servers = servers,
          .takes_messages = takes_messages,
          .variant = from.variant};
}
void out(Machine& m, From from, PageIndex page, std::uint64_t number) {
  m.out(page, number, from.device ? Machine::Tier::kDevice : Machine::Tier::kPool);
}

void to_device(Machine& m) {
  m.write_back();
  m.settle_writes();
}

// A slow reader; meanwhile the page is loaded, changed, and goes out into the same slot. The
// kernel's bug: the reader found an entry that was equal, and mapped the old bytes.
template <From kFrom>
void load_against_reuse(Run& run) {
  Machine m(run, machine_for(kFrom, false));
  PageRange pages = m.map(1);
  PageIndex a = pages.begin;
  out(m, kFrom, a, 1);
  sync::Atomic<bool> written{false};
  run.task("reader", [&] {
    bool before = written.load(sync::kRelaxed);
    std::uint64_t found = m.read(a);
    MUST(found == 2 || (found == 1 && !before));
  });
  run.task("program", [&] {
    MUST(m.read(a) == 1);
    m.write(a, 2);
    written.store(true, sync::kRelaxed);
    m.page_out(pages);
    if (kFrom.device) to_device(m);
  });
  run.go();
  MUST(m.read(a) == 2);
  m.check();
}

// Two pages and one free slot: the second page's bytes stand where the first one's stood.
template <From kFrom>
void load_against_another_page(Run& run) {
  Machine m(run, machine_for(kFrom, false));
  PageRange pages = m.map(2);
  PageIndex a = pages.begin, b = a + 1;
  out(m, kFrom, a, 1);
  m.write(b, 2);
  run.task("reader", [&] { MUST(m.read(a) == 1); });
  run.task("program", [&] {
    MUST(m.read(a) == 1);
    m.page_out({b, pages.end});
    if (kFrom.device) to_device(m);
    MUST(m.read(b) == 2);
  });
  run.go();
  MUST(m.read(a) == 1);
  MUST(m.read(b) == 2);
  m.check();
}

// MADV_DONTNEED while the page is loaded, by one that faults on it then.
template <From kFrom>
void load_against_zap(Run& run) {
  Machine m(run, machine_for(kFrom, true));
  PageRange pages = m.map(1);
  PageIndex a = pages.begin;
  out(m, kFrom, a, 1);
  sync::Atomic<bool> zapped{false};
  run.task("reader", [&] {
    bool before = zapped.load(sync::kRelaxed);
    std::uint64_t found = m.read(a);
    MUST(found == Machine::kZeros || (found == 1 && !before));
  });
  run.task("program", [&] {
    m.drop(pages);
    zapped.store(true, sync::kRelaxed);
    MUST(m.read(a) == Machine::kZeros);
  });
  run.go();
  MUST(m.read(a) == Machine::kZeros);
  m.check();
}

// A fork while the page is loaded: the child has it, too.
template <From kFrom>
void load_against_fork(Run& run) {
  Machine m(run, machine_for(kFrom, true));
  PageRange pages = m.map(1);
  PageIndex a = pages.begin;
  out(m, kFrom, a, 1);
  int child = 0;
  run.task("reader", [&] { MUST(m.read(a) == 1); });
  run.task("program", [&] { child = m.fork(); });
  run.go();
  MUST(m.read(a) == 1);
  MUST(m.child_read(child, a) == 1);
  m.sim().child_exit(child);
  m.check();
}

// The thread path: a server serves the fault of a sleeping thread, and another takes the page out again.
template <From kFrom>
void servers_against_reclaim(Run& run) {
  Machine m(run, machine_for(kFrom, false, 1));
  PageRange pages = m.map(1);
  PageIndex a = pages.begin;
  out(m, kFrom, a, 1);
  m.serve_by_daemons();
  run.task("program", [&] {
    MUST(m.read(a) == 1);
    m.write(a, 2);
  });
  run.task("reclaim", [&] { m.page_out(pages); });
  run.go();
  m.serve_here();
  MUST(m.read(a) == 2);
  m.check();
}

// The page goes elsewhere while it is read, and is read there.
void load_against_move(Run& run) {
  Machine m(run, {.takes_messages = true, .variant = Variant::kMarks});
  PageRange pages = m.map(1);
  PageIndex a = pages.begin, there = a + 8;
  m.out(a, 1);
  run.task("reader", [&] {
    std::uint64_t found = m.read(a);
    MUST(found == 1 || found == Machine::kNoPage);
  });
  run.task("program", [&] {
    m.move(pages, there);
    MUST(m.read(there) == 1);
  });
  run.go();
  MUST(m.read(there) == 1);
  MUST(m.read(a) == Machine::kNoPage);
  m.check();
}

// A clone is made of what is being read.
void load_against_clone(Run& run) {
  Machine m(run, {.takes_messages = true, .variant = Variant::kMarks});
  PageRange pages = m.map(1), copy = m.map(1, 600);
  m.out(pages.begin, 1);
  bool cloned = false;
  run.task("reader", [&] { MUST(m.read(pages.begin) == 1); });
  run.task("program", [&] { cloned = m.clone(pages, copy.begin); });
  run.go();
  MUST(m.read(pages.begin) == 1);
  if (cloned) MUST(m.read(copy.begin) == 1);
  m.check();
}

// The device does not answer until the program has given the page up, which must not wait for it. With
// `kSecond` neither must another reader.
template <bool kSecond>
void zap_while_the_device_hangs(Run& run) {
  Machine m(run, {.devices = 1, .takes_messages = true});
  PageRange pages = m.map(1);
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  m.device(0).hang();
  sync::Atomic<std::uint32_t> one_has_it{0};
  // Two may have come before the page was given up; then one reads, and the other must not wait for him.
  auto reader = [&] {
    MUST(m.read(pages.begin) == Machine::kZeros);
    if (!kSecond) return;
    one_has_it.store(1);
    sync::futex_wake(&one_has_it, 1);
  };
  run.task("first", reader);
  if (kSecond) run.task("second", reader);
  run.task("program", [&] {
    m.drop(pages);
    MUST(m.read(pages.begin) == Machine::kZeros);
    while (kSecond && one_has_it.load() == 0) sync::futex_wait(&one_has_it, 0);
    m.device(0).let_go();
  });
  run.go();
  MUST(m.read(pages.begin) == Machine::kZeros);
  m.check();
}

// What comes along with a fault is damaged: the run ends before it, and who asks for it is told.
void run_meets_damage(Run& run) {
  Machine m(run, {.devices = 1, .device_bytes = 2 << 20});
  PageRange pages = m.map(3);
  PageIndex last = pages.begin + 2;
  for (std::uint64_t i = 0; i < 3; ++i) m.out(pages.begin + i, i + 1, Machine::Tier::kDevice);
  m.device(0).scribble(2 * swap::kSegmentBytes, os::kBlockBytes);  // each is alone in its segment
  run.task("stream", [&] {
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
    MUST(m.read(last) == Machine::kLost);
  });
  run.task("other", [&] { MUST(m.read(last) == Machine::kLost); });
  run.go();
  m.check();
}

}  // namespace

std::vector<Scenario> pin_scenarios() {
  constexpr From kPins{Variant::kPins}, kMarks{Variant::kMarks};
  constexpr From kInPlace{Variant::kPins, true}, kMarkedInPlace{Variant::kMarks, true};
  return {
      {.name = "load_against_reuse",
       .body = load_against_reuse<kPins>,
       .bound = 3,
       .marks = {"fault: starts over"},
       .mutants = {{Mutant::kEqualIsProof, "equal_is_proof"}}},
      {.name = "load_against_reuse_marked",
       .body = load_against_reuse<kMarks>,
       .bound = 3,
       .marks = {"fault: sleeps on a mark"}},
      {.name = "load_in_place_against_reuse",
       .body = load_against_reuse<kInPlace>,
       .bound = 3,
       .marks = {"fault: starts over"},
       .mutants = {{Mutant::kEqualIsProof, "equal_is_proof"}}},
      {.name = "load_in_place_against_reuse_marked",
       .body = load_against_reuse<kMarkedInPlace>,
       .marks = {"fault: sleeps on a mark"}},
      {.name = "load_against_another_page",
       .body = load_against_another_page<kPins>,
       .bound = 3,
       .marks = {"fault: sleeps on the slot"},
       .mutants = {{Mutant::kNoPin, "no_pin"}}},
      {.name = "load_against_another_page_marked",
       .body = load_against_another_page<kMarks>,
       .bound = 3,
       .marks = {"fault: sleeps on a mark"}},
      {.name = "load_in_place_against_another_page",
       .body = load_against_another_page<kInPlace>,
       .bound = 3,
       .marks = {"fault: sleeps on the slot"},
       .mutants = {{Mutant::kNoPin, "no_pin"}}},
      {.name = "load_against_zap",
       .body = load_against_zap<kPins>,
       .surprised_bound = 0,
       .marks = {"fault: the page could not be mapped"},
       .mutants = {{Mutant::kUnpinEarly, "unpin_early"}}},
      {.name = "load_against_zap_marked",
       .body = load_against_zap<kMarks>,
       .surprised_bound = 0,
       .marks = {"fault: the page was given up while it was read"},
       .mutants = {{Mutant::kMarkForgetsZap, "mark_forgets_zap"},
                   {Mutant::kMarkDropsTwice, "mark_drops_twice"}}},
      {.name = "load_in_place_against_another_page_marked",
       .body = load_against_another_page<kMarkedInPlace>,
       .marks = {"fault: sleeps on a mark"}},
      {.name = "load_in_place_against_zap",
       .body = load_against_zap<kInPlace>,
       .surprised_bound = 0,
       .marks = {"fault: the page could not be mapped"},
       .mutants = {{Mutant::kUnpinEarly, "unpin_early"}}},
      {.name = "load_in_place_against_zap_marked",
       .body = load_against_zap<kMarkedInPlace>,
       .surprised_bound = 0,
       .marks = {"fault: the page was given up while it was read"},
       .mutants = {{Mutant::kMarkForgetsZap, "mark_forgets_zap"}}},
      {.name = "load_against_fork",
       .body = load_against_fork<kPins>,
       .surprised_bound = 0,
       .marks = {"fault: the page could not be mapped"}},
      {.name = "load_against_fork_marked",
       .body = load_against_fork<kMarks>,
       .surprised_bound = 0,
       .marks = {"fork: what is being read is read for the child"}},
      {.name = "load_in_place_against_fork",
       .body = load_against_fork<kInPlace>,
       .surprised_bound = 0,
       .marks = {"fault: the page could not be mapped"}},
      {.name = "load_in_place_against_fork_marked",
       .body = load_against_fork<kMarkedInPlace>,
       .surprised_bound = 0,
       .marks = {"fork: what is being read is read for the child"}},
      {.name = "load_against_move_marked",
       .body = load_against_move,
       .surprised_bound = 0,
       .marks = {"fault: the page was moved while it was read"},
       .mutants = {{Mutant::kMarkMoves, "mark_moves"}}},
      {.name = "load_against_clone_marked", .body = load_against_clone, .marks = {"clone: waits for a load"}},
      {.name = "servers_against_reclaim",
       .body = servers_against_reclaim<kPins>,
       .surprised_bound = 0,
       .marks = {"fault: sleeps on the slot"}},
      {.name = "servers_against_reclaim_marked",
       .body = servers_against_reclaim<kMarks>,
       .surprised_bound = 0,
       .marks = {"fault: loads with a mark"}},
      {.name = "servers_in_place_against_reclaim",
       .body = servers_against_reclaim<kInPlace>,
       .surprised_bound = 0,
       .marks = {"fault: sleeps on the slot"}},
      {.name = "servers_in_place_against_reclaim_marked",
       .body = servers_against_reclaim<kMarkedInPlace>,
       .surprised_bound = 0,
       .marks = {"fault: loads with a mark"}},
      {.name = "zap_while_the_device_hangs",
       .body = zap_while_the_device_hangs<false>,
       .surprised_bound = 0,
       .marks = {"fault: the page was given up while it was read"},
       .mutants = {{Mutant::kNoMark, "no_mark"}}},
      {.name = "zap_and_read_while_the_device_hangs",
       .body = zap_while_the_device_hangs<true>,
       .bound = 1,  // at 2: 3,021,708 executions, three minutes
       .surprised_bound = 0,
       .marks = {"fault: the page was given up while it was read"},
       .mutants = {{Mutant::kNoMark, "no_mark"}}},
      {.name = "run_meets_damage",
       .body = run_meets_damage,
       .marks = {"fault: sleeps on a mark"},
       .mutants = {{Mutant::kMarkStays, "mark_stays"}}},
  };
}

}  // namespace coldpress::testing
