// Sleeping and the clock under the controlled scheduler (sync/futex.h has the contract). Time is virtual.
#include "sync/futex.h"

#include "sync/sched/scheduler.h"

extern "C" [[gnu::used]] const char coldpress_sync_fibers = 0;  // sync/atomic.h: which build this is

namespace coldpress::sync {
inline namespace fibers {

void futex_wait(const void* word, std::uint32_t expected, std::int64_t timeout_ns,
                const sched::Where& where) {
  sched::Scheduler& scheduler = sched::scheduler();
  scheduler.point(sched::Op::kWait, word, where);
  std::uint32_t now = __atomic_load_n(static_cast<const std::uint32_t*>(word), __ATOMIC_RELAXED);
  scheduler.did(now, now);
  if (now == expected) scheduler.block(word, timeout_ns, where);
}

void futex_wake(const void* word, int count) {
  sched::scheduler().wake(word, static_cast<std::uint32_t>(count));
}

std::int64_t now_ns() { return sched::scheduler().now_ns(); }

void sleep_ns(std::int64_t duration_ns) {
  sched::scheduler().block(nullptr, duration_ns, sched::Where::current());
}

}  // namespace fibers
}  // namespace coldpress::sync
