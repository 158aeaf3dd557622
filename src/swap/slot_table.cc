#include "swap/slot_table.h"

namespace coldpress::swap {
namespace {

constexpr std::uint64_t kStateMask = 7, kLock = 8, kWaiters = 16;
constexpr unsigned kCountShift = 5, kGenerationShift = 16, kPayloadShift = 32;
constexpr std::uint64_t kCountMask = 0x7ff, kGenerationMask = 0xffff;

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

constexpr bool names(Entry entry, std::uint64_t value) {
  SlotWord word = decode(value);
  return word.state != State::kFree && word.generation == entry.generation;
}

}  // namespace

bool SlotTable::init(MemorySource& source, std::size_t capacity) { return words_.init(source, capacity); }

std::size_t SlotTable::allocate(std::span<Entry> entries, FrameId first_frame) {
  std::size_t taken = 0;
  sync::MutexLock lock(free_mutex_);
  for (; taken < entries.size(); ++taken) {
    SlotIndex slot{free_head_};
    std::uint16_t generation = 0;
    if (slot.value != 0) {
      SlotWord old = decode(word(slot).load(sync::kRelaxed));
      free_head_ = old.payload;
      generation = old.generation;
    } else {
      std::uint32_t end = end_.load(sync::kRelaxed);
      if (!words_.grow_to(std::size_t{end} + 1)) break;
      slot.value = end;
      end_.store(end + 1, sync::kRelaxed);
    }
    entries[taken] = {slot, generation};
    word(slot).store(
        encode({State::kFrame, 1, generation, first_frame.value + static_cast<std::uint32_t>(taken)}) | kLock,
        sync::kRelease);
  }
  in_use_.fetch_add(taken, sync::kRelaxed);
  return taken;
}

void SlotTable::count_states(std::uint64_t (&of)[kStates]) const {
  std::uint32_t end = end_.load(sync::kRelaxed);
  for (std::uint32_t slot = 1; slot < end; ++slot) {
    ++of[static_cast<std::size_t>(decode(word({slot}).load(sync::kRelaxed)).state)];
  }
}

SlotTable::TryLock SlotTable::try_lock(Entry entry, SlotWord& out) {
  auto& atom = word(entry.slot);
  std::uint64_t value = atom.load(sync::kRelaxed);
  for (;;) {
    if (!names(entry, value)) return TryLock::kStale;
    if ((value & kLock) != 0) return TryLock::kBusy;
    // Acquire pairs with the release in release_lock(): what the last owner wrote is seen.
    if (atom.compare_exchange_weak(value, value | kLock, sync::kAcquire, sync::kRelaxed)) {
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
        wait_unlocked(entry.slot);
    }
  }
}

void SlotTable::wait_unlocked(SlotIndex slot) {
  auto& atom = word(slot);
  std::uint64_t value = atom.load(sync::kRelaxed);
  while ((value & kLock) != 0) {
    if ((value & kWaiters) == 0 &&
        !atom.compare_exchange_weak(value, value | kWaiters, sync::kRelaxed, sync::kRelaxed)) {
      continue;
    }
    // The lower half holds lock and waiters (little-endian): the kernel compares it once more.
    sync::futex_wait(&atom, static_cast<std::uint32_t>(value | kWaiters));
    value = atom.load(sync::kRelaxed);
  }
}

void SlotTable::release_lock(SlotIndex slot, std::uint64_t value) {
  std::uint64_t before = word(slot).exchange(value, sync::kRelease);
  COLDPRESS_CHECK((before & kLock) != 0);
  if ((before & kWaiters) != 0) sync::futex_wake(&word(slot), 1 << 30);
}

void SlotTable::unlock(Entry entry, State state, std::uint32_t payload) {
  SlotWord next = decode(word(entry.slot).load(sync::kRelaxed));
  next.state = state;
  next.payload = payload;
  release_lock(entry.slot, encode(next));
}

void SlotTable::unlock(Entry entry) {
  release_lock(entry.slot, encode(decode(word(entry.slot).load(sync::kRelaxed))));
}

void SlotTable::unlock_and_free(Entry entry) {
  in_use_.fetch_sub(1, sync::kRelaxed);
  sync::MutexLock lock(free_mutex_);
  release_lock(entry.slot,
               encode({State::kFree, 0, static_cast<std::uint16_t>(entry.generation + 1), free_head_}));
  free_head_ = entry.slot.value;
}

}  // namespace coldpress::swap
