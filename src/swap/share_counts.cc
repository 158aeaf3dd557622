#include "swap/share_counts.h"

#include <algorithm>
#include <bit>

#include "base/check.h"
#include "sync/explore.h"

namespace coldpress::swap {

bool ShareCounts::init(MemorySource& source, std::size_t most) {
  sync::name_object(mutex_, "share counts");
  sync::MutexLock lock(mutex_);
  return extras_.init(source, std::bit_ceil(2 * most + 2));  // half of it empty: short ways
}

// Where the slot is, or the empty place where it would be.
std::size_t ShareCounts::find(std::uint32_t slot) {
  std::size_t at = home(slot);
  while (extras_[at].slot != 0 && extras_[at].slot != slot) at = (at + 1) & (extras_.capacity() - 1);
  return at;
}

bool ShareCounts::add(SlotIndex slot, std::uint32_t count) {
  sync::MutexLock lock(mutex_);
  if (!ready_ && !extras_.grow_to(extras_.capacity())) return false;
  ready_ = true;
  Extra& extra = extras_[find(slot.value)];
  if (extra.slot == 0) {
    if (2 * (used_ + 1) > extras_.capacity()) return false;
    most_used_ = std::max(most_used_, ++used_);
    extra = {slot.value, 0};
  }
  extra.count += count;
  return true;
}

bool ShareCounts::take(SlotIndex slot, std::uint32_t count) {
  sync::MutexLock lock(mutex_);
  COLDPRESS_CHECK(ready_);
  std::size_t at = find(slot.value);
  COLDPRESS_CHECK(extras_[at].slot == slot.value && extras_[at].count >= count);
  extras_[at].count -= count;
  if (extras_[at].count > 0) return true;
  remove(at);
  return false;
}

// Whoever stands after the gap and may stand in it moves there, which makes the next gap.
void ShareCounts::remove(std::size_t at) {
  std::size_t mask = extras_.capacity() - 1;
  for (std::size_t next = (at + 1) & mask; extras_[next].slot != 0; next = (next + 1) & mask) {
    std::size_t from_home = (next - home(extras_[next].slot)) & mask, from_gap = (next - at) & mask;
    if (from_home < from_gap) continue;  // its home is after the gap
    extras_[at] = extras_[next];
    at = next;
  }
  extras_[at] = {0, 0};
  --used_;
}

// Each of them may have touched another.
std::uint64_t ShareCounts::metadata_pages() {
  sync::MutexLock lock(mutex_);
  return std::min<std::uint64_t>(most_used_, bytes_to_pages(extras_.capacity() * sizeof(Extra)));
}

std::uint64_t ShareCounts::sum() {
  sync::MutexLock lock(mutex_);
  std::uint64_t sum = 0;
  for (std::size_t i = 0; ready_ && i < extras_.capacity(); ++i) sum += extras_[i].count;
  return sum;
}

std::size_t ShareCounts::slots() {
  sync::MutexLock lock(mutex_);
  return used_;
}

}  // namespace coldpress::swap
