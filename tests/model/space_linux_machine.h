// LinuxMachine: an engine over the memory of the test's own process.
// For tests: one engine on this process's own memory.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <thread>
#include <vector>

#include "os/linux/linux_mmu.h"
#include "support/space_access.h"
#include "sync/futex.h"

namespace coldpress::testing {

// Two servers take messages; the test's thread reclaims. At its end nothing may be left in the engine.
class LinuxMachine final : public vm::UsageSource, public vm::ForkHandler {
 public:
  LinuxMachine() {
    group_.init(4096, &stats_);
    vm::SpaceOptions options{.pool_bytes = 256 << 20, .max_slots = 1 << 16, .max_leaves = 1024};
    ready_ = static_cast<bool>(mmu_.init({.frame_count = 1024})) &&
             static_cast<bool>(mmu_.activate(memory_)) && space_.init(memory_, mmu_, group_, options) &&
             make_worker(memory_, {codec::Kind::kLz4, 1}, self_);
    EXPECT_TRUE(ready_);
    space_.set_usage_source(this);
    space_.set_fork_handler(this);
    for (int i = 0; i < 2; ++i) servers_.emplace_back([this] { serve(); });
  }
  ~LinuxMachine() {
    stop_ = true;
    mmu_.interrupt();
    for (auto& server : servers_) server.join();
    // What moves left behind goes when the next message is looked for.
    os::Message fault;
    EXPECT_FALSE(space_.take_message(self_, &fault));
    EXPECT_EQ(stats_.stored_pages.load(), 0u);
    EXPECT_EQ(stats_.same_filled_pages.load(), 0u);
    EXPECT_EQ(space_.frames().owned_frames(), 0u);
    EXPECT_EQ(space_.zswap().pool().pages(), 0u);
    space_.zswap().pool().validate();
    mmu_.close();
  }

  // New memory of the program, managed.
  std::byte* map(std::uint64_t pages) { return map(pages, self_); }
  std::byte* map(std::uint64_t pages, vm::Worker& worker) {
    void* start = mmap(nullptr, pages << kPageShift, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    EXPECT_NE(start, MAP_FAILED);
    madvise(start, pages << kPageShift, MADV_NOHUGEPAGE);
    adopt(start, pages, worker);
    return static_cast<std::byte*>(start);
  }
  void adopt(const void* start, std::uint64_t pages) { adopt(start, pages, self_); }
  void adopt(const void* start, std::uint64_t pages, vm::Worker& worker) {
    vm::Space::Adopted adopted;
    while ((adopted = space_.adopt(range(start, pages), worker)) == vm::Space::Adopted::kLater) continue;
    EXPECT_EQ(adopted, vm::Space::Adopted::kYes);
    space_.handle_pending(worker);
  }
  static PageRange range(const void* start, std::uint64_t pages) {
    PageIndex first = page_of(reinterpret_cast<std::uint64_t>(start));
    return {first, first + pages};
  }
  std::uint64_t page_out(const void* start, std::uint64_t pages) {
    std::uint64_t out = space_.page_out(range(start, pages), self_);
    space_.handle_pending(self_);
    return out;
  }
  vm::Space& space() { return space_; }
  memgroup::Stats& stats() { return stats_; }
  vm::Worker& worker() { return self_; }
  os::LinuxMmu& mmu() { return mmu_; }
  bool has_fork_event() const { return mmu_.main().has_fork_event(); }

 private:
  void serve() {
    HeapMemory memory;
    vm::Worker worker;
    ASSERT_TRUE(make_worker(memory, {codec::Kind::kLz4, 1}, worker));
    while (!stop_) {
      mmu_.wait_message(sync::kForever);
      os::Message fault;
      if (space_.take_message(worker, &fault)) {
        space_.handle_fault(fault.range.begin, fault.write, worker);
      }
      space_.handle_pending(worker);
    }
  }
  bool keep_going() override { return !stop_; }
  void pressure() override {}
  void on_fork(int child, bool, vm::Worker& worker) override NO_THREAD_SAFETY_ANALYSIS {
    space_.populate_child(child, worker);
    mmu_.child_close(child);
  }

  bool ready_ = false;
  HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  os::LinuxMmu mmu_;
  vm::Space space_;
  vm::Worker self_;
  std::atomic<bool> stop_{false};
  std::vector<std::thread> servers_;
};

}  // namespace coldpress::testing
