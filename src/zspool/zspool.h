// The pool of compressed objects, after the kernel's zsmalloc.
//
// Memory comes in zspages: 1 to 8 pages that hold equal objects, placed without regard to page borders. The
// kernel chains scattered physical pages; here a zspage is a contiguous run of addresses, so an object that
// straddles pages is still one plain range of bytes. Each class keeps its zspages in lists by fullness, in
// tenths; allocation takes the densest that has room, so that sparse ones drain and return to the machine.
//
// An object is named by a handle, never by its address: the handle table says where it is.
//
// Invariants
//  1. List membership of a zspage changes only in the section that changes its number of objects. Reading or
//     writing an object changes no list. (The lesson of a kernel bug: lists that tell of use race with use.)
//  2. The allocator has no policy: it never decides what is to be dropped.
//  3. A zspage without objects owns no memory.
//
// Thread safety: allocate() and free() from any thread. data() needs that nobody frees the handle meanwhile.
// Lock order: a class's mutex, then runs_mutex_, then handles_mutex_. Sizes are in bytes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/memory_source.h"
#include "base/units.h"
#include "sync/mutex.h"
#include "zspool/size_classes.h"

namespace coldpress::zspool {

struct Handle {
  std::uint32_t value = 0;  // 0: none
  explicit operator bool() const { return value != 0; }
  bool operator==(const Handle&) const = default;
};

struct PoolStats {
  std::uint64_t pages = 0;  // memory of live zspages
  std::uint64_t objects = 0;
  std::uint64_t object_bytes = 0;  // asked for, summed
};

class ZsPool {
 public:
  // Room for at most `max_bytes`. false: no address space.
  [[nodiscard]] bool init(MemorySource& source, std::uint64_t max_bytes);

  // Room for an object of `bytes` (1 to a page). No handle when memory has run out. *grown_pages: by how much
  // the pool's memory grew for it.
  Handle allocate(std::size_t bytes, std::uint32_t* grown_pages = nullptr);
  // Returns by how many pages the pool's memory shrank.
  std::uint32_t free(Handle handle, std::size_t bytes);
  // The object's bytes; as many as were asked for may be used.
  std::byte* data(Handle handle) const;

  PoolStats stats() const;
  std::uint64_t pages() const { return pages_.load(sync::kRelaxed); }
  // Pages of tables that have been used so far.
  std::uint64_t metadata_pages();
  // Walks every list; CHECKs that lists, counts and groups agree. For tests.
  void validate();

 private:
  static constexpr std::uint32_t kNone = 0;     // index 0 of every table is not used
  static constexpr std::uint32_t kGroups = 11;  // tenths 0..9 with room, and full
  static constexpr std::uint32_t kFullGroup = 10;

  struct Zspage {
    std::uint32_t next, previous;  // in its fullness group, or next free zspage of its length
    std::uint32_t first_page;      // in the pool's area
    std::uint16_t in_use;
    std::uint16_t free_head;  // first free object + 1; links live in the free objects
    std::uint16_t untouched;  // objects from this one on were never handed out
    std::uint8_t size_class;
    std::uint8_t group;
  };
  struct Class {
    sync::Mutex mutex;
    std::uint32_t groups[kGroups] GUARDED_BY(mutex) = {};
  };

  std::byte* object(const Zspage& zspage, std::uint32_t index) const;
  std::uint32_t new_zspage(std::size_t size_class);
  void drop_zspage(std::uint32_t id);
  void link(Class& c, std::uint32_t id, std::uint8_t group) REQUIRES(c.mutex);
  void unlink(Class& c, std::uint32_t id) REQUIRES(c.mutex);
  void regroup(Class& c, std::uint32_t id) REQUIRES(c.mutex);
  static std::uint8_t group_of(std::uint32_t in_use, std::uint32_t objects) {
    return static_cast<std::uint8_t>(in_use * 10 / objects);
  }

  MemorySource* source_ = nullptr;
  Class classes_[kSizes];

  sync::Mutex runs_mutex_;
  ReservedArray<std::byte> area_;
  ReservedArray<Zspage> zspages_;
  std::uint32_t zspage_end_ GUARDED_BY(runs_mutex_) = 1;
  std::uint32_t area_end_pages_ GUARDED_BY(runs_mutex_) = 0;
  std::uint32_t free_runs_[kMaxZspagePages + 1] GUARDED_BY(runs_mutex_) = {};

  sync::Mutex handles_mutex_;
  ReservedArray<std::uint64_t> handles_;  // live: zspage << 16 | object; free: next free handle
  std::uint32_t handle_end_ GUARDED_BY(handles_mutex_) = 1;
  std::uint32_t free_handle_ GUARDED_BY(handles_mutex_) = kNone;

  sync::Atomic<std::uint64_t> pages_{0};
  sync::Atomic<std::uint64_t> objects_{0};
  sync::Atomic<std::uint64_t> object_bytes_{0};
};

}  // namespace coldpress::zspool
