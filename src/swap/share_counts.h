// The part of slots' counts that their words have no room for: of the few slots that very many pages share.
//
// An open-addressed table by slot, with linear probing; what is removed leaves no marker behind, the ones
// after it move up. A slot is in it while its word says so; so it holds no zero.
//
// Thread safety: add() and take() of a slot by the holder of its lock, of different slots at the same time.
// The table's mutex is a leaf.
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "base/units.h"
#include "sync/mutex.h"

namespace coldpress::swap {

class ShareCounts {
 public:
  // `most`: slots that can be in it at a time. Takes no memory before the first one is.
  [[nodiscard]] bool init(MemorySource& source, std::size_t most);

  // false: no memory, or it is full; nothing has changed.
  [[nodiscard]] bool add(SlotIndex slot, std::uint32_t count) EXCLUDES(mutex_);
  // Takes `count` back, of a slot that has as many. Whether it has more.
  bool take(SlotIndex slot, std::uint32_t count) EXCLUDES(mutex_);
  std::uint64_t metadata_pages() EXCLUDES(mutex_);
  // Of all slots together; and how many these are.
  std::uint64_t sum() EXCLUDES(mutex_);
  std::size_t slots() EXCLUDES(mutex_);

 private:
  struct Extra {
    std::uint32_t slot;  // 0: none
    std::uint32_t count;
  };
  std::size_t home(std::uint32_t slot) const REQUIRES(mutex_) {
    return std::size_t{slot} * 0x9e3779b1u & (extras_.capacity() - 1);
  }
  std::size_t find(std::uint32_t slot) REQUIRES(mutex_);
  void remove(std::size_t at) REQUIRES(mutex_);

  sync::Mutex mutex_;
  ReservedArray<Extra> extras_ GUARDED_BY(mutex_);  // a power of two
  std::size_t used_ GUARDED_BY(mutex_) = 0, most_used_ GUARDED_BY(mutex_) = 0;
  bool ready_ GUARDED_BY(mutex_) = false;
};

}  // namespace coldpress::swap
