#include "zspool/zspool.h"

#include <algorithm>
#include <cstring>

#include "sync/explore.h"
#include "sync/futex.h"

namespace coldpress::zspool {

bool ZsPool::init(MemorySource& source, std::uint64_t max_bytes) {
  source_ = &source;
  std::uint64_t max_pages = bytes_to_pages(max_bytes);
  if (!area_.init(source, max_pages << kPageShift)) return false;
  source.label(area_.data(), max_pages << kPageShift, "coldpress-pool");
  if (!zspages_.init(source, max_pages + 2) || !handles_.init(source, max_pages * 8 + 2)) return false;
  sync::name_each(handles_.data(), handles_.capacity(), "handle");
  sync::name_each(&classes_[0].mutex, kSizes, "size class", 0, sizeof(Class));
  sync::name_object(runs_mutex_, "zspages");
  sync::name_object(handles_mutex_, "handles");
  sync::name_object(compaction_mutex_, "compaction");
  return true;
}

std::size_t ZsPool::index_for(std::size_t bytes) {
  return kSizeClasses.index_for(bytes + kHeaderBytes < kPageBytes ? bytes + kHeaderBytes : kPageBytes);
}

std::byte* ZsPool::object(const Zspage& zspage, std::uint32_t index) const {
  return area_.data() + (std::size_t{zspage.first_page} << kPageShift) +
         std::size_t{index} * kSizeClasses.classes[zspage.size_class].object_bytes;
}

std::uint32_t ZsPool::header(const Zspage& zspage, std::uint32_t index) const {
  std::uint32_t header;
  std::memcpy(&header, object(zspage, index), sizeof header);
  return header;
}

void ZsPool::set_header(const Zspage& zspage, std::uint32_t index, std::uint32_t header) {
  std::memcpy(object(zspage, index), &header, sizeof header);
}

// --- handles

std::uint32_t ZsPool::take_handle() {
  sync::MutexLock lock(handles_mutex_);
  std::uint32_t handle = free_handle_;
  if (handle != kNone) {
    free_handle_ = static_cast<std::uint32_t>(handles_[handle].load(sync::kRelaxed));
    return handle;
  }
  if (!handles_.grow_to(std::size_t{handle_end_} + 1)) return kNone;
  return handle_end_++;
}

void ZsPool::return_handle(std::uint32_t handle) {
  sync::MutexLock lock(handles_mutex_);
  handles_[handle].store(free_handle_, sync::kRelaxed);
  free_handle_ = handle;
}

std::byte* ZsPool::data(Handle handle) const {
  std::uint64_t word = handles_[handle.value].load(sync::kAcquire);
  const Zspage& zspage = zspages_[word >> kZspageShift];
  std::byte* bytes = object(zspage, static_cast<std::uint16_t>(word >> kObjectShift));
  return is_huge(zspage.size_class) ? bytes : bytes + kHeaderBytes;
}

std::byte* ZsPool::pin(Handle handle) {
  auto& word = handles_[handle.value];
  std::uint64_t value = word.load(sync::kRelaxed);
  for (;;) {
    if ((value & kPinned) == 0) {
      // Acquire pairs with the release in unpin() and in move_object(): the bytes are where the word says.
      if (word.compare_exchange_weak(value, value | kPinned, sync::kAcquire, sync::kRelaxed)) break;
      continue;
    }
    if ((value & kWaiters) == 0 &&
        !word.compare_exchange_weak(value, value | kWaiters, sync::kRelaxed, sync::kRelaxed)) {
      continue;
    }
    // The lower half holds both bits (little-endian); the kernel compares it once more.
    sync::mark("zspool: waits for who has it pinned");
    sync::futex_wait(&word, static_cast<std::uint32_t>(value | kWaiters));
    value = word.load(sync::kRelaxed);
  }
  if (sync::is_mutant(sync::Mutant::kListAtAccess)) {
    list_again(static_cast<std::uint32_t>(word.load(sync::kRelaxed) >> kZspageShift));
  }
  return data(handle);
}

// A mutant's: moves the zspage to the head of its list, as if that told of use.
void ZsPool::list_again(std::uint32_t id) {
  Class& c = classes_[zspages_[id].size_class];
  unlink(c, id);
  sync::let_others_run();
  link(c, id, zspages_[id].group);
}

void ZsPool::unpin(Handle handle) {
  auto& word = handles_[handle.value];
  std::uint64_t before = word.fetch_and(~(kPinned | kWaiters), sync::kRelease);
  COLDPRESS_CHECK((before & kPinned) != 0);
  if ((before & kWaiters) != 0) sync::futex_wake(&word, 1 << 30);
}

// --- zspages

std::uint32_t ZsPool::new_zspage(std::size_t size_class, std::uint32_t& grown_pages) {
  std::uint32_t length = kSizeClasses.classes[size_class].pages;
  std::uint32_t id = take_run(length, grown_pages);
  if (id == kNone) return kNone;
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
  classes_[size_class].zspages.fetch_add(1, sync::kRelaxed);
  return id;
}

void ZsPool::drop_zspage(std::uint32_t id) {
  Zspage& zspage = zspages_[id];
  std::uint32_t length = kSizeClasses.classes[zspage.size_class].pages;
  pages_.fetch_sub(length, sync::kRelaxed);
  classes_[zspage.size_class].zspages.fetch_sub(1, sync::kRelaxed);
  keep_run(id, length);
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

// --- objects

std::uint32_t ZsPool::take_object(Class& c, std::uint32_t id) {
  Zspage& zspage = zspages_[id];
  std::uint32_t index;
  if (zspage.free_head != 0) {
    index = zspage.free_head - 1u;
    zspage.free_head = static_cast<std::uint16_t>(header(zspage, index) >> 1);
  } else {
    index = zspage.untouched++;
  }
  ++zspage.in_use;
  c.in_use.fetch_add(1, sync::kRelaxed);
  regroup(c, id);
  return index;
}

void ZsPool::return_object(Class& c, std::uint32_t id, std::uint32_t index) {
  Zspage& zspage = zspages_[id];
  COLDPRESS_CHECK(zspage.in_use > 0);
  c.in_use.fetch_sub(1, sync::kRelaxed);
  if (--zspage.in_use == 0 && !sync::is_mutant(sync::Mutant::kKeepEmpty)) {
    unlink(c, id);
    drop_zspage(id);
    return;
  }
  set_header(zspage, index, std::uint32_t{zspage.free_head} << 1);
  zspage.free_head = static_cast<std::uint16_t>(index + 1);
  regroup(c, id);
}

Handle ZsPool::allocate(std::size_t bytes, std::uint32_t* grown_pages) {
  std::uint32_t grown = 0;
  if (grown_pages == nullptr) grown_pages = &grown;
  *grown_pages = 0;
  COLDPRESS_CHECK(bytes > 0 && bytes <= kPageBytes);
  std::uint32_t handle = take_handle();
  if (handle == kNone) return {};
  std::size_t index = index_for(bytes);
  Class& c = classes_[index];
  {
    sync::MutexLock lock(c.mutex);
    std::uint32_t id = kNone;
    for (std::uint32_t group = kFullGroup; id == kNone && group-- > 0;) id = c.groups[group];
    if (id == kNone) {
      id = new_zspage(index, *grown_pages);
      if (id == kNone) {
        *grown_pages = 0;
      } else {
        link(c, id, 0);
      }
    }
    if (id != kNone) {
      std::uint32_t slot = take_object(c, id);
      if (!is_huge(index)) set_header(zspages_[id], slot, handle << 1 | kInUse);
      handles_[handle].store(std::uint64_t{id} << kZspageShift | std::uint64_t{slot} << kObjectShift,
                             sync::kRelease);
      objects_.fetch_add(1, sync::kRelaxed);
      object_bytes_.fetch_add(bytes, sync::kRelaxed);
      return {handle};
    }
  }
  return_handle(handle);
  return {};
}

std::uint32_t ZsPool::free(Handle handle, std::size_t bytes) {
  if (!sync::is_mutant(sync::Mutant::kFreeUnpinned)) pin(handle);  // it does not move from here on
  std::size_t index = index_for(bytes);
  Class& c = classes_[index];
  std::uint64_t word = handles_[handle.value].load(sync::kRelaxed);
  auto id = static_cast<std::uint32_t>(word >> kZspageShift);
  bool inferred = sync::is_mutant(sync::Mutant::kInferState) && zspages_[id].in_use == 1;
  {
    sync::MutexLock lock(c.mutex);
    if (inferred) zspages_[id].in_use = 1;
    COLDPRESS_CHECK(zspages_[id].size_class == index);
    return_object(c, id, static_cast<std::uint16_t>(word >> kObjectShift));
  }
  objects_.fetch_sub(1, sync::kRelaxed);
  object_bytes_.fetch_sub(bytes, sync::kRelaxed);
  return_handle(handle.value);
  std::uint64_t kept = kept_pages();
  if (kept <= kKeptAlways) return 0;
  std::uint64_t most = kKeptAlways + pages() / 64;
  constexpr std::uint64_t kMostAtOnce = 128;  // whoever frees may hold the layout mutex
  return kept > most ? give_back(std::min(kept - most / 2, kMostAtOnce)) : 0;
}

// --- what it tells

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

ClassStats ZsPool::class_stats(std::size_t index) {
  ClassStats stats{.shape = kSizeClasses.classes[index], .by_tenth = {}};
  Class& c = classes_[index];
  sync::MutexLock lock(c.mutex);
  for (std::uint32_t group = 0; group < kGroups; ++group) {
    for (std::uint32_t id = c.groups[group]; id != kNone; id = zspages_[id].next) ++stats.by_tenth[group];
  }
  stats.zspages = c.zspages.load(sync::kRelaxed);
  stats.objects = c.in_use.load(sync::kRelaxed);
  stats.room = stats.zspages * stats.shape.objects - stats.objects;
  stats.freeable = freeable_pages(index);
  return stats;
}

void ZsPool::validate() {
  std::uint64_t pages = 0, objects = 0;
  for (std::size_t index = 0; index < kSizeClasses.count; ++index) {
    const SizeClass& shape = kSizeClasses.classes[index];
    Class& c = classes_[index];
    std::uint32_t zspages = 0, in_use = 0;
    sync::MutexLock lock(c.mutex);
    for (std::uint32_t group = 0; group < kGroups; ++group) {
      std::uint32_t previous = kNone;
      for (std::uint32_t id = c.groups[group]; id != kNone; id = zspages_[id].next) {
        const Zspage& zspage = zspages_[id];
        COLDPRESS_CHECK(zspage.previous == previous && zspage.group == group);
        COLDPRESS_CHECK(zspage.size_class == index);
        COLDPRESS_CHECK(zspage.in_use > 0 && zspage.in_use <= shape.objects);
        COLDPRESS_CHECK(group_of(zspage.in_use, shape.objects) == group);
        std::uint32_t found = is_huge(index) ? 1 : 0;
        for (std::uint32_t i = 0; !is_huge(index) && i < zspage.untouched; ++i) {
          std::uint32_t head = header(zspage, i);
          if ((head & kInUse) == 0) continue;
          ++found;
          std::uint64_t word = handles_[head >> 1].load();
          COLDPRESS_CHECK(word == (std::uint64_t{id} << kZspageShift | std::uint64_t{i} << kObjectShift));
        }
        COLDPRESS_CHECK(found == zspage.in_use);
        previous = id;
        ++zspages;
        in_use += zspage.in_use;
      }
    }
    COLDPRESS_CHECK(zspages == c.zspages.load() && in_use == c.in_use.load());
    pages += std::uint64_t{zspages} * shape.pages;
    objects += in_use;
  }
  COLDPRESS_CHECK(pages == pages_.load() && objects == objects_.load());
}

}  // namespace coldpress::zspool
