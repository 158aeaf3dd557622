// Threads made by clone(2) directly. The C library knows nothing of them: they own no pthread structure, run
// on memory of the engine's arena and use a small thread block of their own, so that compiler-generated reads
// of %fs (stack protector) and thread-local errno of the library can not meet the program's.
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstring>

#include "sync/futex.h"
#include "sync/raw_syscall.h"
#include "sync/thread.h"

namespace coldpress::sync {
namespace {

constexpr std::size_t kThreadBlockBytes = 8192;  // thread-local storage below, thread block above
constexpr std::size_t kThreadBlockOffset = 4096;

[[gnu::noinline]] void run(Thread* thread) {
  if (thread->cpu >= 0) {
    unsigned long mask[16] = {};
    mask[thread->cpu / 64 % 16] = 1UL << (thread->cpu % 64);
    raw_syscall(SYS_sched_setaffinity, 0, sizeof mask, reinterpret_cast<long>(mask));
  }
  raw_syscall(SYS_prctl, PR_SET_NAME, reinterpret_cast<long>(thread->name));
  thread->entry(thread->argument);
}

// The child starts on an empty stack and can not return into this frame, so the switch is written out.
long clone_onto(unsigned long flags, std::byte* stack_top, Thread* thread, void* thread_block) {
  register long r10 asm("r10") = reinterpret_cast<long>(&thread->tid);
  register void* r8 asm("r8") = thread_block;
  register Thread* r12 asm("r12") = thread;
  long result;
  asm volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "xor %%ebp, %%ebp\n\t"
      "mov %%r12, %%rdi\n\t"
      "call *%[run]\n\t"
      "xor %%edi, %%edi\n\t"
      "mov %[exit], %%eax\n\t"
      "syscall\n\t"
      "ud2\n"
      "1:"
      : "=a"(result)
      : "a"(SYS_clone), "D"(flags), "S"(stack_top), "d"(&thread->tid), "r"(r10), "r"(r8),
        "r"(r12), [run] "b"(&run), [exit] "i"(SYS_exit)
      : "rcx", "r11", "memory");
  return result;
}

}  // namespace

bool start_thread(Thread& thread) {
  std::byte* block = thread.stack + thread.stack_bytes - kThreadBlockBytes;
  std::memset(block, 0, kThreadBlockBytes);
  auto** thread_block = reinterpret_cast<void**>(block + kThreadBlockOffset);
  thread_block[0] = thread_block;  // %fs:0 must point to itself (ABI)
  thread_block[2] = thread_block;
  std::uint64_t guard;
  asm volatile("mov %%fs:0x28, %0" : "=r"(guard));
  std::memcpy(&thread_block[5], &guard, sizeof guard);

  unsigned long flags = CLONE_VM | CLONE_FS | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                        CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  if (!thread.own_descriptors) flags |= CLONE_FILES;
  std::uint64_t all = ~std::uint64_t{0}, before = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&all), reinterpret_cast<long>(&before),
              sizeof all);
  // EAGAIN also while another thread is in execve(), before it is known whether that succeeds: then this
  // thread is about to vanish, or it has to wait.
  constexpr int kTries = 1000;
  long tid = 0;
  for (int i = 0; i < kTries; ++i) {
    tid = clone_onto(flags, block, &thread, thread_block);
    if (tid != -EAGAIN) break;
    sleep_ns(1000000);
  }
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&before), 0, sizeof all);
  return tid > 0;
}

void join_thread(Thread& thread) {
  // CLONE_CHILD_CLEARTID wakes a shared futex: a private wait would sleep on. Poll the word with short
  // sleeps.
  while (thread.tid.load() != 0) sleep_ns(100000);
}

}  // namespace coldpress::sync
