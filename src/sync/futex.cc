#include "sync/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "sync/raw_syscall.h"

extern "C" [[gnu::used]] const char coldpress_sync_threads = 0;  // atomic.h: which build this is

namespace coldpress::sync {
inline namespace threads {
namespace {
constexpr std::int64_t kSecond = 1000000000;
}

void futex_wait(const void* word, std::uint32_t expected, std::int64_t timeout_ns) {
  timespec timeout{timeout_ns / kSecond, timeout_ns % kSecond};
  raw_syscall(SYS_futex, reinterpret_cast<long>(word), FUTEX_WAIT_PRIVATE, expected,
              timeout_ns < 0 ? 0 : reinterpret_cast<long>(&timeout));
}

void futex_wake(const void* word, int count) {
  raw_syscall(SYS_futex, reinterpret_cast<long>(word), FUTEX_WAKE_PRIVATE, count);
}

std::int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

void sleep_ns(std::int64_t duration_ns) {
  timespec duration{duration_ns / kSecond, duration_ns % kSecond};
  raw_syscall(SYS_nanosleep, reinterpret_cast<long>(&duration), 0);
}

}  // namespace threads
}  // namespace coldpress::sync
