// Pages with known content that are walked to push everything else out of memory.
// For test programs: see each function for its threads.
#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "content.h"

namespace coldtest {

class Hog {
 public:
  Hog(std::size_t pages, std::uint64_t seed) : base_(map_pages(pages)), keys_(pages), rng_(seed) {
    for (std::size_t i = 0; i < pages; ++i) write(i);
  }
  Hog(const Hog&) = delete;
  Hog& operator=(const Hog&) = delete;
  ~Hog() { munmap(base_, keys_.size() * kPageSize); }

  // One walk over all of it: verifies every page, writes every eighth anew.
  void sweep() {
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      check_page("hog", base_ + i * kPageSize, keys_[i]);
      if (i % 8 == sweeps_ % 8) write(i);
    }
    ++sweeps_;
  }

 private:
  void write(std::size_t i) {
    keys_[i] = rng_.page_key();
    fill_page(base_ + i * kPageSize, keys_[i]);
  }

  Byte* base_;
  std::vector<std::uint64_t> keys_;
  Rng rng_;
  unsigned sweeps_ = 0;
};

// A hog that sweeps in a thread of its own until it is destroyed.
class BackgroundHog {
 public:
  BackgroundHog(std::size_t pages, std::uint64_t seed)
      : hog_(pages, seed), thread_([this] {
          while (!stop_) {
            hog_.sweep();
            ++sweeps_;
          }
        }) {}
  ~BackgroundHog() {
    stop_ = true;
    thread_.join();
  }
  unsigned sweeps() const { return sweeps_; }

 private:
  Hog hog_;
  std::atomic<bool> stop_{false};
  std::atomic<unsigned> sweeps_{0};
  std::thread thread_;
};

}  // namespace coldtest
