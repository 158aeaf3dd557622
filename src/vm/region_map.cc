#include "vm/region_map.h"

#include <algorithm>

namespace coldpress::vm {

bool RegionMap::init(MemorySource& source, std::size_t max_regions) {
  count_ = 0;
  // The first step at once: what a layout message says can not be refused later for want of memory.
  return ranges_.init(source, max_regions) && ranges_.grow_to(1);
}

std::size_t RegionMap::lower_bound(PageIndex page) const {
  const PageRange* begin = ranges_.data();
  return static_cast<std::size_t>(
      std::partition_point(begin, begin + count_, [&](PageRange r) { return r.end <= page; }) - begin);
}

void RegionMap::erase(std::size_t from, std::size_t to) {
  std::move(ranges_.data() + to, ranges_.data() + count_, ranges_.data() + from);
  count_ -= to - from;
}

bool RegionMap::add(PageRange range) {
  if (range.empty()) return true;
  // All regions that overlap or touch melt into one.
  std::size_t from = lower_bound(range.begin);
  if (from > 0 && ranges_[from - 1].end == range.begin) --from;
  std::size_t to = from;
  while (to < count_ && ranges_[to].begin <= range.end) {
    range.begin = std::min(range.begin, ranges_[to].begin);
    range.end = std::max(range.end, ranges_[to].end);
    ++to;
  }
  if (from == to) {
    if (!ranges_.grow_to(count_ + 1)) return false;
    std::move_backward(ranges_.data() + from, ranges_.data() + count_, ranges_.data() + count_ + 1);
    ++count_;
  } else {
    erase(from + 1, to);
  }
  ranges_[from] = range;
  return true;
}

void RegionMap::remove(PageRange range) {
  if (range.empty()) return;
  std::size_t index = lower_bound(range.begin);
  while (index < count_ && ranges_[index].begin < range.end) {
    PageRange old = ranges_[index];
    bool keep_low = old.begin < range.begin, keep_high = range.end < old.end;
    if (keep_low) {
      ranges_[index].end = range.begin;
      if (keep_high) {
        if (!ranges_.grow_to(count_ + 1)) return;
        std::move_backward(ranges_.data() + index + 1, ranges_.data() + count_, ranges_.data() + count_ + 1);
        ++count_;
        ranges_[index + 1] = {range.end, old.end};
        return;
      }
      ++index;
    } else if (keep_high) {
      ranges_[index].begin = range.end;
      return;
    } else {
      erase(index, index + 1);
    }
  }
}

PageRange RegionMap::at_or_after(PageIndex page) const {
  std::size_t index = lower_bound(page);
  return index < count_ ? ranges_[index] : PageRange{};
}

bool RegionMap::contains(PageRange range) const {
  PageRange region = at_or_after(range.begin);
  return !range.empty() && region.begin <= range.begin && range.end <= region.end;
}

std::uint64_t RegionMap::total_pages() const {
  std::uint64_t pages = 0;
  for (std::size_t i = 0; i < count_; ++i) pages += ranges_[i].pages();
  return pages;
}

}  // namespace coldpress::vm
