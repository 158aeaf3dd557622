// The engine's atomics. The one place that names std::atomic: the sched build, where tasks on fibers run
// under a controlled scheduler, has its own type here. Orders are written out at each use; the default is
// sequentially consistent.
//
// What differs between the builds is in an inline namespace, `threads` or `fibers`: objects of one do not
// link with the sync of the other.
#pragma once

#include <atomic>

#ifdef COLDPRESS_SCHED
#include "sync/sched/atomic.h"
#define COLDPRESS_SYNC_KIND fibers
#else
#define COLDPRESS_SYNC_KIND threads
#endif

namespace coldpress::sync {

#ifndef COLDPRESS_SCHED
template <typename T>
using Atomic = std::atomic<T>;
#endif

using Order = std::memory_order;
inline constexpr auto kRelaxed = std::memory_order_relaxed;
inline constexpr auto kAcquire = std::memory_order_acquire;
inline constexpr auto kRelease = std::memory_order_release;
inline constexpr auto kAcqRel = std::memory_order_acq_rel;

}  // namespace coldpress::sync
