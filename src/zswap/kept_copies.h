// Which compressed copies are kept of pages that are in the program's memory again. A page that goes out as
// it came needs no compression then: its copy serves.
//
// Whether a page was written to can not be seen without another fault for each (the bit of the page table
// that tells a kernel is shown to no process). So a copy is a guess, and who stores a page compares before he
// believes it, by checksum and then byte by byte (Zswap::store_kept()). What follows is simple: a copy that
// is out of date, because its page was written to, unmapped, moved, or because another came to its address,
// costs memory and at most a comparison, never a wrong byte. Nobody has to be told (who unmaps or moves
// pages does tell, to save the memory), and any copy can go at any time.
//
// Since copies take memory that pages could have, few are kept: of what streams bring at their full width
// (vm/readahead.cc), as long as at least three quarters of those that went out again were served, and of
// every 32nd page otherwise, to find out when that changes; an eighth of the limit at most; and none for
// longer than two turns of the sweep.
//
// A table of places by page number, so that a run has a row of them; whoever comes to a place that is taken
// sends the other away. An entry that is in the table belongs to it alone.
//
// Thread safety: zswap's mutex; bytes() from any thread, metadata_bytes() with the layout mutex, as put().
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "base/units.h"
#include "sync/atomic.h"

namespace coldpress::zswap {

class KeptCopies {
 public:
  // Room for half as many as the limit has pages, about; no memory is taken before the first comes.
  [[nodiscard]] bool init(MemorySource& source, std::int64_t limit_pages);

  // What all of them may take.
  static std::uint64_t most_bytes(std::int64_t limit_pages) {
    constexpr std::int64_t kShare = 8;
    return static_cast<std::uint64_t>(limit_pages / kShare) << kPageShift;
  }
  // Whether one more of so many bytes is to be kept. Each call counts as a page.
  bool wanted(std::size_t bytes, std::int64_t limit_pages);
  // Returns the entry that it sends away, or 0; the entry itself when there is no memory for the table.
  std::uint32_t put(PageIndex page, std::uint32_t entry);
  // The page's entry, which is not in the table any more; 0: none.
  std::uint32_t take(PageIndex page);
  // Any one of those that a whole turn has passed by, or of all; at most so many places are looked at.
  std::uint32_t sweep(std::size_t& places, bool all);
  // Whether a copy that was taken has served.
  void served(bool served);
  // With each that comes (its bytes), and each that goes (less them).
  void add_bytes(std::int64_t bytes) {
    bytes_.store(bytes_.load(sync::kRelaxed) + static_cast<std::uint64_t>(bytes), sync::kRelaxed);
  }

  std::uint64_t count() const { return count_; }
  std::uint64_t bytes() const { return bytes_.load(sync::kRelaxed); }  // 0: there are none
  std::size_t places() const { return places_.capacity(); }
  std::uint64_t metadata_bytes() const { return in_use_ ? places_.capacity() * sizeof(std::uint64_t) : 0; }

 private:
  // Bits 0-31: entry, 0 for a free place; 32-62: the page's number over the number of places; 63: passed by.
  static constexpr std::uint64_t kPassedBy = std::uint64_t{1} << 63;
  std::uint64_t& place_of(PageIndex page) const { return places_[page.value & (places_.capacity() - 1)]; }
  std::uint64_t tag_of(PageIndex page) const { return page.value / places_.capacity() << 32; }
  std::uint32_t vacate(std::uint64_t& place);

  ReservedArray<std::uint64_t> places_;
  bool in_use_ = false;
  std::size_t hand_ = 0;
  static constexpr std::int32_t kAll = 1024;
  std::int32_t serving_ = kAll;  // of kAll, a moving average
  std::uint32_t turn_ = 0;
  std::uint64_t count_ = 0;
  sync::Atomic<std::uint64_t> bytes_{0};
};

}  // namespace coldpress::zswap
