// Program threads, a reclaimer, a changer of mappings and servers, all at once, on the simulated machine.
// Meant for ThreadSanitizer as much as for what the threads read.
//
// Every program thread owns some pages and knows what they hold. One thread unmaps, moves and drops ranges of
// its own meanwhile, so that layout messages come at any moment.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "model_main.h"
#include "os/sim/sim_mmu.h"
#include "support/page_pattern.h"
#include "support/space_access.h"
#include "sync/futex.h"

namespace coldpress::testing {
namespace {

constexpr PageIndex kBase{512 * 200};
constexpr std::uint64_t kPagesEach = 160;
constexpr int kPrograms = 3;
constexpr std::int64_t kSecond = 1'000'000'000;

class Machine final : public vm::UsageSource, public vm::ForkHandler {
 public:
  // own_faults: program threads serve their own faults (the signal path); else two servers do.
  explicit Machine(bool own_faults) : sim_({.frame_count = 512}), own_faults_(own_faults) {
    group_.init(700, &stats_);
    vm::SpaceOptions options{.pool_bytes = 64 << 20, .max_slots = 1 << 16, .max_leaves = 64};
    EXPECT_TRUE(space_.init(memory_, sim_, group_, options));
    space_.set_usage_source(this);
    space_.set_fork_handler(this);
    sim_.interfere({.changing = 50, .shorten = 10, .keep_frame = 20}, 1);
    for (int i = 0; i < 2; ++i) threads_.emplace_back([this] { serve(); });
    threads_.emplace_back([this] { reclaim(); });
  }
  ~Machine() {
    stop_ = true;
    for (auto& thread : threads_) thread.join();
    for (const os::SimMapping& mapping : sim_.mappings()) unmap_alone(mapping.range);
    EXPECT_EQ(stats_.stored_pages.load(), 0u);
    EXPECT_EQ(stats_.same_filled_pages.load(), 0u);
    EXPECT_EQ(space_.frames().owned_frames(), 0u);
    EXPECT_EQ(space_.zswap().pool().pages(), 0u);
    EXPECT_EQ(slots(space_).in_use(), 0u);
    EXPECT_EQ(space_.frames().populated_frames(), sim_.populated_frames());
    space_.zswap().pool().validate();
    EXPECT_GT(stats_.zswpout.load(), 0u) << "nothing was compressed: this proved nothing";
    EXPECT_GT(stats_.zswpin.load(), 0u);
  }

  os::SimMmu& sim() { return sim_; }
  vm::Space& space() { return space_; }

  // A program thread's own way into the engine.
  class Program final : public os::FaultHandler {
   public:
    explicit Program(Machine& machine) : machine_(machine) {
      EXPECT_TRUE(make_worker(memory_, {codec::Kind::kLz4, 1}, worker_));
    }
    void on_fault(PageIndex page, bool write) override {
      machine_.space_.handle_fault(page, write, worker_);
      machine_.space_.handle_pending(worker_);
    }
    vm::Worker& worker() { return worker_; }
    void adopt(PageRange range) {
      vm::Space::Adopted adopted;
      while ((adopted = machine_.space_.adopt(range, worker_)) == vm::Space::Adopted::kLater) continue;
      EXPECT_EQ(adopted, vm::Space::Adopted::kYes);
    }

   private:
    Machine& machine_;
    HeapMemory memory_;
    vm::Worker worker_;
  };
  // For threads that fault in the signal path: each has its own Program.
  class Dispatch final : public os::FaultHandler {
   public:
    void on_fault(PageIndex page, bool write) override { current->on_fault(page, write); }
    static inline thread_local Program* current = nullptr;
  };
  void use_own_faults() {
    if (own_faults_) sim_.set_fault_handler(&dispatch_);
  }

