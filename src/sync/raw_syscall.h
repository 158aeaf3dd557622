// A system call without the C library: no errno, no thread-local storage, no cancellation point.
// Returns the kernel's answer: a value, or -errno. For `sync` and `os` only.
#pragma once

#if !defined(__x86_64__)
#error "Coldpress runs on x86-64 Linux; other machines need their raw_syscall here."
#endif

namespace coldpress {

inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}

}  // namespace coldpress
