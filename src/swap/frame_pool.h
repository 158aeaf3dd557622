// The frames of the swap cache, in groups of 32.
//
// A group goes round:
//   hole     no memory in any of its frames
//   filling  one reclaimer captures pages into it
//   resting  its captured pages wait, uncompressed, for a second chance, oldest group first
//   draining one reclaimer compresses what is left
//   spent    its frames hold memory that nobody owns; release gives it back to the machine
// The memory of a spent frame is never written to nor used for another page. It was the program's, and the
// kernel may still read it there: vmsplice() and zero-copy sends hold references that UFFDIO_MOVE does not
// refuse. Two bits tell of each frame: `owned` (a slot in state kFrame names it) and `populated` (it holds
// memory). Moving a frame's page away clears both; compressing its content clears `owned` only.
//
// Thread safety: all functions from any thread; a group in filling or draining belongs to its taker.
// Lock order: a slot, then mutex_.
#pragma once

#include <bit>
#include <cstdint>
#include <span>

#include "base/memory_source.h"
#include "base/units.h"
#include "swap/slot_table.h"
#include "sync/mutex.h"

namespace coldpress::swap {

inline constexpr std::uint32_t kGroupFrames = 32;

struct GroupId {
  std::uint32_t value = 0;  // 0: none; group g holds frames [(g-1)*32, g*32)
  explicit operator bool() const { return value != 0; }
  FrameId first() const { return {(value - 1) * kGroupFrames}; }
};

// Whose page a frame holds.
struct FrameOwner {
  Owner entry;
  PageIndex page;
};

class FramePool {
 public:
  // frame_count: a multiple of 32.
  [[nodiscard]] bool init(MemorySource& source, std::uint32_t frame_count);

  // hole -> filling. No group when all are in use.
  GroupId take_hole();
  // filling -> resting (or back to hole, when nothing was captured).
  void rest(GroupId group, std::int64_t now_ns);
  // resting -> draining: the oldest, if it has rested since `before_ns` at least. No group otherwise.
  GroupId take_rested(std::int64_t before_ns) {
    return take_rested(before_ns, [](const FrameOwner&) { return true; });
  }
  // The oldest with a frame whose owner `wanted`(owner) takes.
  template <typename Wanted>
  GroupId take_rested(std::int64_t before_ns, Wanted wanted) {
    sync::MutexLock lock(mutex_);
    for (std::uint32_t id = resting_.head; id != 0; id = groups_[id].next) {
      if (groups_[id].rested_since_ns > before_ns) return {};
      std::uint32_t owned = groups_[id].owned.load(sync::kRelaxed);
      bool found = owned == 0;  // an empty one serves nobody where it is
      for (; owned != 0 && !found; owned &= owned - 1) {
        auto bit = static_cast<std::uint32_t>(std::countr_zero(owned));
        found = wanted(owner(GroupId{id}.first() + bit));
      }
      if (!found) continue;
      remove(resting_, id);
      return {id};
    }
    return {};
  }
  // draining -> spent or hole.
  void retire(GroupId group);

  // Set with the owner's slot locked. A reader without that lock gets a hint: it locks the slot and looks
  // again.
  void set_owner(FrameId frame, FrameOwner owner) {
    OwnerWords& o = owners_[frame.value];
    o.slot.store(owner.entry.slot.value, sync::kRelaxed);
    o.generation.store(owner.entry.generation | std::uint32_t{owner.entry.account} << 16, sync::kRelaxed);
    o.page.store(owner.page.value, sync::kRelaxed);
  }
  FrameOwner owner(FrameId frame) const {
    const OwnerWords& o = owners_[frame.value];
    std::uint32_t generation = o.generation.load(sync::kRelaxed);
    Entry entry{{o.slot.load(sync::kRelaxed)}, static_cast<std::uint16_t>(generation)};
    return {Owner::of(entry, static_cast<std::uint8_t>(generation >> 16)), {o.page.load(sync::kRelaxed)}};
  }

  // A page was captured into the frame.
  void captured(FrameId frame);
  // The owner has given up the frame's content; the memory stays.
  void disowned(FrameId frame);
  // The frame's page was moved away: a hole now.
  void moved_away(FrameId frame);
  std::uint32_t owned_mask(GroupId group) const { return groups_[group.value].owned.load(sync::kAcquire); }

  // spent -> taken for release: a group and those behind it that are spent too, as many as there are masks;
  // `populated` becomes a mask of frames that hold memory for each. No group: nothing spent.
  GroupId take_spent(std::span<std::uint32_t>& populated);
  // Ends a release: `released` frames are holes now.
  void end_release(GroupId group, std::uint32_t released);

  // Calls visit(owner) for each frame that has one. Exact while nobody changes any.
  template <typename Visit>
  void for_each_owner(Visit visit) const {
    for (std::uint32_t id = 1; id <= group_count_; ++id) {
      for (std::uint32_t owned = owned_mask({id}); owned != 0; owned &= owned - 1) {
        visit(owner(GroupId{id}.first() + static_cast<std::uint32_t>(std::countr_zero(owned))));
      }
    }
  }

  std::uint64_t populated_frames() const { return populated_.load(sync::kRelaxed); }
  std::uint64_t owned_frames() const { return owned_.load(sync::kRelaxed); }
  std::uint64_t spent_frames() const { return spent_.load(sync::kRelaxed); }
  std::uint64_t metadata_pages() const;

 private:
  enum class Place : std::uint8_t { kHole, kResting, kSpent, kTaken };
  struct Group {
    sync::Atomic<std::uint32_t> owned{0};
    sync::Atomic<std::uint32_t> populated{0};
    std::uint32_t next = 0, previous = 0;  // guarded by the pool's mutex
    Place place = Place::kHole;            // guarded by the mutex
    std::int64_t rested_since_ns = 0;
  };
  struct List {
    std::uint32_t head = 0, tail = 0;
  };

  static std::uint32_t group_of(FrameId frame) { return frame.value / kGroupFrames + 1; }
  static std::uint32_t bit_of(FrameId frame) { return 1u << (frame.value % kGroupFrames); }
  void push_back(List& list, std::uint32_t id, Place place) REQUIRES(mutex_);
  void remove(List& list, std::uint32_t id) REQUIRES(mutex_);
  void settle_spent(std::uint32_t id) REQUIRES(mutex_);

  ReservedArray<Group> groups_;
  struct OwnerWords {
    sync::Atomic<std::uint32_t> slot, generation;  // upper half: the account
    sync::Atomic<std::uint64_t> page;
  };
  ReservedArray<OwnerWords> owners_;
  std::uint32_t group_count_ = 0;
  sync::Mutex mutex_;
  List holes_ GUARDED_BY(mutex_);
  List resting_ GUARDED_BY(mutex_);
  List spent_list_ GUARDED_BY(mutex_);
  sync::Atomic<std::uint64_t> populated_{0};
  sync::Atomic<std::uint64_t> owned_{0};
  sync::Atomic<std::uint64_t> spent_{0};
};

}  // namespace coldpress::swap
