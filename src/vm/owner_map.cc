#include "vm/owner_map.h"

#include <algorithm>

namespace coldpress::vm {

std::size_t OwnerMap::lower_bound(PageIndex page) const {
  const Part* begin = parts_.data();
  return static_cast<std::size_t>(
      std::partition_point(begin, begin + count_, [&](const Part& part) { return part.range.end <= page; }) -
      begin);
}

OwnerMap::Part OwnerMap::at_or_after(PageIndex page) const {
  if (count_ == 0) return {};
  std::size_t at = lower_bound(page);
  return at < count_ ? parts_[at] : Part{};
}

void OwnerMap::remove(PageRange range) {
  if (count_ == 0) return;
  std::size_t first = lower_bound(range.begin);
  if (first == count_ || range.end <= parts_[first].range.begin) return;
  Part split = parts_[first];
  if (split.range.begin < range.begin && range.end < split.range.end) {
    parts_[first].range.end = range.begin;
    split.range.begin = range.end;
    if (!parts_.grow_to(count_ + 1)) return;
    std::copy_backward(parts_.data() + first + 1, parts_.data() + count_, parts_.data() + count_ + 1);
    parts_[first + 1] = split;
    ++count_;
    return;
  }
  if (split.range.begin < range.begin) parts_[first++].range.end = range.begin;
  std::size_t last = first;
  while (last < count_ && parts_[last].range.end <= range.end) ++last;
  if (last < count_ && parts_[last].range.begin < range.end) parts_[last].range.begin = range.end;
  std::copy(parts_.data() + last, parts_.data() + count_, parts_.data() + first);
  count_ -= last - first;
}

bool OwnerMap::set(PageRange range, memgroup::AccountId account) {
  remove(range);
  if (account == memgroup::kProcess) return true;
  if (!parts_.grow_to(count_ + 1)) return false;
  std::size_t at = lower_bound(range.begin);
  std::copy_backward(parts_.data() + at, parts_.data() + count_, parts_.data() + count_ + 1);
  parts_[at] = {range, account};
  ++count_;
  return true;
}

void OwnerMap::replace(memgroup::AccountId from, memgroup::AccountId to) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count_; ++i) {
    Part part = parts_[i];
    if (part.account == from) part.account = to;
    if (part.account != memgroup::kProcess) parts_[kept++] = part;
  }
  count_ = kept;
}

}  // namespace coldpress::vm
