#include "sync/mutex.h"

namespace coldpress::sync {
inline namespace threads {

void Mutex::lock_slow() {
  // Critical sections here are about a microsecond: a short spin saves most sleeps on two or more cpus.
  for (int spin = 0; spin < 64; ++spin) {
    std::uint32_t free = kFree;
    if (state_.load(kRelaxed) == kFree && state_.compare_exchange_weak(free, kLocked, kAcquire, kRelaxed)) {
      return;
    }
    __builtin_ia32_pause();
  }
  while (state_.exchange(kContended, kAcquire) != kFree) futex_wait(&state_, kContended);
}

}  // namespace threads
}  // namespace coldpress::sync
