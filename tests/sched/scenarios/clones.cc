// Clones: page words that share slots, while the pages come, go, and are written back.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

// A clone is made while the first range is used, and goes out.
void clone_against_fault(Run& run) {
  Machine m(run, {.takes_messages = true});
  PageRange pages = m.map(1), copies = m.map(1, 8);
  m.out(pages.begin, 1);
  bool cloned = false;
  run.task("cloner", [&] {
    cloned = m.clone(pages, copies.begin);
    if (cloned) MUST(m.read(copies.begin) == 1);
  });
  run.task("program", [&] { MUST(m.read(pages.begin) == 1); });
  run.task("reclaim", [&] { m.page_out(pages); });
  run.go();
  MUST(cloned);
  MUST(m.read(pages.begin) == 1);
  MUST(m.read(copies.begin) == 1);
  m.check();
}

// Two who share a slot load it, one writes; a device takes it meanwhile.
void sharers_against_writeback(Run& run) {
  Machine m(run, {.devices = 1});
  PageRange pages = m.map(1), copies = m.map(1, 8);
  m.out(pages.begin, 1);
  MUST(m.clone(pages, copies.begin));
  run.task("writer", [&] {
    m.write_back();
    m.write_back();
  });
  run.task("first", [&] { MUST(m.read(pages.begin) == 1); });
  run.task("second", [&] {
    m.write(copies.begin, 2);
    m.page_out(copies);
  });
  run.go();
  m.finish_writes();
  MUST(m.read(pages.begin) == 1);
  MUST(m.read(copies.begin) == 2);
  m.check();
}

}  // namespace

std::vector<Scenario> clone_scenarios() {
  return {
      {.name = "clone_against_fault",
       .body = clone_against_fault,
       .surprised_bound = 0,
       .marks = {"fault: starts over"},
       .mutants = {{sync::Mutant::kMoveShared, "move_shared"}}},
      {.name = "sharers_against_writeback",
       .body = sharers_against_writeback,
       .marks = {"fault: starts over", "writeback: the page has gone during the write"}},
  };
}

}  // namespace coldpress::testing
