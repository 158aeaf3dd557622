#include "zspool/zspool.h"

#include <cstring>

namespace coldpress::zspool {

bool ZsPool::init(MemorySource& source, std::uint64_t max_bytes) {
  source_ = &source;
  std::uint64_t max_pages = bytes_to_pages(max_bytes);
  if (!area_.init(source, max_pages << kPageShift)) return false;
  source.label(area_.data(), max_pages << kPageShift, "coldpress-pool");
  return zspages_.init(source, max_pages + 2) && handles_.init(source, max_pages * 8 + 2);
}

std::byte* ZsPool::object(const Zspage& zspage, std::uint32_t index) const {
  return area_.data() + (std::size_t{zspage.first_page} << kPageShift) +
         std::size_t{index} * kSizeClasses.classes[zspage.size_class].object_bytes;
}

std::byte* ZsPool::data(Handle handle) const {
  std::uint64_t where = handles_[handle.value];
  return object(zspages_[where >> 16], where & 0xffff);
}

std::uint32_t ZsPool::new_zspage(std::size_t size_class) {
  std::uint32_t length = kSizeClasses.classes[size_class].pages;
  std::uint32_t id;
  {
    sync::MutexLock lock(runs_mutex_);
    id = free_runs_[length];
    if (id != kNone) {
      free_runs_[length] = zspages_[id].next;
    } else {
      if (!zspages_.grow_to(zspage_end_ + 1) ||
          !area_.grow_to(std::size_t{area_end_pages_ + length} << kPageShift)) {
        return kNone;
      }
      id = zspage_end_++;
      zspages_[id].first_page = area_end_pages_;
      area_end_pages_ += length;
    }
  }
  Zspage& zspage = zspages_[id];
  zspage = {.next = kNone,
            .previous = kNone,
            .first_page = zspage.first_page,
            .in_use = 0,
            .free_head = 0,
            .untouched = 0,
            .size_class = static_cast<std::uint8_t>(size_class),
            .group = 0};
  pages_.fetch_add(length, sync::kRelaxed);
  return id;
}

void ZsPool::drop_zspage(std::uint32_t id) {
  Zspage& zspage = zspages_[id];
  std::uint32_t length = kSizeClasses.classes[zspage.size_class].pages;
  source_->discard(object(zspage, 0), std::size_t{length} << kPageShift);
  pages_.fetch_sub(length, sync::kRelaxed);
  sync::MutexLock lock(runs_mutex_);
  zspage.next = free_runs_[length];
  free_runs_[length] = id;
}

void ZsPool::link(Class& c, std::uint32_t id, std::uint8_t group) {
  Zspage& zspage = zspages_[id];
  zspage.group = group;
  zspage.previous = kNone;
  zspage.next = c.groups[group];
  if (zspage.next != kNone) zspages_[zspage.next].previous = id;
  c.groups[group] = id;
}

void ZsPool::unlink(Class& c, std::uint32_t id) {
  Zspage& zspage = zspages_[id];
  if (zspage.previous != kNone) {
    zspages_[zspage.previous].next = zspage.next;
  } else {
    c.groups[zspage.group] = zspage.next;
  }
  if (zspage.next != kNone) zspages_[zspage.next].previous = zspage.previous;
}

void ZsPool::regroup(Class& c, std::uint32_t id) {
  Zspage& zspage = zspages_[id];
  std::uint8_t group = group_of(zspage.in_use, kSizeClasses.classes[zspage.size_class].objects);
  if (group == zspage.group) return;
  unlink(c, id);
  link(c, id, group);
}

Handle ZsPool::allocate(std::size_t bytes, std::uint32_t* grown_pages) {
  if (grown_pages != nullptr) *grown_pages = 0;
  COLDPRESS_CHECK(bytes > 0 && bytes <= kPageBytes);
  std::uint32_t handle;
  {
    sync::MutexLock lock(handles_mutex_);
    handle = free_handle_;
    if (handle != kNone) {
      free_handle_ = static_cast<std::uint32_t>(handles_[handle]);
    } else {
      if (!handles_.grow_to(std::size_t{handle_end_} + 1)) return {};
      handle = handle_end_++;
    }
  }
  std::size_t index = kSizeClasses.index_for(bytes);
  Class& c = classes_[index];
  {
    sync::MutexLock lock(c.mutex);
    std::uint32_t id = kNone;
    for (std::uint32_t group = kFullGroup; id == kNone && group-- > 0;) id = c.groups[group];
    if (id == kNone) {
      id = new_zspage(index);
      if (id != kNone) {
        link(c, id, 0);
        if (grown_pages != nullptr) *grown_pages = kSizeClasses.classes[index].pages;
      }
    }
    if (id != kNone) {
      Zspage& zspage = zspages_[id];
      std::uint32_t slot;
      if (zspage.free_head != 0) {
        slot = zspage.free_head - 1u;
        std::memcpy(&zspage.free_head, object(zspage, slot), sizeof zspage.free_head);
      } else {
        slot = zspage.untouched++;
      }
      ++zspage.in_use;
      regroup(c, id);
      handles_[handle] = std::uint64_t{id} << 16 | slot;
      objects_.fetch_add(1, sync::kRelaxed);
      object_bytes_.fetch_add(bytes, sync::kRelaxed);
      return {handle};
    }
  }
  sync::MutexLock lock(handles_mutex_);
  handles_[handle] = free_handle_;
  free_handle_ = handle;
  return {};
}

std::uint32_t ZsPool::free(Handle handle, std::size_t bytes) {
  std::uint32_t shrunk_pages = 0;
  std::size_t index = kSizeClasses.index_for(bytes);
  Class& c = classes_[index];
  {
    sync::MutexLock lock(c.mutex);
    std::uint64_t where = handles_[handle.value];
    auto id = static_cast<std::uint32_t>(where >> 16);
    auto slot = static_cast<std::uint16_t>(where & 0xffff);
    Zspage& zspage = zspages_[id];
    COLDPRESS_CHECK(zspage.size_class == index && zspage.in_use > 0);
    std::memcpy(object(zspage, slot), &zspage.free_head, sizeof zspage.free_head);
    zspage.free_head = static_cast<std::uint16_t>(slot + 1);
    if (--zspage.in_use == 0) {
      unlink(c, id);
      drop_zspage(id);
      shrunk_pages = kSizeClasses.classes[index].pages;
    } else {
      regroup(c, id);
    }
  }
  objects_.fetch_sub(1, sync::kRelaxed);
  object_bytes_.fetch_sub(bytes, sync::kRelaxed);
  sync::MutexLock lock(handles_mutex_);
  handles_[handle.value] = free_handle_;
  free_handle_ = handle.value;
  return shrunk_pages;
}

PoolStats ZsPool::stats() const {
  return {pages_.load(sync::kRelaxed), objects_.load(sync::kRelaxed), object_bytes_.load(sync::kRelaxed)};
}

std::uint64_t ZsPool::metadata_pages() {
  std::uint64_t bytes = 0;
  {
    sync::MutexLock lock(runs_mutex_);
    bytes = bytes_to_pages(std::uint64_t{zspage_end_} * sizeof(Zspage));
  }
  sync::MutexLock lock(handles_mutex_);
  return bytes + bytes_to_pages(std::uint64_t{handle_end_} * sizeof(std::uint64_t));
}

void ZsPool::validate() {
  std::uint64_t pages = 0, objects = 0;
  for (std::size_t index = 0; index < kSizeClasses.count; ++index) {
    const SizeClass& shape = kSizeClasses.classes[index];
    Class& c = classes_[index];
    sync::MutexLock lock(c.mutex);
    for (std::uint32_t group = 0; group < kGroups; ++group) {
      std::uint32_t previous = kNone;
      for (std::uint32_t id = c.groups[group]; id != kNone; id = zspages_[id].next) {
        const Zspage& zspage = zspages_[id];
        COLDPRESS_CHECK(zspage.previous == previous && zspage.group == group);
        COLDPRESS_CHECK(zspage.size_class == index);
        COLDPRESS_CHECK(zspage.in_use > 0 && zspage.in_use <= shape.objects);
        COLDPRESS_CHECK(group_of(zspage.in_use, shape.objects) == group);
        previous = id;
        pages += shape.pages;
        objects += zspage.in_use;
      }
    }
  }
  COLDPRESS_CHECK(pages == pages_.load() && objects == objects_.load());
}

}  // namespace coldpress::zspool
