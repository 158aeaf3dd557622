// The space on swap devices: segments of 256 KiB, each written at once and read in pieces.
//
//   free      to be written
//   filling   taken by the writer
//   full      written; `live_bytes` of it are still wanted
//   held      nothing in it is wanted here, but a forked child may still read it (hold_up_to())
//   dirty     nothing in it is wanted: to be discarded, or written again at once
//   lost      a write has failed there: never written again
//
// What is full is kept in lists by how full it is, in tenths, so that cleaning finds the emptiest.
// Each time a segment is taken it gets a new sequence number: the oldest half of a nonce (codec/sealer.h),
// and what tells a child of a fork apart from what was written after it.
//
// Thread safety: none; DeviceStore's mutex guards it.
#pragma once

#include <cstdint>

#include "base/memory_source.h"

namespace coldpress::swap {

inline constexpr std::uint32_t kSegmentBytes = 256 << 10;
inline constexpr std::size_t kMaxAreas = 16;
inline constexpr std::size_t kMostSegments = std::size_t{1} << 23;  // 2 TiB, a 16th for an area

struct SegmentId {
  std::uint32_t value = 0;  // 0: none
  explicit operator bool() const { return value != 0; }
  bool operator==(const SegmentId&) const = default;
};

class SegmentTable {
 public:
  enum class Place : std::uint8_t { kFree, kFilling, kFull, kHeld, kDirty, kLost };
  struct Segment {
    std::uint64_t sequence;
    std::uint32_t live_bytes;
    std::uint32_t used_bytes;      // written
    std::uint32_t records;         // first of its live records; DeviceStore's
    std::uint32_t next, previous;  // in its list
    std::uint8_t area;
    Place place;
    std::uint8_t list;
    bool damaged;   // something in it does not open: cleaning it does not help
    bool cleaning;  // what is wanted of it is on its way elsewhere
  };

  [[nodiscard]] bool init(MemorySource& source, std::size_t max_segments);

  // `count` segments, free, for an area that has none in use: the ones from `again` on, which it had before,
  // or new ones. No id: no memory.
  SegmentId add(std::uint8_t area, std::uint32_t count, SegmentId again = {});
  Segment& operator[](SegmentId id) const { return segments_[id.value]; }

  // free or dirty -> filling. No id: the area has none.
  SegmentId take(std::uint8_t area);
  // filling -> full, or on at once if nothing in it is wanted. Not `good`: -> lost.
  void close(SegmentId id, std::uint32_t used_bytes, bool good);
  void gained(SegmentId id, std::uint32_t bytes) { segments_[id.value].live_bytes += bytes; }
  // An object in it is not wanted any more. The last one lets the segment go.
  void lost(SegmentId id, std::uint32_t bytes);

  // The emptiest of those that are full to at most `tenths`. No id: there is none.
  SegmentId emptiest(std::uint8_t area, std::uint32_t tenths) const;
  // dirty -> filling, for as long as it is being discarded; give_back() ends that.
  SegmentId take_dirty(std::uint8_t area);
  void give_back(SegmentId id);

  // Segments of up to this sequence number may be read by a child; 0: there is none.
  void hold_up_to(std::uint64_t sequence);
  std::uint64_t sequence() const { return sequence_; }
  // Nothing of the area is written while it is frozen: it is the parent's, or is being emptied.
  void freeze(std::uint8_t area, bool frozen) { areas_[area].frozen = frozen; }

  std::uint32_t writable(std::uint8_t area) const { return areas_[area].frozen ? 0 : areas_[area].writable; }
  // The same, frozen or not.
  std::uint32_t unused(std::uint8_t area) const { return areas_[area].writable; }
  std::uint64_t metadata_bytes() const { return std::uint64_t{end_} * sizeof(Segment); }
  // Walks all lists; CHECKs that they agree with the segments. For tests.
  void validate() const;

 private:
  static constexpr std::uint32_t kTenths = 11;
  enum List : std::uint8_t { kListFree = kTenths, kListHeld, kListDirty, kLists, kNoList };
  struct Area {
    std::uint32_t head[kLists], tail[kLists];
    std::uint32_t writable;  // free and dirty
    bool frozen;
  };

  void enter(std::uint32_t id, Place place);
  void leave(std::uint32_t id);
  void let_go(std::uint32_t id);
  static std::uint8_t tenth_of(const Segment& segment) {
    return static_cast<std::uint8_t>(std::uint64_t{segment.live_bytes} * 10 / kSegmentBytes);
  }

  ReservedArray<Segment> segments_;
  std::uint32_t end_ = 1;
  std::uint64_t sequence_ = 0;
  std::uint64_t held_up_to_ = 0;
  Area areas_[kMaxAreas] = {};
};

}  // namespace coldpress::swap
