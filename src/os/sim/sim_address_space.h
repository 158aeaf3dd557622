// SimAddressSpace: the software page table of one simulated process.
//
// 1. A mapping is a range with one protection and one registration; neighbours never merge, so that runs of
//    pages cross mappings more often than on a real machine.
// 2. A page is absent, a buffer of bytes, the shared zero page, or a poison marker. Buffers are shared with
//    forked copies; `exclusive` is the kernel's bit of that name: cleared by a fork on both sides, set again
//    by the next write, which copies first when somebody else still holds the buffer.
// 3. `lazy` is MADV_FREE: the machine may take the page until it is written.
//
// Thread safety: none; SimMmu's mutex guards it. Loaded by tests only, so it uses the heap.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/units.h"

namespace coldpress::os {

struct SimBuffer {
  alignas(64) std::byte bytes[kPageBytes] = {};
};

struct SimPage {
  enum class Kind : std::uint8_t { kMemory, kZero, kPoison };
  Kind kind = Kind::kMemory;
  bool exclusive = true;
  bool pinned = false;
  bool lazy = false;
  std::shared_ptr<SimBuffer> data;
};

struct SimMapping {
  PageRange range;
  bool registered = false;
  bool writable = true;
};

class SimAddressSpace {
 public:
  // The range must be free.
  void map(PageRange range, bool writable);
  void unmap(PageRange range);
  // Moves one mapping's part, its pages with it; the source stays as an empty mapping when it is kept.
  void move(PageRange from, PageIndex to, bool keep_source);
  // mremap in place: the mapping that holds `page`, and its registration, get longer. The room must be free.
  void grow(PageIndex page, std::uint64_t by);
  void protect(PageRange range, bool writable);
  void set_registered(PageRange range, bool registered);
  void drop(PageRange range);
  // The copy that a fork makes; afterwards no page of either side is exclusive.
  SimAddressSpace fork();

  const SimMapping* mapping_at(PageIndex page) const;
  bool any_mapped(PageRange range) const;
  bool any_registered(PageRange range) const;
  std::vector<SimMapping> mappings() const;

  SimPage* find(PageIndex page);
  SimPage& put(PageIndex page, SimPage value) { return pages_[page.value] = std::move(value); }
  void erase(PageIndex page) { pages_.erase(page.value); }
  std::map<std::uint64_t, SimPage>& pages() { return pages_; }
  // Makes the page a private, writable buffer.
  static std::byte* make_writable(SimPage& page);
  static SimPage memory_page(const std::byte* content);

 private:
  void split_at(PageIndex page);

  std::map<std::uint64_t, SimMapping> mappings_;  // by first page
  std::map<std::uint64_t, SimPage> pages_;
};

}  // namespace coldpress::os
