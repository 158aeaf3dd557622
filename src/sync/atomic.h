// The engine's atomics. The one place that names std::atomic, so that a build under a controlled scheduler
// can put its own type here. Orders are written out at each use; the default is sequentially consistent.
#pragma once

#include <atomic>

namespace coldpress::sync {

template <typename T>
using Atomic = std::atomic<T>;

inline constexpr auto kRelaxed = std::memory_order_relaxed;
inline constexpr auto kAcquire = std::memory_order_acquire;
inline constexpr auto kRelease = std::memory_order_release;
inline constexpr auto kAcqRel = std::memory_order_acq_rel;

}  // namespace coldpress::sync
