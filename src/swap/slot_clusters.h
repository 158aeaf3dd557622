// Which slots are free: clusters of 64, one bit each, taken and given back without a lock.
//
// Each thread goes on in the cluster where it found room last, so that servers keep out of each other's lines
// and the slots of a run of pages lie side by side. A second level has a bit for each cluster that may have
// room.
//
// Invariants
//  1. Whoever clears a bit owns the slot until he sets it again.
//  2. A cluster with room is marked in the second level, or somebody is about to mark it: who takes the last
//     slot unmarks it and looks again; who gives a slot back sets its bit, then looks for the mark. Of two
//     at once, one sees the other (sequentially consistent).
//
// F and G are pairs of orders that slot_table.h names.
//
// Thread safety: take() and give_back() from any thread; add() by one at a time.
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "sync/atomic.h"

namespace coldpress::swap {

class SlotClusters {
 public:
  static constexpr std::uint32_t kSlots = 64;  // of a cluster

  [[nodiscard]] bool init(MemorySource& source, std::size_t capacity);

  // Takes up to `most` slots of one cluster: *first plus the numbers of the bits that it returns. 0: none
  // was free.
  std::uint64_t take(std::uint32_t most, std::uint32_t* first);
  void give_back(std::uint32_t slot);
  // One more cluster, whose slots are `free` bits. false: no memory, or the table is full.
  [[nodiscard]] bool add(std::uint64_t free);
  std::uint32_t count() const { return count_.load(sync::kAcquire); }  // G

 private:
  static constexpr std::uint32_t kHints = 64;
  struct alignas(64) Hint {
    sync::Atomic<std::uint32_t> cluster{0};
  };

  std::uint64_t take_from(std::uint32_t cluster, std::uint32_t most);

  ReservedArray<sync::Atomic<std::uint64_t>> free_;    // by cluster
  ReservedArray<sync::Atomic<std::uint64_t>> marked_;  // a bit for each cluster
  sync::Atomic<std::uint32_t> count_{0};
  Hint hints_[kHints];  // by sync::thread_hint()
};

}  // namespace coldpress::swap
