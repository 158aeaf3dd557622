// How much of one cpu a background task may take: a budget that grows with the clock, and from which is taken
// what the task has used. What is saved up by being idle is a burst of kMostNs, no more.
//
// Thread safety: none; the task's own. Times are in nanoseconds of one clock.
#pragma once

#include <algorithm>
#include <cstdint>

namespace coldpress::vm {

class CpuShare {
 public:
  // Time has passed until now_ns, of which the task may have `percent`. Whether it may go on.
  bool may(std::int64_t now_ns, std::uint32_t percent) {
    if (percent == 0) {
      budget_ns_ = 0;  // what was saved up before is not wanted, either
    } else {
      budget_ns_ = std::min(budget_ns_ + (now_ns - seen_ns_) * percent / 100, kMostNs);
    }
    seen_ns_ = now_ns;
    return budget_ns_ > 0;
  }
  // The task was at work since the last look, until now_ns.
  void used(std::int64_t now_ns) {
    budget_ns_ -= now_ns - seen_ns_;
    seen_ns_ = now_ns;
  }

  static constexpr std::int64_t kMostNs = 1'000'000;

 private:
  std::int64_t budget_ns_ = 0, seen_ns_ = 0;
};

}  // namespace coldpress::vm
