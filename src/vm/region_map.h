// The managed (registered) ranges of the address space, sorted and disjoint; neighbours that touch are one.
// Thread safety: none; guarded by the layout mutex.
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "base/units.h"

namespace coldpress::vm {

class RegionMap {
 public:
  [[nodiscard]] bool init(MemorySource& source, std::size_t max_regions);

  // false: the table is full; nothing changed.
  [[nodiscard]] bool add(PageRange range);
  // Cuts the range out. A full table loses the upper part of a split region (it is found again at the
  // next adoption).
  void remove(PageRange range);
  // Whether there is memory for one range more, as a split needs it.
  bool has_room() { return ranges_.grow_to(count_ + 1); }
  void clear() { count_ = 0; }

  // The first region that ends after `page`; an empty range when there is none.
  PageRange at_or_after(PageIndex page) const;
  bool contains(PageRange range) const;
  bool overlaps(PageRange range) const { return !intersect(at_or_after(range.begin), range).empty(); }
  std::size_t count() const { return count_; }
  PageRange operator[](std::size_t index) const { return ranges_[index]; }
  std::uint64_t total_pages() const;
  std::uint64_t metadata_pages() const { return bytes_to_pages(count_ * sizeof(PageRange)); }

 private:
  // Index of the first region whose end is after `page`.
  std::size_t lower_bound(PageIndex page) const;
  void erase(std::size_t from, std::size_t to);

  ReservedArray<PageRange> ranges_;
  std::size_t count_ = 0;
};

}  // namespace coldpress::vm
