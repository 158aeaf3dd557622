// What the kernel's history does not have: changes of the layout, forks and limits while captured pages are
// in flight, and orders.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

// A fork while pages are captured and compressed.
void fork_against_capture(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(2);
  m.write(pages.begin, 1);
  m.write(pages.begin + 1, 2);
  int child = 0;
  run.task("reclaim", [&] { m.page_out(pages); });
  run.task("program", [&] { child = m.fork(); });
  run.go();
  for (std::uint64_t i = 0; i < 2; ++i) {
    MUST(m.read(pages.begin + i) == i + 1);
    MUST(m.child_read(child, pages.begin + i) == i + 1);
  }
  m.sim().child_exit(child);
  m.check();
}

// Pages are captured while the program gives them up.
void zap_against_capture(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(2);
  m.write(pages.begin, 1);
  m.write(pages.begin + 1, 2);
  run.task("reclaim", [&] { m.page_out(pages); });
  run.task("program", [&] {
    m.drop({pages.begin, pages.begin + 1});
    MUST(m.read(pages.begin) == Machine::kZeros);
    MUST(m.read(pages.begin + 1) == 2);
  });
  run.go();
  MUST(m.read(pages.begin) == Machine::kZeros);
  MUST(m.read(pages.begin + 1) == 2);
  m.check();
}

// An address is unmapped, used again and adopted while its old pages are captured.
void adoption_against_unmap(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(1);
  m.write(pages.begin, 1);
  run.task("reclaim", [&] { m.page_out(pages); });
  run.task("program", [&] {
    m.unmap(pages);
    m.map_again(pages);
    MUST(m.read(pages.begin) == Machine::kZeros);
    m.write(pages.begin, 2);
  });
  run.go();
  MUST(m.read(pages.begin) == 2);
  m.check();
}

// The monitor adopts what its view of the mappings shows, which the program unmaps, and maps something there
// that is not the engine's.
void adoption_of_what_goes(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(1), found{pages.begin + 8, pages.begin + 10};
  m.map_unmanaged(found);
  m.write(found.begin, 1);
  run.task("monitor", [&] {
    (void)m.space().adopt(found, m.worker());
    m.page_out(found);
  });
  run.task("program", [&] {
    m.unmap(found);
    for (std::uint64_t i = 0; i < 2; ++i) {
      m.map_unmanaged({found.begin + i, found.begin + i + 1});
      m.write(found.begin + i, 2 + i);
    }
    for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(found.begin + i) == 2 + i);
  });
  run.go();
  for (std::uint64_t i = 0; i < 2; ++i) MUST(m.read(found.begin + i) == 2 + i);
  m.check();
}

// mremap while the page is stored, and a read of where it is now.
void move_against_capture(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(1);
  PageIndex there = pages.begin + 8;
  m.write(pages.begin, 1);
  run.task("reclaim", [&] { m.page_out(pages); });
  run.task("program", [&] {
    m.move(pages, there);
    MUST(m.read(there) == 1);
  });
  run.go();
  MUST(m.read(there) == 1);
  MUST(m.read(pages.begin) == Machine::kNoPage);
  m.check();
}

// The limit is lowered while a page is stored and another is loaded.
void limit_against_store(Run& run) {
  Machine m(run, {});
  PageRange pages = m.map(3);
  m.out(pages.begin, 1);
  m.write(pages.begin + 1, 2);
  m.write(pages.begin + 2, 3);
  run.task("order", [&] {
    m.group().set_limit(3);
    m.space().reclaim_to(2, m.worker());
    m.space().handle_pending(m.worker());
  });
  run.task("program", [&] {
    m.page_out({pages.begin + 1, pages.begin + 2});
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
  });
  run.go();
  for (std::uint64_t i = 0; i < 3; ++i) MUST(m.read(pages.begin + i) == i + 1);
  m.check();
}

