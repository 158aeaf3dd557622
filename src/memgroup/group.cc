#include "memgroup/group.h"

#include <algorithm>

namespace coldpress::memgroup {

void Group::init(std::uint64_t limit_pages, Stats* stats) {
  constexpr std::int64_t kMiB = 256;  // pages
  limit_ = static_cast<std::int64_t>(limit_pages);
  // The reserve between high and limit takes what a program can fill natively while the engine looks away
  // (a few milliseconds at 3 GB/s) and frames in flight.
  std::int64_t reserve = std::clamp(limit_ / 32, kMiB, 16 * kMiB);
  high_ = limit_ - reserve;
  low_ = high_ - std::clamp(limit_ / 128, kMiB / 2, 8 * kMiB);
  stats_ = stats;
  stats_->limit_bytes.store(limit_pages * 4096, sync::kRelaxed);
}

}  // namespace coldpress::memgroup
