// A memory group: a limit, and what is charged to it.
//
// usage = resident pages of the program + pool + metadata + frames that hold memory, in pages. In a managed
// process it is what the kernel shows as RssAnon, set from there at every tick (set_usage) and moved between
// ticks by what the engine itself does (charge, uncharge). Three marks, from the top:
//   limit  a fault that finds usage here reclaims before it goes on
//   high   background reclaim starts; memory that is not yet managed is adopted
//   low    background reclaim stops
// Thread safety: all functions from any thread.
#pragma once

#include <cstdint>

#include "memgroup/accounts.h"
#include "memgroup/stats.h"
#include "sync/atomic.h"

namespace coldpress::memgroup {

class Group {
 public:
  void init(std::uint64_t limit_pages, Stats* stats);
  // At any time; what is over a lower limit is reclaimed from now on.
  void set_limit(std::uint64_t limit_pages);
  // A high mark below the one that follows from the limit; kNoLimit: none.
  void set_high(std::int64_t high_pages);

  std::int64_t usage() const { return usage_.load(sync::kRelaxed); }
  void set_usage(std::uint64_t pages) { usage_.store(static_cast<std::int64_t>(pages), sync::kRelaxed); }
  void charge(std::uint64_t pages) { usage_.fetch_add(static_cast<std::int64_t>(pages), sync::kRelaxed); }
  void uncharge(std::uint64_t pages) { usage_.fetch_sub(static_cast<std::int64_t>(pages), sync::kRelaxed); }

  std::int64_t limit() const { return limit_.load(sync::kRelaxed); }
  std::int64_t high() const { return high_.load(sync::kRelaxed); }
  std::int64_t low() const { return low_.load(sync::kRelaxed); }
  Stats& stats() const { return *stats_; }
  // The groups within. None, until init() was called on it.
  Accounts& accounts() { return accounts_; }

 private:
  sync::Atomic<std::int64_t> usage_{0};
  sync::Atomic<std::int64_t> limit_{0};
  sync::Atomic<std::int64_t> high_{0};
  sync::Atomic<std::int64_t> low_{0};
  sync::Atomic<std::int64_t> high_max_{kNoLimit};
  Stats* stats_ = nullptr;
  Accounts accounts_;
};

}  // namespace coldpress::memgroup