// Two orders to swap one device off: one does it.
void swapoff_twice(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(1);
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  vm::Space::SwapOff results[2];
  // Orders come from the monitor, one after the other; the program reads meanwhile.
  run.task("orders", [&] {
    for (auto& result : results) result = m.swap_off(0);
  });
  run.task("program", [&] { MUST(m.read(pages.begin) == 1); });
  run.go();
  MUST(results[0] == vm::Space::SwapOff::kDone);
  MUST(results[1] == vm::Space::SwapOff::kNotThere);
  MUST(m.read(pages.begin) == 1);
  m.check();
}

// A page comes from a device while the device's segment is looked after.
void tidying_against_load(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(2);
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  m.out(pages.begin + 1, 2, Machine::Tier::kDevice);
  run.task("monitor", [&] {
    for (int i = 0; i < 2; ++i) {
      m.space().tidy_devices(m.worker());
      m.settle_writes();
    }
  });
  run.task("program", [&] {
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == 2);
    m.write(pages.begin, 11);
    m.page_out(pages);
    m.write_back();
  });
  run.go();
  m.finish_writes();
  MUST(m.read(pages.begin) == 11);
  MUST(m.read(pages.begin + 1) == 2);
  m.check();
}

// What is packed again is damaged where it was, and found so by a load, before the copy has arrived. The page
// is lost, and the copy's record goes.
void tidying_against_damage(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(2);
  PageIndex a = pages.begin, b = a + 1;
  m.out(a, 1, Machine::Tier::kDevice);
  m.out(b, 2, Machine::Tier::kDevice);
  run.task("monitor", [&] {
    m.space().tidy_devices(m.worker());
    m.device(0).scribble(0, os::kBlockBytes);
    m.settle_writes();
  });
  std::uint64_t found = 0;
  run.task("program", [&] {
    found = m.read(a);
    if (found == Machine::kLost) sync::mark("the page is lost");
  });
  run.go();
  m.finish_writes();
  MUST(found == 1 || found == Machine::kLost);
  MUST(m.read(b) == 2);
  m.check();
}

// Somebody unmaps what another thread faults on.
void unmap_against_load(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(1);
  m.out(pages.begin, 1);
  run.task("reader", [&] {
    std::uint64_t found = m.read(pages.begin);
    MUST(found == 1 || found == Machine::kNoPage);
  });
  run.task("program", [&] { m.unmap(pages); });
  run.go();
  m.check();
}

}  // namespace

std::vector<Scenario> layout_scenarios() {
  return {
      {.name = "fork_against_capture",
       .body = fork_against_capture,
       .surprised_bound = 0,
       .marks = {"capture: the layout has changed between two runs"},
       .mutants = {{sync::Mutant::kChildMissesFrame, "child_misses_frame"}}},
      {.name = "zap_against_capture",
       .body = zap_against_capture,
       .surprised_bound = 0,
       .marks = {"capture: the layout has changed between two runs"}},
      {.name = "adoption_against_unmap",
       .body = adoption_against_unmap,
       .surprised_bound = 0,
       .marks = {"capture: the layout has changed between two runs"}},
      {.name = "adoption_of_what_goes",
       .body = adoption_of_what_goes,
       .surprised_bound = 0,
       .marks = {"capture: the layout has changed between two runs"},
       .mutants = {{sync::Mutant::kAdoptBlind, "adopt_blind"}}},
      {.name = "move_against_capture",
       .body = move_against_capture,
       .surprised_bound = 0,
       .marks = {"capture: the layout has changed between two runs"}},
      {.name = "limit_against_store", .body = limit_against_store, .marks = {"fault: makes room first"}},
      {.name = "swapoff_twice", .body = swapoff_twice, .bound = 3, .marks = {"fault: starts over"}},
      {.name = "tidying_against_load",
       .body = tidying_against_load,
       .marks = {"cleaning: segments are packed again"},
       .mutants = {{sync::Mutant::kNoPin, "no_pin"}}},
      {.name = "tidying_against_damage",
       .body = tidying_against_damage,
       .marks = {"cleaning: segments are packed again", "the page is lost"},
       .mutants = {{sync::Mutant::kForgetRecord, "forget_record"}}},
      {.name = "unmap_against_load",
       .body = unmap_against_load,
       .marks = {"fault: the page could not be mapped"}},
  };
}

}  // namespace coldpress::testing
