// Signals of a program on the signal path: SIGBUS stays with the engine and is never blocked.
//
// The program's own SIGBUS handler is remembered and called for what is not the engine's. Everything that
// says nothing of SIGBUS passes through unchanged; on the thread path everything does.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include "preload/preload.h"
#include "runtime/config.h"
#include "runtime/signal_path.h"
#include "sync/raw_syscall.h"

extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*);

namespace coldpress::preload {
namespace {

// The C library's own signals, which it never lets be blocked: cancellation and setuid in all threads.
constexpr unsigned long kLibrarySignals = 3ul << 31;
constexpr unsigned long kBus = 1ul << (SIGBUS - 1);

int change_mask(int how, const sigset_t* set, sigset_t* before) {
  unsigned long mask = 0;
  if (set != nullptr) {
    mask = set->__val[0];
    if (how != SIG_UNBLOCK) mask &= ~kLibrarySignals;
    if (how != SIG_UNBLOCK && signal_path()) mask &= ~kBus;
  }
  long answer = raw_syscall(SYS_rt_sigprocmask, how, set != nullptr ? reinterpret_cast<long>(&mask) : 0,
                            reinterpret_cast<long>(before), sizeof mask);
  return static_cast<int>(-answer);
}

}  // namespace
}  // namespace coldpress::preload

extern "C" {

[[gnu::visibility("default")]] int sigaction(int number, const struct sigaction* action,
                                             struct sigaction* before) noexcept {
  if (!coldpress::preload::signal_path()) return __sigaction(number, action, before);
  if (number == SIGBUS) {
    coldpress::runtime::chain_sigbus(action, before);
    return 0;
  }
  if (action == nullptr) return __sigaction(number, action, before);
  struct sigaction changed = *action;
  sigdelset(&changed.sa_mask, SIGBUS);
  return __sigaction(number, &changed, before);
}

[[gnu::visibility("default")]] sighandler_t signal(int number, sighandler_t handler) noexcept {
  struct sigaction action {
  }, before{};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  return sigaction(number, &action, &before) == 0 ? before.sa_handler : SIG_ERR;
}

[[gnu::visibility("default")]] int sigprocmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  int error = coldpress::preload::change_mask(how, set, before);
  if (error == 0) return 0;
  errno = error;
  return -1;
}

[[gnu::visibility("default")]] int pthread_sigmask(int how, const sigset_t* set, sigset_t* before) noexcept {
  return coldpress::preload::change_mask(how, set, before);
}
}
