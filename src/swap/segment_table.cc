#include "swap/segment_table.h"

namespace coldpress::swap {

bool SegmentTable::init(MemorySource& source, std::size_t max_segments) {
  return segments_.init(source, max_segments);
}

SegmentId SegmentTable::add(std::uint8_t area, std::uint32_t count, SegmentId again) {
  SegmentId first = again;
  if (!again) {
    if (!segments_.grow_to(std::size_t{end_} + count)) return {};
    first = {end_};
    end_ += count;
  }
  areas_[area] = {};
  for (std::uint32_t id = first.value; id < first.value + count; ++id) {
    segments_[id] = {};
    segments_[id].area = area;
    segments_[id].list = kNoList;
    enter(id, Place::kFree);
  }
  return first;
}

// Puts a segment that is on no list where `place` says. First in, first out: writes stay sequential.
void SegmentTable::enter(std::uint32_t id, Place place) {
  Segment& segment = segments_[id];
  Area& area = areas_[segment.area];
  segment.place = place;
  std::uint8_t list = kNoList;
  switch (place) {
    case Place::kFree:
      list = kListFree;
      break;
    case Place::kFull:
      list = tenth_of(segment);
      break;
    case Place::kHeld:
      list = kListHeld;
      break;
    case Place::kDirty:
      list = kListDirty;
      break;
    case Place::kFilling:
    case Place::kLost:
      break;
  }
  segment.list = list;
  if (list == kNoList) return;
  if (place == Place::kFree || place == Place::kDirty) ++area.writable;
  segment.next = 0;
  segment.previous = area.tail[list];
  (area.tail[list] != 0 ? segments_[area.tail[list]].next : area.head[list]) = id;
  area.tail[list] = id;
}

void SegmentTable::leave(std::uint32_t id) {
  Segment& segment = segments_[id];
  std::uint8_t list = segment.list;
  if (list == kNoList) return;
  Area& area = areas_[segment.area];
  if (segment.place == Place::kFree || segment.place == Place::kDirty) --area.writable;
  (segment.previous != 0 ? segments_[segment.previous].next : area.head[list]) = segment.next;
  (segment.next != 0 ? segments_[segment.next].previous : area.tail[list]) = segment.previous;
  segment.list = kNoList;
}

SegmentId SegmentTable::take(std::uint8_t area) {
  const Area& a = areas_[area];
  if (a.frozen) return {};
  std::uint32_t id = a.head[kListFree] != 0 ? a.head[kListFree] : a.head[kListDirty];
  if (id == 0) return {};
  leave(id);
  enter(id, Place::kFilling);
  segments_[id].sequence = ++sequence_;
  segments_[id].live_bytes = segments_[id].used_bytes = 0;
  segments_[id].damaged = segments_[id].cleaning = false;
  return {id};
}

void SegmentTable::close(SegmentId id, std::uint32_t used_bytes, bool good) {
  Segment& segment = segments_[id.value];
  COLDPRESS_CHECK(segment.place == Place::kFilling);
  segment.used_bytes = used_bytes;
  if (!good) {
    enter(id.value, Place::kLost);
  } else if (segment.live_bytes == 0) {
    let_go(id.value);
  } else {
    enter(id.value, Place::kFull);
  }
}

// Nothing in it is wanted, and it is on no list.
void SegmentTable::let_go(std::uint32_t id) {
  const Segment& segment = segments_[id];
  enter(id, segment.sequence <= held_up_to_ ? Place::kHeld : Place::kDirty);
}

void SegmentTable::lost(SegmentId id, std::uint32_t bytes) {
  Segment& segment = segments_[id.value];
  COLDPRESS_CHECK(segment.live_bytes >= bytes);
  segment.live_bytes -= bytes;
  if (segment.place != Place::kFull) return;  // close() will see
  if (segment.live_bytes == 0) {
    leave(id.value);
    let_go(id.value);
  } else if (tenth_of(segment) != segment.list) {
    leave(id.value);
    enter(id.value, Place::kFull);
  }
}

SegmentId SegmentTable::emptiest(std::uint8_t area, std::uint32_t tenths) const {
  for (std::uint32_t tenth = 0; tenth <= tenths && tenth < kTenths; ++tenth) {
    // What a child may still read would not be free by being cleaned.
    for (std::uint32_t id = areas_[area].head[tenth]; id != 0; id = segments_[id].next) {
      const Segment& segment = segments_[id];
      if (segment.sequence > held_up_to_ && !segment.damaged && !segment.cleaning) return {id};
    }
  }
  return {};
}

SegmentId SegmentTable::take_dirty(std::uint8_t area) {
  std::uint32_t id = areas_[area].head[kListDirty];
  if (id == 0) return {};
  leave(id);
  enter(id, Place::kFilling);
  return {id};
}

void SegmentTable::give_back(SegmentId id) { enter(id.value, Place::kFree); }

void SegmentTable::hold_up_to(std::uint64_t sequence) {
  held_up_to_ = sequence;
  for (const Area& area : areas_) {
    for (std::uint32_t id = area.head[kListHeld]; id != 0;) {
      std::uint32_t next = segments_[id].next;
      if (segments_[id].sequence > sequence) {
        leave(id);
        let_go(id);
      }
      id = next;
    }
  }
}

void SegmentTable::validate() const {
  for (const Area& area : areas_) {
    std::uint32_t writable = 0;
    for (std::uint8_t list = 0; list < kLists; ++list) {
      std::uint32_t previous = 0;
      for (std::uint32_t id = area.head[list]; id != 0; id = segments_[id].next) {
        const Segment& segment = segments_[id];
        COLDPRESS_CHECK(segment.list == list && segment.previous == previous);
        COLDPRESS_CHECK(&areas_[segment.area] == &area);
        if (list < kTenths) {
          COLDPRESS_CHECK(segment.place == Place::kFull && tenth_of(segment) == list &&
                          segment.live_bytes > 0);
        } else {
          COLDPRESS_CHECK(segment.live_bytes == 0);
        }
        if (list == kListFree || list == kListDirty) ++writable;
        previous = id;
      }
      COLDPRESS_CHECK(area.tail[list] == previous);
    }
    COLDPRESS_CHECK(area.writable == writable);
  }
}

}  // namespace coldpress::swap
