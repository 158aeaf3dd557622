#include "os/sim/sim_device.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "sync/futex.h"

namespace coldpress::os {

std::uint64_t SimDevice::next_random() {  // splitmix64
  std::uint64_t z = random_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

void SimDevice::set_faults(const Faults& faults) {
  OneStep lock(mutex_);
  faults_ = faults;
  chances_ = 0;
}

std::uint64_t SimDevice::chances() const {
  OneStep lock(mutex_);
  return chances_;
}

bool SimDevice::one_in(std::uint32_t odds) {
  if (odds == 0) return false;
  ++chances_;
  std::uint64_t at = faults_.only_at;
  if (at != 0) return at <= chances_ && chances_ - at < faults_.times;
  return choose_one_in(odds, next_random());
}

void SimDevice::overwrite(std::uint64_t offset, std::span<const std::byte> bytes) {
  OneStep lock(mutex_);
  std::copy(bytes.begin(), bytes.end(), content_.begin() + static_cast<std::ptrdiff_t>(offset));
}

void SimDevice::scribble(std::uint64_t offset, std::uint64_t count) {
  OneStep lock(mutex_);
  for (std::uint64_t i = offset; i < offset + count; ++i) content_[i] = static_cast<std::byte>(next_random());
}

std::uint64_t SimDevice::used_bytes() const {
  OneStep lock(mutex_);
  return static_cast<std::uint64_t>(std::count(used_.begin(), used_.end(), true)) * kBlockBytes;
}

std::uint64_t SimDevice::reads() const {
  OneStep lock(mutex_);
  return reads_;
}

bool SimDevice::contains(std::span<const std::byte> bytes) const {
  OneStep lock(mutex_);
  return std::search(content_.begin(), content_.end(), bytes.begin(), bytes.end()) != content_.end();
}

void SimDevice::hang() { hangs_.store(1); }

void SimDevice::let_go() {
  hangs_.store(0);
  sync::futex_wake(&hangs_, 1 << 30);
}

IoStatus SimDevice::read(std::uint64_t offset, std::byte* into, std::size_t count) {
  while (hangs_.load() != 0) sync::futex_wait(&hangs_, 1);
  OneStep lock(mutex_);
  ++reads_;
  if (offset + count > content_.size() || one_in(faults_.read_error)) return IoStatus::kError;
  std::memcpy(into, content_.data() + offset, count);
  return IoStatus::kDone;
}

void SimDevice::submit_write(std::uint64_t offset, const std::byte* from, std::size_t count,
                             std::uint32_t tag) {
  OneStep lock(mutex_);
  under_way_.push_back({offset, from, count, tag});
}

std::size_t SimDevice::reap(std::span<Completion> completions, std::int64_t wait_ns) {
  std::size_t count = reap_now(completions, wait_ns == 0);
  if (count > 0 || wait_ns == 0) return count;
  sync::sleep_ns(wait_ns);
  return reap_now(completions, false);
}

std::size_t SimDevice::reap_now(std::span<Completion> completions, bool perhaps_late) {
  OneStep lock(mutex_);
  std::size_t count = 0;
  while (count < completions.size() && !under_way_.empty()) {
    if (faults_.answers_never || (perhaps_late && one_in(faults_.late))) break;
    std::size_t which = choose_below(under_way_.size(), next_random());
    Write write = under_way_[which];
    under_way_.erase(under_way_.begin() + static_cast<std::ptrdiff_t>(which));
    completions[count++] = {write.tag, finish(write)};
  }
  return count;
}

IoStatus SimDevice::finish(const Write& write) {
  if (write.offset + write.count > content_.size()) return IoStatus::kError;
  if (one_in(faults_.write_error)) return IoStatus::kError;
  if (one_in(faults_.no_space)) return IoStatus::kNoSpace;
  if (one_in(faults_.lost_write)) return IoStatus::kDone;
  enum { kWhole, kNoFirst, kNoLast, kEverySecond } torn = kWhole;
  if (one_in(faults_.torn_write)) {
    constexpr decltype(torn) kKinds[] = {kNoFirst, kNoLast, kEverySecond};
    torn = kKinds[choose_below(std::size(kKinds), next_random())];
  }
  for (std::size_t at = 0; at < write.count; at += kBlockBytes) {
    bool last = at + kBlockBytes >= write.count;
    if ((torn == kNoFirst && at == 0) || (torn == kNoLast && last)) continue;
    if (torn == kEverySecond && at / kBlockBytes % 2 == 0) continue;
    std::memcpy(content_.data() + write.offset + at, write.from + at, kBlockBytes);
    used_[(write.offset + at) / kBlockBytes] = true;
  }
  return IoStatus::kDone;
}

void SimDevice::discard(std::uint64_t offset, std::uint64_t count) {
  OneStep lock(mutex_);
  std::fill_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), count, std::byte{0});
  for (std::uint64_t at = offset; at < offset + count; at += kBlockBytes) used_[at / kBlockBytes] = false;
}

}  // namespace coldpress::os
