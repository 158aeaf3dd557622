// What both kinds of engine thread promise. A thread of thread_clone.cc has no thread-local storage of the C
// library, so what runs in it makes raw system calls only and leaves its findings in a plain record.
// Thread safety: none; read the record after join_thread().
#pragma once

#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstdint>

#include "sync/futex.h"
#include "sync/raw_syscall.h"
#include "sync/thread.h"

namespace coldpress::sync {

struct Findings {
  long pid = 0, tid = 0;
  std::uint64_t blocked = 0;  // signal mask
  char name[16] = {};
  unsigned long cpus = 0;                 // the first 64
  int close_fd = -1;                      // in: closed by the thread
  long closed = -1;                       // what close() answered
  Atomic<std::uint32_t>* hold = nullptr;  // in: lives until this is not 0
};

inline void look_around(void* argument) {
  auto& found = *static_cast<Findings*>(argument);
  found.pid = raw_syscall(SYS_getpid);
  found.tid = raw_syscall(SYS_gettid);
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, 0, reinterpret_cast<long>(&found.blocked),
              sizeof found.blocked);
  raw_syscall(SYS_prctl, PR_GET_NAME, reinterpret_cast<long>(found.name));
  unsigned long mask[16] = {};
  raw_syscall(SYS_sched_getaffinity, 0, sizeof mask, reinterpret_cast<long>(mask));
  found.cpus = mask[0];
  if (found.close_fd >= 0) found.closed = raw_syscall(SYS_close, found.close_fd);
  while (found.hold != nullptr && found.hold->load() == 0) futex_wait(found.hold, 0);
}

// Every signal but SIGKILL and SIGSTOP, which no mask holds back.
inline constexpr std::uint64_t kAllSignals =
    ~(std::uint64_t{1} << (SIGKILL - 1) | std::uint64_t{1} << (SIGSTOP - 1));

}  // namespace coldpress::sync
