// The slot table: one 8-byte atomic word for each swap slot, which names the ONE owner of a page's bytes.
//
//   bits 0-2   state         bit 3  lock        bit 4  waiters
//   bits 5-15  count         bits 16-31 generation
//   bits 32-63 payload: frame, zswap entry, pattern or record
//
// Invariants
//  1. Exactly one owner: state and payload change only under the slot's lock, in one store (unlock()).
//  2. A slot that is freed changes its generation, so an entry that names slot and generation and still
//     matches under the lock is the same incarnation (no ABA within 65536 reuses of one slot).
//  3. A loser sleeps on the word's lower half; nobody spins or polls.
//
// Thread safety: all functions from any thread. Lock order: the engine's layout mutex, then a slot, then the
// mutexes of pool and frames. Never take the layout mutex while holding a slot.
#pragma once

#include <cstdint>
#include <span>

#include "base/memory_source.h"
#include "base/units.h"
#include "sync/mutex.h"

namespace coldpress::swap {

enum class State : std::uint8_t {
  kFree = 0,
  kSame = 1,    // every word equal; payload: pattern
  kFrame = 2,   // in the swap cache; payload: frame
  kZswap = 3,   // compressed; payload: zswap entry
  kDevice = 4,  // on a swap device; payload: record
};

inline constexpr std::size_t kStates = 5;

// A decoded slot word.
struct SlotWord {
  State state;
  std::uint16_t count;
  std::uint16_t generation;
  std::uint32_t payload;
};

// The value that stands in a page word: names one incarnation of a slot.
struct Entry {
  SlotIndex slot;
  std::uint16_t generation = 0;
  bool operator==(const Entry&) const = default;
};

class SlotTable {
 public:
  [[nodiscard]] bool init(MemorySource& source, std::size_t capacity);

  // Takes entries.size() slots, each locked, in state kFrame with count 1. Returns how many there were.
  std::size_t allocate(std::span<Entry> entries, FrameId first_frame);

  // Locks the slot, sleeping while another holds it. Returns its word, or nullopt-like State::kFree when
  // the entry's incarnation is gone; then it is not locked.
  [[nodiscard]] bool lock(Entry entry, SlotWord& word);
  // As lock(), but answers kBusy instead of sleeping.
  enum class TryLock { kLocked, kBusy, kStale };
  TryLock try_lock(Entry entry, SlotWord& word);
  // Sleeps until the slot is not locked.
  void wait_unlocked(SlotIndex slot);

  // Unlocks with a new owner of the bytes.
  void unlock(Entry entry, State state, std::uint32_t payload);
  // Unlocks without a change.
  void unlock(Entry entry);
  // Unlocks and frees. Whoever owned the bytes has given them up before.
  void unlock_and_free(Entry entry);

  std::uint64_t metadata_pages() const {
    return bytes_to_pages(std::uint64_t{end_.load(sync::kRelaxed)} * sizeof(std::uint64_t));
  }
  // How many slots are in each state. Exact while nobody changes any.
  void count_states(std::uint64_t (&of)[kStates]) const;
  std::uint64_t in_use() const { return in_use_.load(sync::kRelaxed); }

 private:
  sync::Atomic<std::uint64_t>& word(SlotIndex slot) const { return words_[slot.value]; }
  void release_lock(SlotIndex slot, std::uint64_t value);

  ReservedArray<sync::Atomic<std::uint64_t>> words_;
  sync::Mutex free_mutex_;
  std::uint32_t free_head_ GUARDED_BY(free_mutex_) = 0;  // 0: none; slot 0 is never used
  sync::Atomic<std::uint32_t> end_{1};
  sync::Atomic<std::uint64_t> in_use_{0};
};

}  // namespace coldpress::swap
