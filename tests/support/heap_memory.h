// HeapMemory: a MemorySource for tests, whose memory can run out.
//
// Reservations are mappings of their own, so that a sanitizer or the machine catches what leaves them.
// Everything is given back with the object. Thread safety: all functions from any thread.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

#include "base/memory_source.h"
#include "base/units.h"

namespace coldpress::testing {

class HeapMemory final : public MemorySource {
 public:
  HeapMemory() = default;
  HeapMemory(const HeapMemory&) = delete;
  HeapMemory& operator=(const HeapMemory&) = delete;
  ~HeapMemory() {
    for (auto [start, bytes] : reservations_) munmap(start, bytes);
  }

  void* reserve(std::size_t bytes) override {
    // ReservedArray commits in whole steps, the last one past the end of its reservation.
    constexpr std::size_t kStep = std::size_t{1} << 20;
    if (fails()) return nullptr;
    bytes = (bytes + kStep - 1) / kStep * kStep;
    void* start = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    std::lock_guard lock(mutex_);
    reservations_.emplace_back(start, bytes);
    return start;
  }
  bool commit(void* start, std::size_t bytes) override {
    if (fails()) return false;
    std::lock_guard lock(mutex_);
    if (bytes > commit_limit_ || committed_ > commit_limit_ - bytes) return false;
    if (mprotect(start, bytes_to_pages(bytes) * kPageBytes, PROT_READ | PROT_WRITE) != 0) return false;
    committed_ += bytes;
    return true;
  }
  void discard(const MemoryPiece* pieces, std::size_t count) override {
    std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < count; ++i) {
      madvise(pieces[i].start, pieces[i].bytes, MADV_DONTNEED);
      discarded_ += pieces[i].bytes;
    }
  }

  // commit() refuses what would bring committed() above the limit.
  void set_commit_limit(std::size_t bytes) {
    std::lock_guard lock(mutex_);
    commit_limit_ = bytes;
  }
  // The at-th reserve() or commit() from now on is refused, and those after it, `times` in all; 0: none.
  void fail_calls(std::size_t at, std::size_t times) {
    std::lock_guard lock(mutex_);
    fail_at_ = at;
    fail_times_ = times;
    calls_ = 0;
  }
  std::size_t calls() const {  // since then
    std::lock_guard lock(mutex_);
    return calls_;
  }
  std::size_t failed_calls() const {
    std::lock_guard lock(mutex_);
    return failed_;
  }
  // Sums of all calls, in bytes.
  std::size_t committed() const {
    std::lock_guard lock(mutex_);
    return committed_;
  }
  std::size_t discarded() const {
    std::lock_guard lock(mutex_);
    return discarded_;
  }

 private:
  bool fails() {
    std::lock_guard lock(mutex_);
    ++calls_;
    bool fails = fail_at_ != 0 && fail_at_ <= calls_ && calls_ - fail_at_ < fail_times_;
    failed_ += fails ? 1 : 0;
    return fails;
  }

  mutable std::mutex mutex_;
  std::vector<std::pair<void*, std::size_t>> reservations_;
  std::size_t commit_limit_ = SIZE_MAX;
  std::size_t fail_at_ = 0, fail_times_ = 0, calls_ = 0, failed_ = 0;
  std::size_t committed_ = 0;
  std::size_t discarded_ = 0;
};

}  // namespace coldpress::testing
