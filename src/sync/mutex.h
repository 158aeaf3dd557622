// A futex mutex and a wake-up event, usable in threads that the C library does not know.
//
// Mutex: not recursive, not robust, no owner recorded; 4 bytes. Uncontended lock and unlock are one atomic
// operation each. It follows the three-state mutex of U. Drepper, "Futexes are tricky".
// Event: a counter that sleepers watch; signal() never blocks and is never lost.
#pragma once

#include "sync/annotations.h"
#include "sync/atomic.h"
#include "sync/futex.h"

#ifdef COLDPRESS_SCHED
#include "sync/sched/mutex.h"
#endif

namespace coldpress::sync {
inline namespace COLDPRESS_SYNC_KIND {

#ifndef COLDPRESS_SCHED
// For a processor that waits for another: some ten nanoseconds.
inline void pause() { __builtin_ia32_pause(); }

// How often a mutex is looked at before its waiter sleeps.
inline Atomic<int> spins_worth_while{64};

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() ACQUIRE() {
    std::uint32_t free = kFree;
    if (!state_.compare_exchange_strong(free, kLocked, kAcquire, kRelaxed)) lock_slow();
  }
  bool try_lock() TRY_ACQUIRE(true) {
    std::uint32_t free = kFree;
    return state_.compare_exchange_strong(free, kLocked, kAcquire, kRelaxed);
  }
  void unlock() RELEASE() {
    if (state_.exchange(kFree, kRelease) == kContended) futex_wake(&state_, 1);
  }

 private:
  static constexpr std::uint32_t kFree = 0, kLocked = 1, kContended = 2;
  void lock_slow();

  Atomic<std::uint32_t> state_{kFree};
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

#endif

class Event {
 public:
  std::uint32_t ticket() const { return count_.load(kAcquire); }
  // A system call only if somebody sleeps.
  void signal() {
    count_.fetch_add(1);
    if (sleepers_.load() != 0) futex_wake(&count_, 1 << 30);
  }
  // Sleeps until a signal() after ticket() was taken, at most timeout_ns.
  void wait(std::uint32_t ticket, std::int64_t timeout_ns = kForever) const {
    // Counted first, and then looked: of this and signal(), each in its order, one sees the other
    // (sequentially consistent).
    sleepers_.fetch_add(1);
    if (count_.load() == ticket) futex_wait(&count_, ticket, timeout_ns);
    sleepers_.fetch_sub(1);
  }

 private:
  Atomic<std::uint32_t> count_{0};
  // A thread that slept when its process was forked is counted for ever in the child: a call too many.
  mutable Atomic<std::uint32_t> sleepers_{0};
};

}  // namespace COLDPRESS_SYNC_KIND
}  // namespace coldpress::sync
