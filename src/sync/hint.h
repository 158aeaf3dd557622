// A number that mostly differs between threads that run at the same time: for choosing among things that are
// kept apart to avoid contention. The engine's servers are pinned, so for them it is one number for each cpu.
// Thread safety: any thread; no system call, no special instruction, no thread-local storage.
#pragma once

#include <cstdint>

#ifdef COLDPRESS_SCHED
#include "sync/sched/scheduler.h"
#endif

namespace coldpress::sync {

#ifdef COLDPRESS_SCHED
inline std::uint32_t thread_hint() { return sched::scheduler().current_task(); }
#else
inline std::uint32_t thread_hint() {
  // Where the stack is. What is deep in it may be in the next piece: then it is two numbers.
  auto stack = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) >> 16;
  return static_cast<std::uint32_t>(stack ^ stack >> 7);
}
#endif

}  // namespace coldpress::sync
