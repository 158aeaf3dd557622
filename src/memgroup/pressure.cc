#include "memgroup/pressure.h"

#include <algorithm>

namespace coldpress::memgroup {

void Pressure::account(std::int64_t now_ns) {
  std::int64_t passed = std::max<std::int64_t>(now_ns - since_ns_, 0);  // clocks of two cpus
  since_ns_ = now_ns;
  if (waiting_ > 0) some_.total_ns += passed;
  if (threads_ > 0 && waiting_ >= threads_) full_.total_ns += passed;
}

void Pressure::change(int by, std::int64_t now_ns) {
  sync::MutexLock lock(mutex_);
  account(now_ns);
  waiting_ += static_cast<std::uint32_t>(by);
}

void Pressure::fade(Line& line, std::int64_t elapsed_ns) {
  // exp(-2 s / 10, 60 and 300 s)
  constexpr double kFactors[] = {0.818730753, 0.967216100, 0.993355506};
  std::int64_t lost = line.total_ns - line.seen_ns;
  line.seen_ns = line.total_ns;
  double percent = 100.0 * static_cast<double>(std::min(lost, elapsed_ns)) / static_cast<double>(elapsed_ns);
  // Periods that were missed, as if the loss had been spread over them; after so many nothing is left of what
  // was.
  std::int64_t periods = std::clamp<std::int64_t>(elapsed_ns / kPeriodNs, 1, 2000);
  for (std::int64_t i = 0; i < periods; ++i) {
    for (int k = 0; k < 3; ++k) line.average[k] = line.average[k] * kFactors[k] + percent * (1 - kFactors[k]);
  }
}

void Pressure::update(std::int64_t now_ns, std::uint32_t threads) {
  std::int64_t elapsed = now_ns - updated_ns_;
  if (elapsed <= 0) return;
  bool first = updated_ns_ == 0;
  updated_ns_ = now_ns;
  sync::MutexLock lock(mutex_);
  if (first) since_ns_ = now_ns;
  account(now_ns);
  threads_ = threads;
  if (first) return;
  fade(some_, elapsed);
  fade(full_, elapsed);
}

Pressure::Told Pressure::told() {
  auto line = [](const Line& from) {
    Told::Line to{{}, static_cast<std::uint64_t>(from.total_ns / 1000)};
    for (int k = 0; k < 3; ++k) to.average[k] = static_cast<std::uint64_t>(from.average[k] * 100 + 0.5);
    return to;
  };
  sync::MutexLock lock(mutex_);
  return {line(some_), line(full_)};
}

void Pressure::tell(Stats& stats) {
  Told now = told();
  stats.some_avg10.store(now.some.average[0], sync::kRelaxed);
  stats.some_avg60.store(now.some.average[1], sync::kRelaxed);
  stats.some_avg300.store(now.some.average[2], sync::kRelaxed);
  stats.some_total_us.store(now.some.total_us, sync::kRelaxed);
  stats.full_avg10.store(now.full.average[0], sync::kRelaxed);
  stats.full_avg60.store(now.full.average[1], sync::kRelaxed);
  stats.full_avg300.store(now.full.average[2], sync::kRelaxed);
  stats.full_total_us.store(now.full.total_us, sync::kRelaxed);
}

}  // namespace coldpress::memgroup
