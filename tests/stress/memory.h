// Memory whose content is known, for the stress program: its threads use it together, each part of it under
// the lock of that part.
#pragma once

#include <coldpress/pager.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <shared_mutex>
#include <vector>

#include "../system/programs/content.h"

namespace coldtest {

using Clock = std::chrono::steady_clock;

inline constexpr std::size_t kPages = 64 * kMiB / kPageSize, kRun = 16, kRuns = kPages / kRun;
inline constexpr std::size_t kRunBytes = kRun * kPageSize;
inline constexpr auto kPatience = std::chrono::seconds(120);  // an order has 60 s of its own

struct Counts {
  std::atomic<std::uint64_t> checked{0}, written{0}, dropped{0}, bursts{0}, clones{0}, forks{0};
  std::atomic<std::uint64_t> checked_by_children{0}, orders{0}, swapoffs{0};
};

// Pages in runs; a lock for each run, shared by those who only read, and the key that each page holds.
class Memory {
 public:
  Memory(coldpress::Pager& pager, const char* name, std::size_t pages)
      : name_(name), region_(pager.map(pages * kPageSize)), locks_(pages / kRun), keys_(pages) {
    require(bool(region_), "a region");
  }
  Byte* at(std::size_t page) const { return static_cast<Byte*>(region_.data()) + page * kPageSize; }
  coldpress::Region& region() { return region_; }
  std::shared_mutex& lock_of(std::size_t run) { return locks_[run]; }

  // With the run's lock held, by as many as like.
  std::uint64_t key(std::size_t page) const { return keys_[page]; }
  void check(std::size_t page) const { check_page(name_, at(page), keys_[page]); }
  void check_run(std::size_t run) const {
    for (std::size_t page = run * kRun; page < (run + 1) * kRun; ++page) check(page);
  }
  void cold(std::size_t run) { region_.cold(run * kRunBytes, kRunBytes); }

  // With the run's lock held by nobody else.
  void expect(std::size_t page, std::uint64_t key) { keys_[page] = key; }
  void write(std::size_t page, std::uint64_t key) {
    fill_page(at(page), key);
    expect(page, key);
  }
  void drop(std::size_t run) {
    region_.drop(run * kRunBytes, kRunBytes);
    for (std::size_t page = run * kRun; page < (run + 1) * kRun; ++page) expect(page, 0);
  }

 private:
  const char* name_;
  coldpress::Region region_;
  std::deque<std::shared_mutex> locks_;
  std::vector<std::uint64_t> keys_;
};

}  // namespace coldtest
