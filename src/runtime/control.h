// Orders to a running engine, from another process of the same user.
//
// They lie beside the statistics, in the second half of the first page (os/linux/stats_file.h), so whoever
// may map it may write them: the kernel's own check of /proc/PID/task/TID/fd. One order at a time:
//
// One word says whose turn it is: state, a ticket that counts up, and the tool's process id. It changes by
// compare and swap only, so neither side acts on what the other has left meanwhile.
//
//   kIdle -> kTaken      by a tool, which then writes what it wants
//   kTaken -> kPosted    by the same tool. It may take back what nobody looks at (-> kIdle)
//   kPosted -> kRunning  by the engine's monitor, which looks at every tick: 50 ms at most
//   kRunning -> kDone    by the monitor, with an answer
//   kDone -> kIdle       by the tool, which has read it
//   kRunning -> kCancelled -> kDone   by the tool that does not want it any more, and by the monitor
//
// The place of a tool that has died is taken by the next one, which cancels its order if that is running.
// Dead is who has no process any more, as seen from here, and gave no sign of life for a second: who waits
// for a long order may be in another namespace of processes. Thread safety: as the states say.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/told.h"
#include "sync/atomic.h"

namespace coldpress::runtime {

enum class Order : std::uint32_t {
  kSet = 1,    // text: KEY=VALUE
  kReclaim,    // argument: bytes
  kSwapOn,     // text: as for --swap
  kSwapOff,    // text: the path, "auto" or "ram"
  kWriteBack,  // argument: bytes
  // These fill Told (told.h).
  kPool,      // argument 1: packs the pool as densely as it goes first
  kDevices,   // the swap devices
  kSettings,  // what kSet has set, or begun with
};

struct ControlPage {
  static constexpr std::size_t kOffset = 2048;
  enum State : std::uint8_t { kIdle, kTaken, kPosted, kRunning, kDone, kCancelled };

  struct Turn {
    State state = kIdle;
    std::uint32_t ticket = 0;  // 24 bits
    std::uint32_t tool = 0;    // process id

    static Turn of(std::uint64_t word) {
      return {static_cast<State>(word & 0xff), static_cast<std::uint32_t>(word >> 8 & 0xffffff),
              static_cast<std::uint32_t>(word >> 32)};
    }
    std::uint64_t word() const {
      return std::uint64_t{state} | std::uint64_t{ticket & 0xffffff} << 8 | std::uint64_t{tool} << 32;
    }
    Turn in(State next) const { return {next, ticket, tool}; }
  };
  // From `from`, if it is that still, to `to`.
  bool pass(Turn from, Turn to) {
    std::uint64_t expected = from.word();
    return turn.compare_exchange_strong(expected, to.word());
  }

  sync::Atomic<std::uint64_t> turn;
  sync::Atomic<std::int64_t> alive_ns;  // when the tool gave its last sign of life
  // For children of forks, until they have a page of their own: how many of the parent's need nothing of it
  // any more; and the page that one waits for, plus one (0: none, or it is there).
  sync::Atomic<std::uint64_t> followed, early_page;
  Order order;
  std::uint32_t good;  // the answer
  std::uint64_t argument;
  char text[512];
  char answer[512];  // a sentence; empty when there is nothing to say
};
static_assert(sizeof(ControlPage) <= 2048);

// The one that belongs to a control page.
inline Told& told(ControlPage& page) {
  return *reinterpret_cast<Told*>(reinterpret_cast<std::byte*>(&page) - ControlPage::kOffset + Told::kOffset);
}

}  // namespace coldpress::runtime
