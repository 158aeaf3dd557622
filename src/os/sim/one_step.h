// A call of the simulated machine, as threads see it: one step. Under the controlled scheduler others may run
// before it, not within.
#pragma once

#include "sync/explore.h"
#include "sync/mutex.h"

namespace coldpress::os {

class SCOPED_CAPABILITY OneStep {
 public:
#ifdef COLDPRESS_SCHED
  // Traces show which call it is.
  explicit OneStep(sync::Mutex& mutex, const sched::Where& where = sched::Where::current()) ACQUIRE(mutex)
      : mutex_(mutex) {
    mutex_.lock_machine(where);
    together_.begin();
  }
  ~OneStep() RELEASE() {
    together_.end();
    mutex_.unlock_machine();
  }
#else
  explicit OneStep(sync::Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) {
    mutex_.lock();
    together_.begin();
  }
  ~OneStep() RELEASE() {
    together_.end();
    mutex_.unlock();
  }
#endif
  OneStep(const OneStep&) = delete;
  OneStep& operator=(const OneStep&) = delete;

 private:
  sync::Mutex& mutex_;
  sync::Together together_;
};

// What a random number decides elsewhere is decided by the scheduler under it. Once in `odds` times; 0:
// never.
inline bool choose_one_in(std::uint32_t odds, std::uint64_t random) {
#ifdef COLDPRESS_SCHED
  (void)random;
  return odds != 0 && sched::scheduler().choose(sched::Kind::kOutcome, 2, 1) != 0;
#else
  return odds != 0 && random % odds == 0;
#endif
}
// One of `count`, all alike.
inline std::size_t choose_below(std::size_t count, std::uint64_t random) {
#ifdef COLDPRESS_SCHED
  (void)random;
  auto choices = static_cast<std::uint32_t>(count);
  return sched::scheduler().choose(sched::Kind::kOutcome, choices, choices);
#else
  return random % count;
#endif
}

}  // namespace coldpress::os
