#include "swap/slot_table.h"

#include <algorithm>
#include <bit>

#include "sync/explore.h"

namespace coldpress::swap {
namespace {

constexpr std::uint64_t kStateMask = 7, kLock = 8, kWaiters = 16;
constexpr unsigned kCountShift = 5, kGenerationShift = 16, kPayloadShift = 32;
constexpr std::uint64_t kCountMask = kMaxCount, kElsewhere = 1 << 15, kGenerationMask = 0xffff;
constexpr std::uint32_t kMoved = (kMaxCount + 1) / 2;  // to share_counts_, and back

constexpr std::uint64_t encode(SlotWord word) {
  return static_cast<std::uint64_t>(word.state) | std::uint64_t{word.count} << kCountShift |
         std::uint64_t{word.generation} << kGenerationShift | std::uint64_t{word.payload} << kPayloadShift;
}

constexpr SlotWord decode(std::uint64_t value) {
  return {static_cast<State>(value & kStateMask),
          static_cast<std::uint16_t>(value >> kCountShift & kCountMask),
          static_cast<std::uint16_t>(value >> kGenerationShift & kGenerationMask),
          static_cast<std::uint32_t>(value >> kPayloadShift)};
}

inline bool is_life_of(Entry entry, std::uint64_t value) {
  SlotWord word = decode(value);
  bool same = word.generation == entry.generation || sync::is_mutant(sync::Mutant::kEqualIsProof) ||
              sync::is_mutant(sync::Mutant::kNoIdentityCheck) ||
              sync::is_mutant(sync::Mutant::kSettleUnchecked);
  return word.state != State::kFree && same;
}

}  // namespace

bool SlotTable::init(MemorySource& source, std::size_t capacity) {
  // Whoever is counted elsewhere has that many names, and there are not more names than slots (vm/clone.cc).
  if (!words_.init(source, capacity) || !clusters_.init(source, capacity) ||
      !share_counts_.init(source, capacity / kMoved + 1)) {
    return false;
  }
  sync::name_each(words_.data(), capacity, "slot");
  sync::name_object(growth_, "growth of slots");
  return true;
}

std::uint32_t SlotTable::end() const {
  std::uint64_t slots = std::uint64_t{clusters_.count()} * SlotClusters::kSlots;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(slots, words_.capacity()));
}

// `clusters`: how many there were when the caller found none free. false: no memory, or the table is full.
bool SlotTable::grow(std::uint32_t clusters) {
  sync::MutexLock lock(growth_);
  if (clusters_.count() != clusters) return true;  // somebody else has
  std::size_t first = std::size_t{clusters} * SlotClusters::kSlots;
  if (first >= words_.capacity()) return false;
  std::size_t slots = std::min<std::size_t>(SlotClusters::kSlots, words_.capacity() - first);
  std::uint64_t free = ~std::uint64_t{0} >> (SlotClusters::kSlots - slots);
  if (first == 0) free &= ~std::uint64_t{1};  // slot 0 is none
  return words_.grow_to(first + slots) && clusters_.add(free);
}

std::size_t SlotTable::allocate(std::span<Entry> entries, FrameId first_frame) {
  std::size_t taken = 0;
  while (taken < entries.size()) {
    std::uint32_t clusters = clusters_.count(), first = 0;
    std::uint64_t mask = clusters_.take(static_cast<std::uint32_t>(entries.size() - taken), &first);
    if (mask == 0 && !grow(clusters)) break;
    for (; mask != 0; mask &= mask - 1, ++taken) {
      SlotIndex slot{first + static_cast<std::uint32_t>(std::countr_zero(mask))};
      std::uint16_t generation = decode(word(slot).load(sync::kRelaxed)).generation;
      entries[taken] = {slot, generation};
      std::uint32_t frame = first_frame.value + static_cast<std::uint32_t>(taken);
      word(slot).store(encode({State::kFrame, 1, generation, frame}) | kLock, sync::kRelaxed);
    }
  }
  in_use_.fetch_add(taken, sync::kRelaxed);
  return taken;
}

void SlotTable::count_states(std::uint64_t (&of)[kStates]) const {
  std::uint32_t end = this->end();
  for (std::uint32_t slot = 1; slot < end; ++slot) {
    ++of[static_cast<std::size_t>(decode(word({slot}).load(sync::kRelaxed)).state)];
  }
}

