// What single parts of a Space remember from call to call.
// Thread safety: atomics from any thread; the rest is its part's, which says whose.
#pragma once

#include <cstddef>
#include <cstdint>

#include "memgroup/accounts.h"
#include "sync/atomic.h"
#include "sync/futex.h"
#include "vm/cpu_share.h"
#include "vm/surroundings.h"

namespace coldpress::vm {

// recompress.cc; but for the percent, one thread at a time.
struct Recompression {
  sync::Atomic<std::uint32_t> percent{20};  // of one cpu, at most
  std::int64_t turn_ns = 2'000'000'000;
  std::uint32_t hand = 0;
  std::int64_t begun_ns = 0;
  CpuShare share;
};

// readahead.cc: where streams of faults are expected next, and how many pages they brought last.
struct Readahead {
  static constexpr unsigned kBits = 8;
  sync::Atomic<std::uint64_t> expected[std::size_t{1} << kBits] = {};
  sync::Atomic<std::uint32_t> most{Worker::kMaxRun};  // pages, with the one that is wanted
};

// shrinker.cc
struct Shrinker {
  sync::Atomic<bool> enabled{false};
  sync::Atomic<std::uint32_t> captured{0};  // pages, not yet seen to
  sync::Atomic<std::uint64_t> credit{0};    // what is to go
  sync::Atomic<std::uint32_t> device_loads[memgroup::kMaxAccounts] = {};
};

// fault.cc: what was found when a page's bytes were made ready, outside the layout mutex, in the worker's
// page buffer.
enum class Loaded { kGood, kDamaged, kUnreadable };
struct Prepared {  // begins as {}
  bool valid, out_of_reach;
  Loaded loaded;
  std::uint32_t at;  // pages from the one that is wanted
  swap::Entry entry;
  swap::SlotWord word;
};
static_assert(Loaded::kGood == Loaded{});

// fault.cc: where first touches run upwards, and how many pages were filled at once.
struct FillHint {
  PageIndex next;
  std::uint32_t window = 1;
};
inline constexpr std::size_t kFillHints = 64;

// reclaim.cc: of one who waits for writes under way: until when, what was settled last, and written by then.
struct DeviceWait {
  std::uint32_t ticket = 0;
  std::int64_t until_ns = 0;
  std::uint64_t written = 0;
};

// groups.cc: pages were charged that MADV_DONTNEED may still have to drop.
struct Recheck {
  sync::Atomic<bool> wanted{false};
  std::int64_t next_ns = 0, pause_ns = 0;  // the background's own
};

inline constexpr std::uint32_t kFutileTurns = 4;  // of a hand, before reclaim gives up

// reclaim.cc: that it has given up, until then, and at what usage.
struct Hopeless {
  sync::Atomic<std::int64_t> until_ns{0}, pause_ns{0}, usage{0};
  sync::Atomic<std::int64_t> shared_since_ns{0};  // that pages which a fork has shared were all there is
  // What the kernel refuses as shared may be pinned, by io_uring for instance, and never become anybody's
  // own.
  bool shared_for_long() {
    constexpr std::int64_t kLongNs = 1'000'000'000;
    std::int64_t now = sync::now_ns(), since = shared_since_ns.load(sync::kRelaxed);
    if (since == 0) shared_since_ns.store(now, sync::kRelaxed);
    return since != 0 && now - since > kLongNs;
  }
};

}  // namespace coldpress::vm
