// Orders to a running engine, from another process of the same user.
//
// They lie beside the statistics, in the second half of the same page (os/linux/stats_file.h), so whoever may
// map it may write them: the kernel's own check of /proc/PID/task/TID/fd. One order at a time:
//
//   kIdle -> kTaken   by the tool (compare and swap), which then says who it is and what it wants
//   kTaken -> kPosted the engine's monitor looks for it at every tick: 50 ms at most
//   kPosted -> kDone  by the monitor, with an answer; the tool reads it and lets the place go
//
// A tool that has died leaves its place to the next one, which sees that `tool` is no process any more.
// Thread safety: as the states say.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sync/atomic.h"

namespace coldpress::runtime {

enum class Order : std::uint32_t {
  kSet = 1,  // text: KEY=VALUE
  kReclaim,  // argument: bytes
  kSwapOn,   // text: as for --swap
  kSwapOff,  // text: the path, "auto" or "ram"
};

struct ControlPage {
  static constexpr std::size_t kOffset = 2048;
  enum State : std::uint32_t { kIdle, kTaken, kPosted, kDone };

  sync::Atomic<std::uint32_t> state;
  sync::Atomic<std::uint32_t> tool;  // process id
  Order order;
  std::uint32_t good;  // the answer
  std::uint64_t argument;
  char text[512];
  char answer[512];  // a sentence; empty when there is nothing to say
};
static_assert(sizeof(ControlPage) <= 2048);

}  // namespace coldpress::runtime
