// The gate that every operation of an engine passes (runtime/operation_gate.h): a fork finds the engine at
// rest, and its child can tell whether the copy of it is of one instant.
#include "runtime/lending.h"
#include "runtime/operation_gate.h"
#include "sched/explore/explore.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

struct Gate {
  Gate() { gate.init(&first, &last); }
  runtime::OperationGate gate;
  sync::Atomic<std::uint64_t> first{0}, last{0};
  sync::Atomic<std::uint64_t> data{0};  // twice changed by each operation
  bool work() {
    if (!gate.begin()) return false;
    data.fetch_add(1);
    data.fetch_add(1);
    gate.end();
    return true;
  }
};

// While the gate is closed nothing changes, and whoever waits for it goes on afterwards.
void close_against_operations(Run& run) {
  Gate g;
  for (const char* name : {"one", "other"}) {
    run.task(name, [&] {
      while (!g.work()) g.gate.wait_open();
    });
  }
  run.task("fork", [&] {
    g.gate.close();
    std::uint64_t before = g.data.load();
    MUST(before % 2 == 0);
    MUST(g.data.load() == before);
    g.gate.open();
  });
  run.go();
  MUST(g.data.load() == 4 && g.gate.at_rest());
}

// A copy that is made page by page, in the order of addresses, while others go on: when its counters agree,
// it is of one instant.
void copy_against_operations(Run& run) {
  Gate g;
  for (const char* name : {"one", "other"}) {
    run.task(name, [&] { MUST(g.work()); });
  }
  run.task("fork", [&] {
    std::uint64_t finished = g.first.load();
    std::uint64_t data = g.data.load();
    std::uint64_t started = g.last.load();
    if (finished == started) {
      MUST(data == 2 * finished);
    } else {
      sync::mark("gate: a copy that is torn is told");
    }
  });
  run.go();
  MUST(g.gate.at_rest());
}

// Faults are served though the gate is closed, and the fork waits for them.
void forced_operation_against_close(Run& run) {
  Gate g;
  run.task("server", [&] {
    g.gate.force_begin();
    if (g.gate.closed()) sync::mark("served while the gate is closed");
    g.data.fetch_add(1);
    g.data.fetch_add(1);
    g.gate.end();
  });
  run.task("fork", [&] {
    g.gate.close();
    g.gate.open();
  });
  run.go();
  MUST(g.gate.at_rest());
}

// One thread more than there are things to borrow.
template <std::uint32_t kThings>
void lending_to_one_more(Run& run) {
  runtime::Lending lending;
  sync::Atomic<std::uint32_t> lent[kThings]{};
  lending.init(kThings);
  constexpr const char* kNames[] = {"one", "other", "third"};
  for (std::uint32_t i = 0; i <= kThings; ++i) {
    run.task(kNames[i], [&] {
      std::uint32_t thing = lending.borrow();
      MUST(thing < kThings && lent[thing].fetch_add(1) == 0);
      MUST(lent[thing].fetch_sub(1) == 1);
      lending.give_back(thing);
    });
  }
  run.go();
}

}  // namespace

std::vector<Scenario> gate_scenarios() {
  return {
      {.name = "lending_to_three",
       .body = lending_to_one_more<2>,
       .bound = 3,
       .marks = {"lending: waits until one is back"},
       .mutants = {{sync::Mutant::kBackQuietly, "back_quietly"}}},
      {.name = "lending_to_two",
       .body = lending_to_one_more<1>,
       .bound = 4,
       .marks = {"lending: waits until one is back"},
       .mutants = {{sync::Mutant::kTicketAfterLook, "ticket_after_look"},
                   {sync::Mutant::kBackQuietly, "back_quietly"}}},
      {.name = "close_against_operations",
       .body = close_against_operations,
       .bound = 3,
       .mutants = {{sync::Mutant::kLookBefore, "look_before"}, {sync::Mutant::kEndQuietly, "end_quietly"}}},
      {.name = "copy_against_operations",
       .body = copy_against_operations,
       .bound = 3,
       .marks = {"gate: a copy that is torn is told"},
       .mutants = {{sync::Mutant::kCountersSwapped, "counters_swapped"}}},
      {.name = "forced_operation_against_close",
       .body = forced_operation_against_close,
       .bound = 3,
       .marks = {"served while the gate is closed"}},
  };
}

}  // namespace coldpress::testing
