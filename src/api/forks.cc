#include "api/forks.h"

#include <pthread.h>

#include <new>

namespace coldpress {

struct ForkHandlers {
  static inline sync::Mutex mutex;  // held over a fork: one at a time
  static inline ForksWait* first = nullptr;
  static inline bool installed = false;
  static inline std::uint64_t signals_before = 0;

  static void before() NO_THREAD_SAFETY_ANALYSIS {
    std::uint64_t signals = os::hold_signals();
    mutex.lock();
    signals_before = signals;
    // Not in a process that is itself a copy, by a fork that bypassed the C library.
    for (ForksWait* one = first; one != nullptr; one = one->next_) one->here_ = one->engine_.running();
  }
  static void in_parent() NO_THREAD_SAFETY_ANALYSIS {
    for (ForksWait* one = first; one != nullptr; one = one->next_) {
      if (one->here_) one->engine_.wait_until_followed();
    }
    std::uint64_t signals = signals_before;
    mutex.unlock();
    os::restore_signals(signals);
  }
  static void in_child() {
    for (ForksWait* one = first; one != nullptr; one = one->next_) {
      if (one->here_) one->engine_.wait_in_child();
    }
    first = nullptr;  // what is in their regions is ordinary memory here
    new (&mutex) sync::Mutex;
    os::restore_signals(signals_before);
  }
};

ForksWait::ForksWait(runtime::Engine& engine) : engine_(engine) {
  using Handlers = ForkHandlers;
  os::SignalsHeld held;
  sync::MutexLock lock(Handlers::mutex);
  if (!Handlers::installed) {
    Handlers::installed = pthread_atfork(&Handlers::before, &Handlers::in_parent, &Handlers::in_child) == 0;
  }
  next_ = Handlers::first;
  Handlers::first = this;
}

ForksWait::~ForksWait() {
  os::SignalsHeld held;
  sync::MutexLock lock(ForkHandlers::mutex);
  for (ForksWait** at = &ForkHandlers::first; *at != nullptr; at = &(*at)->next_) {
    if (*at != this) continue;
    *at = next_;
    return;
  }
}

}  // namespace coldpress
