// Compaction: the objects of the sparsest zspages go to the densest, until no zspage could be saved any more.
//
// A class is worth it when the room in its zspages would hold all objects of one of them. Objects are found
// by walking a zspage: each names its handle in its header. The handle is pinned before the object is copied,
// so nobody reads or writes it meanwhile; whoever has it pinned now keeps it, and its zspage, where they are:
// compaction never waits for a user. The class's mutex is let go after each zspage that was emptied.
#include <algorithm>
#include <cstring>

#include "sync/explore.h"
#include "sync/futex.h"
#include "zspool/zspool.h"

namespace coldpress::zspool {

std::uint64_t ZsPool::freeable_pages(std::size_t index) const {
  const SizeClass& shape = kSizeClasses.classes[index];
  std::uint64_t zspages = classes_[index].zspages.load(sync::kRelaxed);
  std::uint64_t in_use = classes_[index].in_use.load(sync::kRelaxed);
  std::uint64_t needed = (in_use + shape.objects - 1) / shape.objects;
  return zspages > needed ? (zspages - needed) * shape.pages : 0;
}

std::uint64_t ZsPool::compactable_pages() const {
  std::uint64_t pages = 0;
  for (std::size_t index = 0; index < kSizeClasses.count; ++index) pages += freeable_pages(index);
  return pages;
}

std::uint32_t ZsPool::compact(std::uint32_t most_objects) {
  if (!compaction_mutex_.try_lock()) return 0;
  std::uint32_t freed_pages = 0;
  // From where the last call stopped, so that small budgets reach every class.
  for (std::size_t n = 0; n < kSizeClasses.count && most_objects > 0; ++n) {
    std::size_t index = compact_next_;
    Class& c = classes_[index];
    for (;;) {
      if (freeable_pages(index) == 0 || most_objects == 0) break;
      sync::MutexLock lock(c.mutex);
      Moved moved = compact_one(c, index, most_objects);
      freed_pages += moved.pages;
      most_objects -= moved.objects;
      if (sync::is_mutant(sync::Mutant::kRetryBusy)) continue;
      if (moved.pages == 0) break;  // users are in the way, or the budget is spent
    }
    if (most_objects > 0) compact_next_ = (index + 1) % kSizeClasses.count;
  }
  compaction_mutex_.unlock();
  return freed_pages;
}

// Empties the sparsest zspage of the class, as far as its users and the budget let it.
ZsPool::Moved ZsPool::compact_one(Class& c, std::size_t index, std::uint32_t most_objects) {
  Moved moved;
  std::uint32_t from = kNone;
  for (std::uint32_t group = 0; from == kNone && group < kFullGroup; ++group) from = c.groups[group];
  if (from == kNone) return moved;
  std::uint32_t objects = zspages_[from].untouched;
  for (std::uint32_t i = 0; i < objects && moved.objects < most_objects; ++i) {
    if ((header(zspages_[from], i) & kInUse) == 0) continue;
    std::uint32_t to = kNone;
    for (std::uint32_t group = kFullGroup; to == kNone && group-- > 0;) {
      to = c.groups[group];
      if (to == from) to = zspages_[to].next;
    }
    if (to == kNone) return moved;  // nobody else has room
    bool last = zspages_[from].in_use == 1;
    if (!move_object(c, from, i, to)) continue;
    ++moved.objects;
    if (last) {
      moved.pages += kSizeClasses.classes[index].pages;
      return moved;
    }
  }
  return moved;
}

// false: somebody is using the object.
bool ZsPool::move_object(Class& c, std::uint32_t from, std::uint32_t index, std::uint32_t to) {
  auto& word = handles_[header(zspages_[from], index) >> 1];
  std::uint64_t value = word.load(sync::kRelaxed);
  if ((value & kPinned) != 0 ||
      !word.compare_exchange_strong(value, value | kPinned, sync::kAcquire, sync::kRelaxed)) {
    sync::mark("zspool: compaction leaves what is pinned");
    return false;
  }
  sync::mark("zspool: compaction moves an object");
  std::uint32_t slot = take_object(c, to);
  std::memcpy(object(zspages_[to], slot), object(zspages_[from], index),
              kSizeClasses.classes[zspages_[to].size_class].object_bytes);
  return_object(c, from, index);
  value =
      word.exchange(std::uint64_t{to} << kZspageShift | std::uint64_t{slot} << kObjectShift, sync::kRelease);
  if ((value & kWaiters) != 0) sync::futex_wake(&word, 1 << 30);
  return true;
}

}  // namespace coldpress::zspool
