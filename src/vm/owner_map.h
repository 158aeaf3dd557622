// Which account of the memory group ranges of the address space belong to: sorted and disjoint; what is in
// none belongs to the process itself.
// Thread safety: none; guarded by the layout mutex.
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "base/units.h"
#include "memgroup/accounts.h"

namespace coldpress::vm {

class OwnerMap {
 public:
  struct Part {
    PageRange range;
    memgroup::AccountId account = memgroup::kProcess;
  };

  [[nodiscard]] bool init(MemorySource& source, std::size_t max_parts) {
    return parts_.init(source, max_parts) && parts_.grow_to(1);  // as RegionMap::init()
  }

  bool empty() const { return count_ == 0; }
  // false: the table is full; what was known of the range is forgotten then.
  bool set(PageRange range, memgroup::AccountId account);
  // A full table forgets the upper part of what is split: it is the process's then.
  void remove(PageRange range);
  // What belongs to `from` belongs to `to` from now on.
  void replace(memgroup::AccountId from, memgroup::AccountId to);

  memgroup::AccountId at(PageIndex page) const {
    Part part = at_or_after(page);
    return part.range.contains(page) ? part.account : memgroup::kProcess;
  }
  // How many pages from this one on belong where it does, at least.
  std::uint64_t to_next(PageIndex page) const {
    Part part = at_or_after(page);
    if (part.range.empty()) return ~std::uint64_t{0} >> 1;
    return part.range.contains(page) ? part.range.end - page : part.range.begin - page;
  }
  // The first part that ends after `page`; an empty one when there is none.
  Part at_or_after(PageIndex page) const;

 private:
  std::size_t lower_bound(PageIndex page) const;

  ReservedArray<Part> parts_;
  std::size_t count_ = 0;
};

}  // namespace coldpress::vm
