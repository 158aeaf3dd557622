// Captures and compression take turns (the head of vm/reclaim.cc says why): whose it is.
//
// A fault that finds the background awake tells it nothing; so the background must not go to sleep on what
// such a fault has brought. sleep() therefore gives the turn away first, and asks then for how long: a fault
// charges its pages before the next one looks whose turn it is. (A locked instruction lies between on both
// sides, which orders them on x86-64.)
//
// Thread safety: claim() from any thread; the rest by the background only.
#pragma once

#include <cstdint>

#include "sync/atomic.h"
#include "sync/explore.h"
#include "sync/mutex.h"

namespace coldpress::vm {

class Turns {
 public:
  // By a thread that serves a fault: it may capture, since the background sleeps. It must wake it afterwards.
  bool claim() { return !background_awake_.load(sync::kRelaxed) && !background_awake_.exchange(true); }
  // Until `wake` was signalled after its `ticket` was taken, for tick_ns() at most.
  template <typename Tick>
  void sleep(const sync::Event& wake, std::uint32_t ticket, Tick tick_ns) {
    std::int64_t before = sync::is_mutant(sync::Mutant::kTickFirst) ? tick_ns() : 0;
    background_awake_.store(false);
    wake.wait(ticket, sync::is_mutant(sync::Mutant::kTickFirst) ? before : tick_ns());
    background_awake_.store(true);
  }

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
