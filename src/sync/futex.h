// Sleeping on a 32-bit word, and the clock. All private to the process.
//
// Thread safety: any thread. Never touches errno or thread-local storage: also for threads that the C
// library does not know, and for signal handlers. Times are in nanoseconds of CLOCK_MONOTONIC.
#pragma once

#include <cstdint>

#include "sync/atomic.h"

namespace coldpress::sync {
inline namespace COLDPRESS_SYNC_KIND {

inline constexpr std::int64_t kForever = -1;

// Sleeps while *word == expected, at most timeout_ns. Spurious returns are allowed: re-check.
#ifdef COLDPRESS_SCHED
void futex_wait(const void* word, std::uint32_t expected, std::int64_t timeout_ns = kForever,
                const sched::Where& where = sched::Where::current());
#else
void futex_wait(const void* word, std::uint32_t expected, std::int64_t timeout_ns = kForever);
#endif

// Wakes up to `count` sleepers.
void futex_wake(const void* word, int count);

std::int64_t now_ns();
void sleep_ns(std::int64_t duration_ns);

}  // namespace COLDPRESS_SYNC_KIND
}  // namespace coldpress::sync
