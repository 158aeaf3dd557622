// Faults of several threads on one page at the same time, for the stress program. lead() is for one thread,
// follow() for each of the others.
#pragma once

#include <atomic>
#include <barrier>
#include <mutex>
#include <shared_mutex>

#include "memory.h"

namespace coldtest {

// Threads that meet, to fault together on each page of a run that has just been sent out, or is out anyway:
// they all read it; or each writes its share of the words of every page, and half of them read theirs first.
class Burst {
 public:
  static constexpr unsigned kThreads = 3;
  Burst(Memory& memory, Counts& counts) : memory_(memory), counts_(counts) {}

  // In thread 0, which holds the run's lock for all of them.
  void lead(Rng rng, const std::atomic<bool>& stop) {
    while (!stop) {
      run_ = rng.below(kRuns);
      writes_ = rng.one_in(2);
      std::shared_lock reading(memory_.lock_of(run_), std::defer_lock);
      std::unique_lock writing(memory_.lock_of(run_), std::defer_lock);
      if (writes_) {
        writing.lock();
        choose_content(rng);
      } else {
        reading.lock();
      }
      if (!rng.one_in(3)) memory_.cold(run_);
      take_part(0);
      ++counts_.bursts;
    }
    over_ = true;
    take_part(0);
  }
  void follow(unsigned number) {
    while (take_part(number)) {
    }
  }

 private:
  void choose_content(Rng& rng) {
    for (std::size_t i = 0; i < kRun; ++i) {
      old_keys_[i] = memory_.key(run_ * kRun + i);
      memory_.expect(run_ * kRun + i, rng.page_key());
    }
  }

  // false: that was all.
  bool take_part(unsigned number) {
    meeting_.arrive_and_wait();
    if (over_) return false;
    if (writes_) {
      for (std::size_t i = 0; i < kRun; ++i) write_share(i, number);
      meeting_.arrive_and_wait();
    }
    memory_.check_run(run_);
    counts_.checked += kRun;
    meeting_.arrive_and_wait();
    return true;
  }

  void write_share(std::size_t i, unsigned number) {
    std::size_t page = run_ * kRun + i;
    auto* words = reinterpret_cast<volatile std::uint64_t*>(memory_.at(page));
    bool reads = (i + number) % 2 == 0;
    for (unsigned word = number; word < kWordsPerPage; word += kThreads) {
      std::uint64_t expected = word_of(old_keys_[i], word), found = reads ? words[word] : expected;
      if (found != expected)
        die("MISMATCH: burst: page %zu, word %u: expected %016lx, found %016lx", page, word, expected, found);
      words[word] = word_of(memory_.key(page), word);
    }
  }

  Memory& memory_;
  Counts& counts_;
  std::barrier<> meeting_{kThreads};
  std::size_t run_ = 0;
  bool writes_ = false, over_ = false;
  std::uint64_t old_keys_[kRun] = {};
};

}  // namespace coldtest
