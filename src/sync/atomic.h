// The engine's atomics. The one place that names std::atomic: the sched build, where tasks on fibers run
// under a controlled scheduler, has its own type here. Orders are written out at each use; the default is
// sequentially consistent.
//
// What differs between the builds is in an inline namespace, `threads` or `fibers`, and each object names a
// symbol that only its own build's sync has: objects of one do not link with the sync of the other
// (tests/sched/mixed.py).
#pragma once

#include <atomic>

#ifdef COLDPRESS_SCHED
#include "sync/sched/atomic.h"
#define COLDPRESS_SYNC_KIND fibers
#else
#define COLDPRESS_SYNC_KIND threads
#endif

// A relocation that relocates nothing: it takes no byte, and fails where the symbol is missing.
#define COLDPRESS_BUILT_FOR_(kind) \
  __asm__(".pushsection .text\n.reloc ., BFD_RELOC_NONE, coldpress_sync_" #kind "\n.popsection")
#define COLDPRESS_BUILT_FOR(kind) COLDPRESS_BUILT_FOR_(kind)
COLDPRESS_BUILT_FOR(COLDPRESS_SYNC_KIND);

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
