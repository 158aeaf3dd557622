// The slot table: one 8-byte atomic word for each swap slot, which names the ONE owner of a page's bytes.
//
//   bits 0-2   state         bit 3  lock        bit 4  waiters
//   bits 5-14  count         bit 15     counted elsewhere too
//   bits 16-31 generation
//   bits 32-63 payload: frame, zswap entry, pattern or record
//
// Invariants
//  1. Exactly one owner: state and payload change only under the slot's lock, in one store (unlock()).
//  2. A slot that is freed changes its generation, so an entry that names slot and generation and still
//     matches under the lock is the same incarnation (no ABA within 65536 reuses of one slot).
//  3. The count is that of the page words which name the slot: more than one after a clone. The bytes go with
//     the last. What the word has no room for is in share_counts.h, half of what it counts at a time, so that
//     few pass that border often; a word that counts one says all.
//  4. A loser sleeps on the word's lower half; nobody spins or polls.
//
// Slots are taken and freed without a lock (slot_clusters.h); a mutex guards the growth of the table only.
//
// Orders, by pair; marked where they stand:
//   L  whoever takes a slot's lock (acquire) sees what its last holder wrote before he let it go (release):
//      the bytes that the word speaks of, and the frame, entry or record where they are
//   F  whoever takes a free slot (acquire, slot_clusters.h) sees its word as the one who freed it left it,
//      with the generation that comes next
//   G  whoever sees a cluster counted (acquire) sees the memory of its words (release)
// Relaxed is the rest: what the lock's holder reads of his own word (others only set the bit for waiters);
// what others guess of it before an exchange that takes the lock, or that sets that bit, where the futex
// orders; sums, which are exact while nobody changes anything; and the word of a new slot, which nobody knows
// before its entry is in a page word (vm/page_table.h, E), and nobody believes before he has its lock.
//
// Thread safety: all functions from any thread. Lock order: the engine's layout mutex, then a slot, then the
// mutexes of pool and frames. Never take the layout mutex while holding a slot.
#pragma once

#include <cstdint>
#include <span>

#include "base/memory_source.h"
#include "base/units.h"
#include "swap/share_counts.h"
#include "swap/slot_clusters.h"
#include "sync/mutex.h"

namespace coldpress::swap {

enum class State : std::uint8_t {
  kFree = 0,
  kSame = 1,    // every word equal; payload: pattern
  kFrame = 2,   // in the swap cache; payload: frame
  kZswap = 3,   // compressed; payload: zswap entry
  kDevice = 4,  // on a swap device; payload: record
  kLost = 5,    // nowhere: its device had damaged it. Whoever touches it is told
};

inline constexpr std::size_t kStates = 6;
inline constexpr std::uint16_t kMaxCount = 0x3ff;  // in the word

// A decoded slot word.
struct SlotWord {
  State state;
  std::uint16_t count;  // 1: the only one; more: at least so many
  std::uint16_t generation;
  std::uint32_t payload;
};

// The value that stands in a page word: names one incarnation of a slot.
struct Entry {
  SlotIndex slot;
  std::uint16_t generation = 0;
  bool operator==(const Entry&) const = default;
};

// Whose bytes they are, and which account of the memory group pays for them.
struct Owner : Entry {
  std::uint8_t account = 0;
  constexpr Owner() = default;
  constexpr Owner(Entry entry) : Entry(entry) {}
  static constexpr Owner of(Entry entry, std::uint8_t account) {
    Owner owner(entry);
    owner.account = account;
    return owner;
  }
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
  // To sleep until the slot is unlocked: whoever holds it now, not the next one. wait() may return for no
  // reason.
  std::uint32_t ticket(SlotIndex slot);
  void wait(SlotIndex slot, std::uint32_t ticket);

  // Unlocks with a new owner of the bytes.
  void unlock(Entry entry, State state, std::uint32_t payload);
  // Unlocks without a change.
  void unlock(Entry entry);
  // One page word more names the slot, which is locked and stays so. false: no memory to count it.
  [[nodiscard]] bool share(Entry entry);
  // Unlocks; one page word less names it, of several.
  void unlock_unshare(Entry entry);
  // Unlocks and frees. Whoever owned the bytes has given them up before.
  void unlock_and_free(Entry entry);

  std::uint64_t metadata_pages() {
    return share_counts_.metadata_pages() + bytes_to_pages(std::uint64_t{end()} * sizeof(std::uint64_t)) +
           bytes_to_pages(std::uint64_t{clusters_.count()} * sizeof(std::uint64_t));
  }
  // How many slots are in each state. Exact while nobody changes any.
  void count_states(std::uint64_t (&of)[kStates]) const;
  // The page words that name slots; and the same by their counts, exact while nobody changes any.
  std::uint64_t names() const { return in_use() + shared_.load(sync::kRelaxed); }
  std::uint64_t shares();
  std::uint64_t capacity() const { return words_.capacity(); }
  std::uint64_t in_use() const { return in_use_.load(sync::kRelaxed); }

 private:
  sync::Atomic<std::uint64_t>& word(SlotIndex slot) const { return words_[slot.value]; }
  void release_lock(SlotIndex slot, std::uint64_t value);
  // Slots that there are so far, slot 0 among them.
  std::uint32_t end() const;
  bool grow(std::uint32_t clusters) EXCLUDES(growth_);

  ReservedArray<sync::Atomic<std::uint64_t>> words_;
  SlotClusters clusters_;
  ShareCounts share_counts_;
  sync::Mutex growth_;
  sync::Atomic<std::uint64_t> in_use_{0};
  sync::Atomic<std::uint64_t> shared_{0};  // names beyond the first of each slot
};

}  // namespace coldpress::swap