 private:
  void serve() {
    Program self(*this);
    while (!stop_) {
      sim_.wait_message(kSecond / 100);
      os::Message fault;
      if (space_.take_message(self.worker(), &fault)) {
        space_.handle_fault(fault.range.begin, fault.write, self.worker());
      }
      space_.handle_pending(self.worker());
    }
  }
  void reclaim() {
    Program self(*this);
    self.worker().background = true;
    while (!stop_) {
      keep_going();
      space_.reclaim_to(group_.usage() - 100, self.worker());
      PageRange shared[vm::Space::kMaxShared];
      std::size_t count = space_.take_shared(shared);
      for (std::size_t i = 0; i < count; ++i) sim_.make_own(shared[i]);
      space_.handle_pending(self.worker());
      space_.update_gauges();
      sync::sleep_ns(200'000);
    }
  }
  void unmap_alone(PageRange range) {
    Program self(*this);
    os::ChangeId change = sim_.begin_unmap(range);
    while (!sim_.advance(change)) {
      os::Message fault;
      EXPECT_FALSE(space_.take_message(self.worker(), &fault));
    }
  }
  bool keep_going() override {
    group_.set_usage(sim_.resident_pages() + sim_.populated_frames() + space_.zswap().pool().held_pages());
    return !stop_;
  }
  void pressure() override {}
  void on_fork(int child, bool, vm::Worker& worker) override NO_THREAD_SAFETY_ANALYSIS {
    space_.populate_child(child, worker);
    sim_.child_close(child);
  }

  HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  os::SimMmu sim_;
  bool own_faults_;
  Dispatch dispatch_;
  vm::Space space_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

// Writes and reads its pages until time is up.
void work(Machine& machine, int number, std::int64_t until) {
  Machine::Program self(machine);
  Machine::Dispatch::current = &self;
  os::SimMmu& sim = machine.sim();
  Random random(static_cast<std::uint64_t>(number) + 1);
  PageRange range{kBase + static_cast<std::uint64_t>(number) * 512, {}};
  range.end = range.begin + kPagesEach;
  sim.map(range);
  self.adopt(range);
  std::vector<PageContent> expected(kPagesEach, PageContent{});
  while (sync::now_ns() < until && !::testing::Test::HasFailure()) {
    std::uint64_t index = random.below(kPagesEach);
    PageIndex page = range.begin + index;
    if (random.one_in(3)) {
      expected[index] = make_content(random_kind(random), random.next());
      ASSERT_EQ(sim.write(page, 0, expected[index].data(), kPageBytes), os::Access::kOk);
    } else if (random.one_in(3)) {
      std::size_t word = random.below(kPageWords);
      expected[index][word] = random.next();
      ASSERT_EQ(sim.write(page, word * 8, &expected[index][word], 8), os::Access::kOk);
    }
    PageContent actual;
    ASSERT_EQ(sim.read(page, 0, actual.data(), kPageBytes), os::Access::kOk);
    ASSERT_EQ(std::memcmp(actual.data(), expected[index].data(), kPageBytes), 0)
        << "page " << page.value << " has word " << actual[0] << " for " << expected[index][0];
  }
}

// Moves a range back and forth, drops it, unmaps it and maps it again; its content must follow.
void change_layout(Machine& machine, std::uint64_t place, std::int64_t until) {
  Machine::Program self(machine);
  Machine::Dispatch::current = &self;
  os::SimMmu& sim = machine.sim();
  vm::Space& space = machine.space();
  Random random(place);
  constexpr std::uint64_t kPages = 24;
  PageRange here{kBase + place, kBase + place + kPages}, there{here.end + 8, here.end + 8 + kPages};
  while (sync::now_ns() < until && !::testing::Test::HasFailure()) {
    sim.map(here);
    self.adopt(here);
    std::vector<PageContent> expected(kPages, PageContent{});
    for (int step = 0; step < 20; ++step) {
      std::uint64_t first = random.below(kPages), end = first + random.below(kPages - first) + 1;
      switch (random.below(5)) {
        case 0:
          for (std::uint64_t i = first; i < end; ++i) {
            expected[i] = make_content(random_kind(random), random.next());
            ASSERT_EQ(sim.write(here.begin + i, 0, expected[i].data(), kPageBytes), os::Access::kOk);
          }
          break;
        case 1:
          sim.run(sim.begin_remove({here.begin + first, here.begin + end}));
          for (std::uint64_t i = first; i < end; ++i) expected[i] = {};
          break;
        case 2:
          sim.run(sim.begin_remap(here, there.begin, false));
          std::swap(here, there);
          break;
        case 3:
          space.page_out(here, self.worker());
          space.handle_pending(self.worker());
          break;
        default: {
          PageContent actual;
          ASSERT_EQ(sim.read(here.begin + first, 0, actual.data(), kPageBytes), os::Access::kOk);
          ASSERT_EQ(std::memcmp(actual.data(), expected[first].data(), kPageBytes), 0)
              << "page " << (here.begin + first).value << " has word " << actual[0] << " for "
              << expected[first][0];
        }
      }
    }
    sim.run(sim.begin_unmap(here));
  }
}

void fork_often(Machine& machine, std::int64_t until) {
  os::SimMmu& sim = machine.sim();
  while (sync::now_ns() < until && !::testing::Test::HasFailure()) {
    int child;
    sim.run(sim.begin_fork(&child));
    sim.child_exit(child);
    sim.unshare_frames();
    sync::sleep_ns(20'000'000);
  }
}

void everything_at_once(bool own_faults, bool forks) {
  running_now() = own_faults ? "threads, own faults" : "threads, servers";
  Machine machine(own_faults);
  machine.use_own_faults();
  std::int64_t until = sync::now_ns() + 4 * kSecond;
  std::vector<std::thread> threads;
  for (int i = 0; i < kPrograms; ++i) threads.emplace_back([&, i] { work(machine, i, until); });
  threads.emplace_back([&] { change_layout(machine, 512 * 5, until); });
  threads.emplace_back([&] { change_layout(machine, 512 * 5 + 300, until); });
  if (forks) threads.emplace_back([&] { fork_often(machine, until); });
  for (auto& thread : threads) thread.join();
}

TEST(SpaceThreads, ServersAndAReclaimer) { everything_at_once(false, false); }
TEST(SpaceThreads, ServersAndForks) { everything_at_once(false, true); }
TEST(SpaceThreads, EveryThreadServesItself) { everything_at_once(true, false); }

}  // namespace
}  // namespace coldpress::testing
