#include "swap/slot_clusters.h"

#include <bit>

#include "sync/explore.h"
#include "sync/hint.h"

namespace coldpress::swap {

bool SlotClusters::init(MemorySource& source, std::size_t capacity) {
  std::size_t clusters = (capacity + kSlots - 1) / kSlots;
  std::size_t marks = (clusters + 63) / 64;
  if (!free_.init(source, clusters) || !marked_.init(source, marks)) return false;
  sync::name_each(free_.data(), clusters, "free slots");
  sync::name_each(marked_.data(), marks, "marked clusters");
  sync::name_object(count_, "cluster count");
  return true;
}

bool SlotClusters::add(std::uint64_t free) {
  std::uint32_t cluster = count_.load(sync::kRelaxed);
  if (!free_.grow_to(std::size_t{cluster} + 1) || !marked_.grow_to(cluster / 64 + 1)) return false;
  free_[cluster].store(free, sync::kRelaxed);
  // Marked first: who sees the count without the mark would think that one more is needed.
  marked_[cluster / 64].fetch_or(std::uint64_t{1} << cluster % 64);
  count_.store(cluster + 1, sync::kRelease);  // G
  hints_[sync::thread_hint() % kHints].cluster.store(cluster, sync::kRelaxed);
  return true;
}

std::uint64_t SlotClusters::take(std::uint32_t most, std::uint32_t* first) {
  std::uint32_t count = this->count();
  if (count == 0) return 0;
  auto& hint = hints_[sync::thread_hint() % kHints].cluster;
  // Of another thread, perhaps, and newer than the count: then nothing says that its memory can be seen (G).
  std::uint32_t start = hint.load(sync::kRelaxed);
  if (start >= count) start = 0;
  *first = start * kSlots;
  if (std::uint64_t taken = take_from(start, most); taken != 0) return taken;
  std::uint32_t words = (count + 63) / 64;
  for (std::uint32_t n = 0; n < words; ++n) {
    std::uint32_t word = (start / 64 + n) % words;
    for (std::uint64_t marks = marked_[word].load(); marks != 0; marks &= marks - 1) {
      std::uint32_t cluster = word * 64 + static_cast<std::uint32_t>(std::countr_zero(marks));
      std::uint64_t taken = take_from(cluster, most);
      if (taken == 0) continue;
      hint.store(cluster, sync::kRelaxed);
      *first = cluster * kSlots;
      return taken;
    }
  }
  return 0;
}

std::uint64_t SlotClusters::take_from(std::uint32_t cluster, std::uint32_t most) {
  auto& free = free_[cluster];
  std::uint64_t value = free.load(sync::kRelaxed);
  while (value != 0) {
    std::uint64_t rest = value;
    for (std::uint32_t i = 0; i < most && rest != 0; ++i) rest &= rest - 1;  // without the lowest
    if (sync::is_mutant(sync::Mutant::kPlainBits)) {
      sync::let_others_run();
      free.store(rest);
      return value ^ rest;
    }
    if (!free.compare_exchange_weak(value, rest, sync::kAcquire, sync::kRelaxed)) continue;  // F
    if (rest == 0) {
      std::uint64_t mark = std::uint64_t{1} << cluster % 64;
      marked_[cluster / 64].fetch_and(~mark);
      if (sync::is_mutant(sync::Mutant::kLookOnce)) return value;
      if (free.load() != 0) marked_[cluster / 64].fetch_or(mark);
    }
    return value ^ rest;
  }
  return 0;
}

void SlotClusters::give_back(std::uint32_t slot) {
  std::uint32_t cluster = slot / kSlots;
  free_[cluster].fetch_or(std::uint64_t{1} << slot % kSlots);  // F, and invariant 2
  std::uint64_t mark = std::uint64_t{1} << cluster % 64;
  if ((marked_[cluster / 64].load() & mark) == 0) marked_[cluster / 64].fetch_or(mark);
}

}  // namespace coldpress::swap
