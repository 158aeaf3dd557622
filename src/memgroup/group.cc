#include "memgroup/group.h"

#include <algorithm>

#include "sync/explore.h"

namespace coldpress::memgroup {

void Group::init(std::uint64_t limit_pages, Stats* stats) {
  stats_ = stats;
  sync::name_object(usage_, "usage");
  sync::name_object(limit_, "limit");
  sync::name_object(high_, "high");
  sync::name_object(low_, "low");
  set_limit(limit_pages);
}

void Group::set_limit(std::uint64_t limit_pages) {
  constexpr std::int64_t kMiB = 256;  // pages
  auto limit = static_cast<std::int64_t>(limit_pages);
  // The reserve between high and limit takes what a program can fill natively while the engine looks away
  // (a few milliseconds at 3 GB/s) and frames in flight.
  std::int64_t reserve = std::clamp(limit / 32, kMiB, 16 * kMiB);
  std::int64_t high = std::min(limit - reserve, high_max_.load(sync::kRelaxed));
  limit_.store(limit, sync::kRelaxed);
  high_.store(high, sync::kRelaxed);
  low_.store(high - std::clamp(limit / 128, kMiB / 2, 8 * kMiB), sync::kRelaxed);
  stats_->limit_bytes.store(limit_pages * 4096, sync::kRelaxed);
}

void Group::set_high(std::int64_t high_pages) {
  high_max_.store(high_pages, sync::kRelaxed);
  set_limit(static_cast<std::uint64_t>(limit()));
}

}  // namespace coldpress::memgroup