SlotTable::TryLock SlotTable::try_lock(Entry entry, SlotWord& out) {
  auto& atom = word(entry.slot);
  std::uint64_t value = atom.load(sync::kRelaxed);
  for (;;) {
    if (!is_life_of(entry, value)) return TryLock::kStale;
    if ((value & kLock) != 0) return TryLock::kBusy;
    if (atom.compare_exchange_weak(value, value | kLock, sync::kAcquire, sync::kRelaxed)) {  // L
      out = decode(value);
      return TryLock::kLocked;
    }
  }
}

bool SlotTable::lock(Entry entry, SlotWord& out) {
  for (;;) {
    switch (try_lock(entry, out)) {
      case TryLock::kLocked:
        return true;
      case TryLock::kStale:
        return false;
      case TryLock::kBusy:
        wait(entry.slot, ticket(entry.slot));
    }
  }
}

std::uint32_t SlotTable::ticket(SlotIndex slot) {
  auto& atom = word(slot);
  std::uint64_t value = atom.load(sync::kRelaxed);
  while ((value & kLock) != 0) {
    if ((value & kWaiters) != 0 ||
        atom.compare_exchange_weak(value, value | kWaiters, sync::kRelaxed, sync::kRelaxed)) {
      return static_cast<std::uint32_t>(value | kWaiters);
    }
  }
  return 0;
}

void SlotTable::wait(SlotIndex slot, std::uint32_t ticket) {
  // The lower half holds lock and waiters (little-endian); who unlocks clears both.
  if (ticket != 0) sync::futex_wait(&word(slot), ticket);
}

void SlotTable::release_lock(SlotIndex slot, std::uint64_t value) {
  std::uint64_t before = word(slot).exchange(value, sync::kRelease);  // L
  COLDPRESS_CHECK((before & kLock) != 0);
  if ((before & kWaiters) != 0) sync::futex_wake(&word(slot), 1 << 30);
}

void SlotTable::unlock(Entry entry, State state, std::uint32_t payload) {
  std::uint64_t value = word(entry.slot).load(sync::kRelaxed);
  SlotWord next = decode(value);
  next.state = state;
  next.payload = payload;
  release_lock(entry.slot, encode(next) | (value & kElsewhere));
}

void SlotTable::unlock(Entry entry) {
  std::uint64_t value = word(entry.slot).load(sync::kRelaxed);
  release_lock(entry.slot, encode(decode(value)) | (value & kElsewhere));
}

// Others may set the bit for waiters meanwhile; the count is the lock holder's.
bool SlotTable::share(Entry entry) {
  std::uint64_t value = word(entry.slot).load(sync::kRelaxed);
  if (decode(value).count == kMaxCount && !sync::is_mutant(sync::Mutant::kCountWraps)) {
    if (!share_counts_.add(entry.slot, kMoved)) return false;
    word(entry.slot).fetch_sub(std::uint64_t{kMoved} << kCountShift, sync::kRelaxed);
    word(entry.slot).fetch_or(kElsewhere, sync::kRelaxed);
  }
  word(entry.slot).fetch_add(std::uint64_t{1} << kCountShift, sync::kRelaxed);
  shared_.fetch_add(1, sync::kRelaxed);
  return true;
}

void SlotTable::unlock_unshare(Entry entry) {
  std::uint64_t value = word(entry.slot).load(sync::kRelaxed);
  SlotWord shared = decode(value);
  bool elsewhere = (value & kElsewhere) != 0;
  COLDPRESS_CHECK(shared.count > 1);
  if (--shared.count == 1 && elsewhere && !sync::is_mutant(sync::Mutant::kForgetElsewhere)) {
    shared.count += kMoved;
    elsewhere = share_counts_.take(entry.slot, kMoved);
  }
  shared_.fetch_sub(1, sync::kRelaxed);
  release_lock(entry.slot, encode(shared) | (elsewhere ? kElsewhere : 0));
}

std::uint64_t SlotTable::shares() {
  std::uint64_t sum = share_counts_.sum();
  std::uint32_t end = this->end();
  for (std::uint32_t slot = 1; slot < end; ++slot) sum += decode(word({slot}).load(sync::kRelaxed)).count;
  return sum;
}

void SlotTable::unlock_and_free(Entry entry) {
  in_use_.fetch_sub(1, sync::kRelaxed);
  release_lock(entry.slot, encode({State::kFree, 0, static_cast<std::uint16_t>(entry.generation + 1), 0}));
  clusters_.give_back(entry.slot.value);  // F: after the word is that of a free slot
}

}  // namespace coldpress::swap
