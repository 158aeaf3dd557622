// Raw system calls of the Linux backend, as typed inline functions. Each returns the kernel's answer:
// a value, or -errno; EINTR is retried where a retry is right. Safe in any thread and in signal handlers.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "sync/raw_syscall.h"

namespace coldpress::os {

inline long sys_open(const char* path, int flags, int mode = 0) {
  long result;
  do {
    result = raw_syscall(SYS_openat, AT_FDCWD, reinterpret_cast<long>(path), flags, mode);
  } while (result == -EINTR);
  return result;
}
inline void sys_close(int fd) { raw_syscall(SYS_close, fd); }
inline long sys_read(int fd, void* buffer, std::size_t bytes) {
  long result;
  do {
    result = raw_syscall(SYS_read, fd, reinterpret_cast<long>(buffer), static_cast<long>(bytes));
  } while (result == -EINTR);
  return result;
}
inline long sys_pread(int fd, void* buffer, std::size_t bytes, std::uint64_t offset) {
  long result;
  do {
    result = raw_syscall(SYS_pread64, fd, reinterpret_cast<long>(buffer), static_cast<long>(bytes),
                         static_cast<long>(offset));
  } while (result == -EINTR);
  return result;
}
inline long sys_write(int fd, const void* buffer, std::size_t bytes) {
  long result;
  do {
    result = raw_syscall(SYS_write, fd, reinterpret_cast<long>(buffer), static_cast<long>(bytes));
  } while (result == -EINTR);
  return result;
}
// ioctl that is retried on EINTR; EAGAIN is the caller's business.
inline long sys_ioctl(int fd, unsigned long request, void* argument) {
  long result;
  do {
    result = raw_syscall(SYS_ioctl, fd, static_cast<long>(request), reinterpret_cast<long>(argument));
  } while (result == -EINTR);
  return result;
}
inline void* sys_mmap(void* hint, std::size_t bytes, int protection, int flags, int fd = -1) {
  long result =
      raw_syscall(SYS_mmap, reinterpret_cast<long>(hint), static_cast<long>(bytes), protection, flags, fd, 0);
  return result < 0 && result > -4096 ? nullptr : reinterpret_cast<void*>(result);
}
inline long sys_munmap(void* start, std::size_t bytes) {
  return raw_syscall(SYS_munmap, reinterpret_cast<long>(start), static_cast<long>(bytes));
}
inline bool failed(long answer) { return answer < 0 && answer > -4096; }
// An address, or an answer that failed() knows.
inline long sys_mremap(std::uint64_t from, std::size_t bytes, std::size_t new_bytes, int flags,
                       std::uint64_t to) {
  return raw_syscall(SYS_mremap, static_cast<long>(from), static_cast<long>(bytes),
                     static_cast<long>(new_bytes), flags, static_cast<long>(to));
}
inline long sys_mprotect(void* start, std::size_t bytes, int protection) {
  return raw_syscall(SYS_mprotect, reinterpret_cast<long>(start), static_cast<long>(bytes), protection);
}
inline long sys_madvise(void* start, std::size_t bytes, int advice) {
  long result;
  do {
    result = raw_syscall(SYS_madvise, reinterpret_cast<long>(start), static_cast<long>(bytes), advice);
  } while (result == -EAGAIN || result == -EINTR);
  return result;
}
// Of this process. Linux 6.17; before, EBADF.
inline long sys_process_madvise(const iovec* ranges, std::size_t count, int advice) {
  constexpr long kThisProcess = -10001;  // PIDFD_SELF_THREAD_GROUP
  return raw_syscall(SYS_process_madvise, kThisProcess, reinterpret_cast<long>(ranges),
                     static_cast<long>(count), advice, 0);
}
// Memory for the library's user: private, anonymous, in small pages. nullptr when there is none.
inline void* map_region(std::size_t bytes) {
  void* start = sys_mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
  if (start != nullptr) sys_madvise(start, bytes, MADV_NOHUGEPAGE);
  return start;
}
inline long sys_poll(pollfd* fds, unsigned count, std::int64_t timeout_ns) {
  timespec timeout{timeout_ns / 1000000000, timeout_ns % 1000000000};
  return raw_syscall(SYS_ppoll, reinterpret_cast<long>(fds), count,
                     timeout_ns < 0 ? 0 : reinterpret_cast<long>(&timeout), 0, 0);
}
// Cuts a file to nothing and goes to its start.
inline bool sys_empty_file(int fd) {
  return raw_syscall(SYS_ftruncate, fd, 0) == 0 && raw_syscall(SYS_lseek, fd, 0, SEEK_SET) == 0;
}
inline long sys_getpid() { return raw_syscall(SYS_getpid); }
inline long sys_getppid() { return raw_syscall(SYS_getppid); }
inline long sys_gettid() { return raw_syscall(SYS_gettid); }

// Names a mapping in /proc/PID/maps ("[anon:NAME]"); kernels without the feature ignore it.
inline void name_mapping(void* start, std::size_t bytes, const char* name) {
  constexpr long kSetVma = 0x53564d41, kAnonName = 0;
  raw_syscall(SYS_prctl, kSetVma, kAnonName, reinterpret_cast<long>(start), static_cast<long>(bytes),
              reinterpret_cast<long>(name));
}

}  // namespace coldpress::os
