#include "sync/mutex.h"

namespace coldpress::sync {
inline namespace threads {

void Mutex::lock_slow() {
  // Critical sections are about a microsecond, up to ten where all processors have to hear of a change: on
  // two or more of them a spin saves most sleeps, which cost more.
  int spins = spins_worth_while.load(kRelaxed);
  for (int spin = 0; spin < spins; ++spin) {
    std::uint32_t free = kFree;
    if (state_.load(kRelaxed) == kFree && state_.compare_exchange_weak(free, kLocked, kAcquire, kRelaxed)) {
      return;
    }
    pause();
  }
  while (state_.exchange(kContended, kAcquire) != kFree) futex_wait(&state_, kContended);
}

}  // namespace threads
}  // namespace coldpress::sync
