// Captures and compression take turns (the head of vm/reclaim.cc says why): whose it is.
// Thread safety: claim() and set_background_awake() from any thread; faults_often() by the background only.
#pragma once

#include <cstdint>

#include "sync/atomic.h"

namespace coldpress::vm {

class Turns {
 public:
  // By a thread that serves a fault: it may capture, since the background sleeps. It wakes it afterwards.
  bool claim() { return !background_awake_.load(sync::kRelaxed) && !background_awake_.exchange(true); }
  // It runs, or is about to sleep.
  void set_background_awake(bool awake) { background_awake_.store(awake); }

  // Whether faults come often enough to capture what is to go. `faults`: served so far.
  bool faults_often(std::uint64_t faults, std::int64_t now_ns) {
    constexpr std::int64_t kLookNs = 500'000, kOftenNs = 250'000;
    std::int64_t passed = now_ns - seen_ns_;
    if (passed >= kLookNs) {
      often_ = static_cast<std::int64_t>(faults - seen_) > passed / kOftenNs;
      seen_ = faults;
      seen_ns_ = now_ns;
    }
    return often_;
  }

 private:
  sync::Atomic<bool> background_awake_{false};
  std::uint64_t seen_ = 0;
  std::int64_t seen_ns_ = 0;
  bool often_ = false;
};

}  // namespace coldpress::vm
