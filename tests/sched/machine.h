// The engine and the simulated machine, as small as they get, for one execution of a scenario.
//
// Programs are tasks. A fault is served in the task that has it (the signal path), or, with `servers`, by
// daemons (the thread path). Layout messages are taken by daemons.
//
// Everything that the constructor, map(), out() and check() do is set-up and checking, without points; the
// rest is for tasks.
#pragma once

#include <array>

#include "memgroup/group.h"
#include "os/sim/sim_device.h"
#include "os/sim/sim_mmu.h"
#include "sched/arena.h"
#include "sched/explore/explore.h"
#include "support/page_pattern.h"
#include "support/space_access.h"
#include "vm/space.h"

namespace coldpress::testing {

struct MachineOptions {
  std::uint64_t limit_pages = 1000;
  std::size_t devices = 0;
  std::uint64_t device_bytes = 1 << 20;
  bool synchronous = false;     // devices are memory: nothing is sealed, and bytes are read in place
  std::uint32_t servers = 0;    // daemons that serve faults and take messages
  bool takes_messages = false;  // a daemon that takes messages only
  os::SimDevice::Faults device_faults = {};
  os::SimInterference interference = {};
  bool failing_memory = false;
  sync::Variant variant = sync::Variant::kAsBuilt;
  bool counted = false;  // usage is counted by the engine; for memory groups
};

class Machine final : public os::FaultHandler, public vm::ForkHandler, public vm::UsageSource {
 public:
  static constexpr PageIndex kBase{512 * 100};
  enum class Tier { kPool, kDevice };

  Machine(Run& run, const MachineOptions& options);
  ~Machine();

  // --- set-up
  PageRange map(std::uint64_t pages, std::uint64_t at = 0);
  // A group, and a range of its own.
  memgroup::AccountId group_with(PageRange range, const memgroup::Limits& limits);
  // From this number on, contents are such that recompression is worth its while.
  static constexpr std::uint64_t kDense = 1000;
  // The page holds content number `number` and is out, in this tier.
  void out(PageIndex page, std::uint64_t number, Tier tier = Tier::kPool);

  // Captures what is resident: it rests in frames.
  void rest();

  // --- for tasks: what a program does
  void write(PageIndex page, std::uint64_t number);
  // The number of the content that the page holds; kZeros; kNoPage: no mapping; kLost: SIGBUS.
  static constexpr std::uint64_t kZeros = 0, kNoPage = ~0ull, kLost = ~1ull;
  std::uint64_t read(PageIndex page);
  // With servers, between set-up and checks: who faults sleeps until a server has served it.
  void serve_by_daemons() { sim_.set_fault_handler(nullptr); }
  void serve_here() { sim_.set_fault_handler(this); }
  void drop(PageRange range) { sim_.run(sim_.begin_remove(range)); }
  void unmap(PageRange range) { sim_.run(sim_.begin_unmap(range)); }
  void map_again(PageRange range);
  void map_unmanaged(PageRange range) { sim_.map(range); }
  void move(PageRange from, PageIndex to) { sim_.run(sim_.begin_remap(from, to, false)); }
  // Forks; the child has its pages when this returns.
  int fork();
  std::uint64_t child_read(int child, PageIndex page);

  // --- for tasks: what an engine thread does
  void page_out(PageRange range);
  bool clone(PageRange from, PageIndex to);
  bool write_back();
  void recompress();  // one turn
  // Until it is done, or refused.
  vm::Space::SwapOff swap_off(std::size_t device);

  void settle_writes();
  // A further device, sealed.
  void swap_on();

  // --- failures: what the options name happens between these, when the scheduler says so
  void begin_failures(const MachineOptions& options);
  void end_failures();

  // --- after the tasks
  void finish_writes();
  // Accounts close, lists agree; then everything is unmapped, and nothing is left anywhere.
  void check();

  vm::Space& space() { return space_; }
  os::SimMmu& sim() { return sim_; }
  os::SimDevice& device(std::size_t number) { return *devices_[number]; }
  memgroup::Group& group() { return group_; }
  memgroup::Stats& stats() { return stats_; }
  sync::Event& pressed() { return pressure_; }  // what wakes the background
  vm::Worker& worker();                         // the running task's own

 private:
  void add_device(std::uint64_t bytes, bool synchronous);
  void serve(bool faults);
  void take_messages();
  void on_fault(PageIndex page, bool write) override;
  void on_fork(int child, bool calm, vm::Worker& worker) override NO_THREAD_SAFETY_ANALYSIS;
  bool keep_going() override;
  void pressure() override { pressure_.signal(); }

  memgroup::Stats stats_;
  memgroup::Group group_;
  os::SimMmu sim_;
  std::size_t device_count_ = 0;
  std::array<std::unique_ptr<os::SimDevice>, 2> devices_;
  std::size_t areas_[2] = {};
  vm::Space space_;
  static constexpr std::uint32_t kTasks = 4;    // at most, in a scenario
  std::array<vm::Worker, kTasks + 1> workers_;  // the last: set-up and checks
  codec::Codec dense_;
  bool counted_;
  sync::Event pressure_;
  std::uint64_t mapped_ = 0;
};

}  // namespace coldpress::testing
