// Lending: things that are lent to whichever thread needs one, for a moment. A thread of the program that
// serves its own fault borrows a worker so, in a signal handler; there are fewer workers than threads.
//
// Invariant: a thing is lent to one thread at a time; whoever waits goes on as soon as any is back.
// Thread safety: all functions from any thread, borrow() and give_back() also in signal handlers. A thread
// that holds one must not borrow another, or it could wait for itself: it holds its signals meanwhile.
#pragma once

#include <bit>
#include <cstdint>

#include "sync/atomic.h"
#include "sync/explore.h"
#include "sync/mutex.h"

namespace coldpress::runtime {

class Lending {
 public:
  // All `count` things, 32 at most, are there.
  void init(std::uint32_t count) {
    sync::name_object(free_, "not lent");
    sync::name_object(back_, "given back");
    free_.store(~std::uint32_t{0} >> (32 - count));
  }

  // Sleeps while all are lent.
  std::uint32_t borrow() {
    for (;;) {
      std::uint32_t ticket = back_.ticket();
      std::uint32_t free = free_.load();
      if (sync::is_mutant(sync::Mutant::kTicketAfterLook)) ticket = back_.ticket();
      while (free != 0) {
        if (free_.compare_exchange_weak(free, free & (free - 1), sync::kAcquire, sync::kRelaxed)) {
          return static_cast<std::uint32_t>(std::countr_zero(free));
        }
      }
      sync::mark("lending: waits until one is back");
      back_.wait(ticket);
    }
  }
  void give_back(std::uint32_t thing) {
    free_.fetch_or(1u << thing);
    if (!sync::is_mutant(sync::Mutant::kBackQuietly)) back_.signal();
  }

 private:
  sync::Atomic<std::uint32_t> free_{0};  // a bit for each
  sync::Event back_;
};

}  // namespace coldpress::runtime
