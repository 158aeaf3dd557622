#include "swap/frame_pool.h"

#include <bit>
#include <new>

#include "sync/explore.h"

namespace coldpress::swap {

bool FramePool::init(MemorySource& source, std::uint32_t frame_count) {
  COLDPRESS_CHECK(frame_count % kGroupFrames == 0 && frame_count > 0);
  group_count_ = frame_count / kGroupFrames;
  if (!groups_.init(source, group_count_ + 1) || !owners_.init(source, frame_count) ||
      !groups_.grow_to(group_count_ + 1) || !owners_.grow_to(frame_count)) {
    return false;
  }
  sync::name_object(mutex_, "frames");
  sync::name_each(groups_.data(), group_count_ + 1, "frame group");
  sync::name_each(owners_.data(), frame_count, "owner of frame");
  sync::MutexLock lock(mutex_);
  holes_ = resting_ = spent_list_ = {};
  for (std::uint32_t id = 1; id <= group_count_; ++id) {
    new (&groups_[id]) Group;
    push_back(holes_, id, Place::kHole);
  }
  return true;
}

std::uint64_t FramePool::metadata_pages() const {
  return bytes_to_pages((group_count_ + 1) * sizeof(Group)) +
         bytes_to_pages(std::uint64_t{group_count_} * kGroupFrames * sizeof(OwnerWords));
}

void FramePool::push_back(List& list, std::uint32_t id, Place place) {
  Group& group = groups_[id];
  group.place = place;
  group.next = 0;
  group.previous = list.tail;
  if (list.tail != 0) {
    groups_[list.tail].next = id;
  } else {
    list.head = id;
  }
  list.tail = id;
}

void FramePool::remove(List& list, std::uint32_t id) {
  Group& group = groups_[id];
  (group.previous != 0 ? groups_[group.previous].next : list.head) = group.next;
  (group.next != 0 ? groups_[group.next].previous : list.tail) = group.previous;
  group.place = Place::kTaken;
}

GroupId FramePool::take_hole() {
  sync::MutexLock lock(mutex_);
  std::uint32_t id = holes_.head;
  if (id != 0) remove(holes_, id);
  return {id};
}

void FramePool::rest(GroupId group, std::int64_t now_ns) {
  sync::MutexLock lock(mutex_);
  Group& g = groups_[group.value];
  if (g.populated.load(sync::kRelaxed) == 0) {
    push_back(holes_, group.value, Place::kHole);
    return;
  }
  g.rested_since_ns = now_ns;
  push_back(resting_, group.value, Place::kResting);
}

void FramePool::retire(GroupId group) {
  sync::MutexLock lock(mutex_);
  Group& g = groups_[group.value];
  COLDPRESS_CHECK(g.owned.load() == 0);
  spent_.fetch_add(static_cast<std::uint64_t>(std::popcount(g.populated.load())), sync::kRelaxed);
  settle_spent(group.value);
}

// Puts a group that is on no list where it belongs now.
void FramePool::settle_spent(std::uint32_t id) {
  Group& g = groups_[id];
  if (g.populated.load(sync::kRelaxed) != 0) {
    push_back(spent_list_, id, Place::kSpent);
  } else {
    push_back(holes_, id, Place::kHole);
  }
}

void FramePool::captured(FrameId frame) {
  Group& group = groups_[group_of(frame)];
  group.owned.fetch_or(bit_of(frame), sync::kAcqRel);
  group.populated.fetch_or(bit_of(frame), sync::kAcqRel);
  owned_.fetch_add(1, sync::kRelaxed);
  populated_.fetch_add(1, sync::kRelaxed);
}

void FramePool::disowned(FrameId frame) {
  Group& group = groups_[group_of(frame)];
  COLDPRESS_CHECK((group.owned.fetch_and(~bit_of(frame), sync::kAcqRel) & bit_of(frame)) != 0);
  owned_.fetch_sub(1, sync::kRelaxed);
}

void FramePool::moved_away(FrameId frame) {
  Group& group = groups_[group_of(frame)];
  group.populated.fetch_and(~bit_of(frame), sync::kAcqRel);
  populated_.fetch_sub(1, sync::kRelaxed);
  disowned(frame);
}

GroupId FramePool::take_spent(std::span<std::uint32_t>& populated) {
  sync::MutexLock lock(mutex_);
  std::uint32_t first = spent_list_.head, count = 0, frames = 0;
  if (first == 0) return {};
  while (count < populated.size() && first + count <= group_count_ &&
         groups_[first + count].place == Place::kSpent) {
    remove(spent_list_, first + count);
    populated[count] = groups_[first + count].populated.load(sync::kRelaxed);
    frames += static_cast<std::uint32_t>(std::popcount(populated[count++]));
  }
  spent_.fetch_sub(frames, sync::kRelaxed);
  populated = populated.first(count);
  return {first};
}

void FramePool::end_release(GroupId group, std::uint32_t released) {
  sync::MutexLock lock(mutex_);
  Group& g = groups_[group.value];
  released &= g.populated.load(sync::kRelaxed);
  std::uint32_t left = g.populated.fetch_and(~released, sync::kAcqRel) & ~released;
  populated_.fetch_sub(static_cast<std::uint64_t>(std::popcount(released)), sync::kRelaxed);
  spent_.fetch_add(static_cast<std::uint64_t>(std::popcount(left)), sync::kRelaxed);
  settle_spent(group.value);
}

}  // namespace coldpress::swap
