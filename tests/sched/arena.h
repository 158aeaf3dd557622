// Memory of one execution: a region that is mapped once, given out in order, and empty again at the next.
//
// The same execution has its tables at the same addresses each time. Thread safety: none; tasks are one
// thread.
#pragma once

#include <sys/mman.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

#include "base/memory_source.h"
#include "base/units.h"
#include "os/sim/one_step.h"

namespace coldpress::testing {

class Arena final : public MemorySource {
 public:
  static constexpr std::size_t kBytes = std::size_t{1} << 30;

  Arena() {
    void* start =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) abort();
    start_ = static_cast<std::byte*>(start);
    madvise(start, kBytes, MADV_NOHUGEPAGE);  // a few pages of each table are touched
  }
  // Zeroes what was touched, which is cheaper than to give it back and to fault it in again. Which pages
  // these are is asked when the process has had a page fault since.
  void reset() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    if (usage.ru_minflt != faults_) look();
    for (std::byte* page : touched_) std::memset(page, 0, kPageBytes);
    getrusage(RUSAGE_SELF, &usage);
    faults_ = usage.ru_minflt;
    most_ = used_ > most_ ? used_ : most_;
    used_ = 0;
    fails_ = false;
  }
  // What is the arena's own is no business of the tasks' order: sources of memory are safe from all of them.
  [[gnu::no_sanitize("thread")]] void* reserve(std::size_t bytes) override {
    constexpr std::size_t kStep = std::size_t{1} << 20;  // ReservedArray commits in whole steps
    void* start = start_ + used_;
    used_ += (bytes + kStep - 1) / kStep * kStep;
    return used_ <= kBytes ? start : nullptr;
  }
  [[gnu::no_sanitize("thread")]] bool commit(void*, std::size_t) override {
    return !fails_ || !os::choose_one_in(1, 0);
  }
  // From now on the scheduler decides whether memory has run out.
  [[gnu::no_sanitize("thread")]] bool set_failing(bool fails) { return std::exchange(fails_, fails); }
  void discard(const MemoryPiece* pieces, std::size_t count) override {
    for (std::size_t i = 0; i < count; ++i) std::memset(pieces[i].start, 0, pieces[i].bytes);
  }

 private:
  void look() {
    std::size_t most = used_ > most_ ? used_ : most_, pages = most / kPageBytes;
    resident_.resize(pages);
    if (pages > 0 && mincore(start_, most, resident_.data()) != 0) abort();
    touched_.clear();
    for (std::size_t page = 0; page < pages; ++page) {
      if ((resident_[page] & 1) != 0) touched_.push_back(start_ + page * kPageBytes);
    }
  }

  std::byte* start_;
  std::vector<unsigned char> resident_;
  std::vector<std::byte*> touched_;  // at the last look
  long faults_ = -1;
  std::size_t used_ = 0, most_ = 0;  // by this execution, by any before
  bool fails_ = false;
};

}  // namespace coldpress::testing
