// Which cpu the caller runs on: a hint, for choosing among things that are kept apart to avoid contention. It
// may be another one by the time it is used. Thread safety: any thread; no system call.
#pragma once

#include <cstdint>

#ifdef COLDPRESS_SCHED
#include "sync/sched/scheduler.h"
#endif

namespace coldpress::sync {

#ifdef COLDPRESS_SCHED
inline std::uint32_t this_cpu() { return sched::scheduler().current_task(); }
#else
inline std::uint32_t this_cpu() {
  // The limit of a segment that Linux sets up for this, the node above; works wherever user code does, which
  // rdtscp and rdpid do not.
  constexpr std::uint32_t kCpuNodeSegment = 0x7b;
  std::uint32_t cpu = 0;
  asm volatile("lsl %1, %0" : "+r"(cpu) : "r"(kCpuNodeSegment) : "cc");
  return cpu & 0xfff;
}
#endif

}  // namespace coldpress::sync
