// Every call that can fail is made to fail, at every step: one task, and a bound on how many fail in one
// execution instead of on preemptions. Exhaustively one at a time, then two, then at random.
//
// Contents are right, or the page is lost where bytes were really lost (the device lied), never zero, never
// another's; no operation hangs; and in the end nothing is left over.
#include "sched/machine.h"
#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

// The life of some pages, through every tier and back, again and again.
void go_round(Machine& m, PageRange pages, bool lossy) {
  std::uint64_t numbers[] = {1, 2};
  auto write = [&](std::uint64_t i, std::uint64_t number) {
    if (numbers[i] == Machine::kLost) return;  // nobody can write there any more
    numbers[i] = number;
    m.write(pages.begin + i, number);
  };
  auto verify = [&](std::uint64_t i) {
    if (numbers[i] == Machine::kLost) return;
    std::uint64_t found = m.read(pages.begin + i);
    MUST(found == numbers[i] || (lossy && found == Machine::kLost));
    numbers[i] = found;
  };
  write(0, 1);
  write(1, 2);
  for (std::uint64_t round = 1; round <= 3; ++round) {
    m.page_out(pages);
    m.write_back();
    m.settle_writes();
    m.space().tidy_devices(m.worker());
    verify(round % 2);
    write(round % 2, 10 * round);
  }
  m.page_out(pages);
  m.write_back();
  verify(0);
  verify(1);
}

void run_alone(Run& run, const MachineOptions& options, bool lossy) {
  Machine m(run, options);
  PageRange pages = m.map(2);
  m.begin_failures(options);
  run.task("only", [&] { go_round(m, pages, lossy); });
  run.go();
  m.end_failures();
  m.check();
}

void failing_moves(Run& run) {
  run_alone(
      run,
      {.devices = 1, .takes_messages = true, .interference = {.changing = 1, .shorten = 1, .keep_frame = 1}},
      false);
}

// What the kernel answers for want of memory, and because somebody else has a hold of a page.
void failing_kernel(Run& run) {
  run_alone(run, {.devices = 1, .takes_messages = true, .interference = {.no_memory = 1, .busy = 1}}, false);
}

// A page is lost, and the child of a fork must hear of it, whatever its userfaultfd answers.
void failing_child(Run& run) {
  MachineOptions options{.takes_messages = true, .interference = {.changing = 1, .no_memory = 1}};
  Machine m(run, options);
  PageRange pages = m.map(2);
  m.out(pages.begin, 1);
  m.out(pages.begin + 1, 2);
  MUST(corrupt_page(m.space(), pages.begin + 1));
  m.begin_failures(options);
  int child = 0;
  run.task("forks", [&] {
    child = m.fork();
    MUST(m.read(pages.begin) == 1);
    MUST(m.read(pages.begin + 1) == Machine::kLost);
  });
  run.go();
  m.end_failures();
  MUST(m.child_read(child, pages.begin) == 1);
  MUST(m.child_read(child, pages.begin + 1) == Machine::kLost);
  m.sim().child_exit(child);
  m.check();
}

void failing_device(Run& run) {
  run_alone(run, {.devices = 1, .device_faults = {.write_error = 1, .no_space = 1, .late = 1}}, false);
}

// What is lost here is lost for good: the page gives SIGBUS.
void lying_device(Run& run) {
  run_alone(run, {.devices = 1, .device_faults = {.read_error = 1, .torn_write = 1, .lost_write = 1}}, true);
}

void failing_memory(Run& run) { run_alone(run, {.devices = 1, .failing_memory = true}, false); }

// With two devices, one fails and the other takes over.
void two_devices(Run& run) {
  run_alone(run, {.devices = 2, .device_faults = {.write_error = 1, .no_space = 1}}, false);
}

// swapoff of a device that can not be read or written.
void failing_swapoff(Run& run) {
  MachineOptions options{.devices = 1, .device_faults = {.read_error = 1, .write_error = 1, .late = 1}};
  Machine m(run, options);
  PageRange pages = m.map(2);
  m.out(pages.begin, 1, Machine::Tier::kDevice);
  m.out(pages.begin + 1, 2);
  m.begin_failures(options);
  run.task("orders", [&] {
    m.write_back();
    auto result = m.swap_off(0);
    using SwapOff = vm::Space::SwapOff;
    switch (result) {
      case SwapOff::kDone:
        sync::mark("swapoff is done");
        break;
      case SwapOff::kUnreadable:
        sync::mark("swapoff: unreadable");
        break;
      default:
        MUST(result == SwapOff::kBusy);
    }
    for (std::uint64_t i = 0; i < 2; ++i) {
      std::uint64_t found = m.read(pages.begin + i);
      MUST(found == i + 1 || found == Machine::kLost);
    }
  });
  run.go();
  m.end_failures();
  m.check();
}

void failing_clone(Run& run) {
  MachineOptions options{.takes_messages = true, .interference = {.changing = 1}, .failing_memory = true};
  Machine m(run, options);
  PageRange pages = m.map(2), copies = m.map(2, 600);  // page words of their own
  m.out(pages.begin, 1);
  m.write(pages.begin + 1, 2);
  m.begin_failures(options);
  run.task("only", [&] {
    bool cloned = m.clone(pages, copies.begin);
    for (std::uint64_t i = 0; i < 2; ++i) {
      if (cloned) MUST(m.read(copies.begin + i) == i + 1);
      MUST(m.read(pages.begin + i) == i + 1);
    }
  });
  run.go();
  m.end_failures();
  m.check();
}

}  // namespace

std::vector<Scenario> failure_scenarios() {
  return {
      {.name = "failing_moves",
       .body = failing_moves,
       .surprised_bound = 0,
       .marks = {"fault: the page could not be mapped", "cleaning: segments are packed again"}},
      {.name = "failing_kernel",
       .body = failing_kernel,
       .surprised_bound = 0,
       .marks = {"fault: the page could not be mapped", "cleaning: segments are packed again"}},
      {.name = "failing_child", .body = failing_child, .marks = {"fault: the page could not be mapped"}},
      {.name = "failing_device",
       .body = failing_device,
       .marks = {"cleaning: segments are packed again", "writeback: the page has gone during the write"}},
      {.name = "lying_device",
       .body = lying_device,
       .marks = {"cleaning: segments are packed again", "writeback: the page has gone during the write"}},
      {.name = "failing_memory",
       .body = failing_memory,
       .marks = {"cleaning: segments are packed again", "writeback: the page has gone during the write"},
       .mutants = {{sync::Mutant::kKeepObject, "keep_object"}}},
      {.name = "two_devices", .body = two_devices, .marks = {"fault: loads with a mark"}},
      {.name = "failing_swapoff",
       .body = failing_swapoff,
       .bound = 4,
       .marks = {"swapoff is done", "swapoff: unreadable"}},
      {.name = "failing_clone", .body = failing_clone, .marks = {"fault: the page could not be mapped"}},
  };
}

}  // namespace coldpress::testing
