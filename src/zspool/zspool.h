// The pool of compressed objects, after the kernel's zsmalloc.
//
// Memory comes in zspages: 1 to 8 pages that hold equal objects, placed without regard to page borders. The
// kernel chains scattered physical pages; here a zspage is a contiguous run of addresses, so an object that
// straddles pages is still one plain range of bytes. Each class keeps its zspages in lists by fullness, in
// tenths; allocation takes the densest that has room, so that sparse ones drain and return to the machine.
// What does not drain by itself is compacted: the objects of the sparsest go to the densest (compaction.cc).
//
// An object is named by a handle, never by its address: the handle table says where it is. Before its bytes
// it has a header of 4 bytes that names its handle in turn; objects of a whole page, which never move, have
// none.
//
// Invariants
//  1. List membership of a zspage changes only in the section that changes its number of objects. Reading or
//     writing an object changes no list. (The lesson of a kernel bug: lists that tell of use race with use.)
//  2. The allocator has no policy: it never decides what is to be dropped.
//  3. A zspage without objects is in no class. It keeps its memory for the next one of its length, as long as
//     the pool keeps no more than 32 pages and a 64th of its own so, and they are soon wanted (trim()):
//     giving memory back interrupts all processors, which costs more than the zspage itself.
//  4. An object moves only while its handle is pinned by the mover; so for whoever has it pinned it stays.
//
// Thread safety: allocate(), free(), compact(), trim(), give_back() from any thread; of one handle one user
// at a time, compaction aside. Lock order: a pinned handle, a class's mutex, then runs_mutex_, then
// handles_mutex_; compaction, which comes to handles from their class, only tries to pin. Sizes are in bytes.
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
  std::uint64_t pages = 0;  // memory of zspages with objects
  std::uint64_t objects = 0;
  std::uint64_t object_bytes = 0;  // asked for, summed
};

struct ClassStats {
  SizeClass shape;
  std::uint64_t zspages = 0;
  std::uint64_t objects = 0;   // in use
  std::uint64_t room = 0;      // objects that would still fit into its zspages
  std::uint64_t freeable = 0;  // pages that compaction would give back
  std::uint64_t by_tenth[11];  // zspages, by fullness; the last: full
};

class ZsPool {
 public:
  // Room for at most `max_bytes`. false: no address space.
  [[nodiscard]] bool init(MemorySource& source, std::uint64_t max_bytes);

  // Room for an object of `bytes` (1 to a page). No handle when memory has run out. *grown_pages: what was
  // taken from the machine for it.
  Handle allocate(std::size_t bytes, std::uint32_t* grown_pages = nullptr);
  // Returns the pages that were given back to the machine.
  std::uint32_t free(Handle handle, std::size_t bytes);

  // The object's bytes, as many as were asked for. They stay where they are until unpin().
  std::byte* pin(Handle handle);
  void unpin(Handle handle);
  // As pin(), for whoever knows that nothing is compacted meanwhile.
  std::byte* data(Handle handle) const;

  // Moves objects from the sparsest zspages to the densest, at most `most_objects`. Returns how many pages
  // became free; give_back() gives them to the machine.
  std::uint32_t compact(std::uint32_t most_objects);
  // Gives kept memory back: `all`, or what was not wanted since the last call. Returns the pages.
  std::uint32_t trim(bool all);
  // At least so many kept pages, if there are.
  std::uint32_t give_back(std::uint64_t pages);
  std::uint64_t kept_pages() const { return kept_pages_.load(sync::kRelaxed); }
  // All of its memory.
  std::uint64_t held_pages() const { return pages() + kept_pages(); }
  // Pages that compaction would give back; nearly.
  std::uint64_t compactable_pages() const;

  PoolStats stats() const;
  static std::size_t class_count() { return kSizeClasses.count; }
  ClassStats class_stats(std::size_t index);
  // Of these, the objects; cheap.
  std::uint64_t objects_of(std::size_t index) const { return classes_[index].in_use.load(sync::kRelaxed); }
  std::uint64_t pages() const { return pages_.load(sync::kRelaxed); }
  // Pages of tables that have been used so far.
  std::uint64_t metadata_pages();
  // Walks every list and every object; CHECKs that lists, counts, groups and handles agree. For tests, while
  // nobody else uses the pool.
  void validate();

 private:
  static constexpr std::uint32_t kNone = 0;     // index 0 of every table is not used
  static constexpr std::uint32_t kGroups = 11;  // tenths 0..9 with room, and full
  static constexpr std::uint32_t kFullGroup = 10;
  static constexpr std::uint64_t kKeptAlways = 32;  // pages (invariant 3)

  // handles_: where the object is, and two bits for who has it pinned. Free handles: the next free one.
  static constexpr std::uint64_t kPinned = 1, kWaiters = 2;
  static constexpr unsigned kObjectShift = 2, kZspageShift = 18;

  // An object's header: in use, the handle; free, the next free object + 1.
  static constexpr std::size_t kHeaderBytes = sizeof(std::uint32_t);
  static constexpr std::uint32_t kInUse = 1;

  struct Zspage {
    std::uint32_t next, previous;  // in its fullness group, or next free or kept run of its length
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
    sync::Atomic<std::uint32_t> zspages{0};  // changed under the mutex
    sync::Atomic<std::uint32_t> in_use{0};
  };

  static std::size_t index_for(std::size_t bytes);
  static bool is_huge(std::size_t size_class) { return kSizeClasses.classes[size_class].objects == 1; }
  std::byte* object(const Zspage& zspage, std::uint32_t index) const;
  std::uint32_t header(const Zspage& zspage, std::uint32_t index) const;
  void set_header(const Zspage& zspage, std::uint32_t index, std::uint32_t header);
  // A class's pages that would be free if its objects were packed densely.
  std::uint64_t freeable_pages(std::size_t index) const;

  std::uint32_t take_handle();
  void return_handle(std::uint32_t handle);
  std::uint64_t locate(std::uint32_t handle) const;
  std::uint32_t new_zspage(std::size_t size_class, std::uint32_t& grown_pages);
  void drop_zspage(std::uint32_t id);
  std::uint32_t take_object(Class& c, std::uint32_t id) REQUIRES(c.mutex);
  void return_object(Class& c, std::uint32_t id, std::uint32_t index) REQUIRES(c.mutex);
  void link(Class& c, std::uint32_t id, std::uint8_t group) REQUIRES(c.mutex);
  void unlink(Class& c, std::uint32_t id) REQUIRES(c.mutex);
  void list_again(std::uint32_t id) NO_THREAD_SAFETY_ANALYSIS;
  void regroup(Class& c, std::uint32_t id) REQUIRES(c.mutex);
  static std::uint8_t group_of(std::uint32_t in_use, std::uint32_t objects) {
    return static_cast<std::uint8_t>(in_use * 10 / objects);
  }

  // runs.cc
  std::uint32_t take_run(std::uint32_t length, std::uint32_t& grown_pages);
  void keep_run(std::uint32_t id, std::uint32_t length);
  std::uint32_t pop(std::uint32_t& runs) REQUIRES(runs_mutex_);
  void push(std::uint32_t& runs, std::uint32_t id) REQUIRES(runs_mutex_);
  void count_kept(std::uint32_t length, int runs) REQUIRES(runs_mutex_);
  std::uint32_t give_back_runs(std::uint32_t length, std::uint64_t most) EXCLUDES(runs_mutex_);

  // compaction.cc
  struct Moved {
    std::uint32_t objects = 0, pages = 0;
  };
  Moved compact_one(Class& c, std::size_t index, std::uint32_t most_objects) REQUIRES(c.mutex);
  bool move_object(Class& c, std::uint32_t from, std::uint32_t index, std::uint32_t to) REQUIRES(c.mutex);

  MemorySource* source_ = nullptr;
  Class classes_[kSizes];

  sync::Mutex runs_mutex_;
  ReservedArray<std::byte> area_;
  ReservedArray<Zspage> zspages_;
  std::uint32_t zspage_end_ GUARDED_BY(runs_mutex_) = 1;
  std::uint32_t area_end_pages_ GUARDED_BY(runs_mutex_) = 0;
  std::uint32_t free_runs_[kMaxZspagePages + 1] GUARDED_BY(runs_mutex_) = {};  // by length
  struct Kept {
    std::uint32_t first = kNone;      // runs that have memory
    std::uint32_t runs = 0, low = 0;  // how many; fewest since the last trim()
  };
  Kept kept_[kMaxZspagePages + 1] GUARDED_BY(runs_mutex_);  // by length
  sync::Atomic<std::uint64_t> kept_pages_{0};               // of all of them

  sync::Mutex handles_mutex_;
  ReservedArray<sync::Atomic<std::uint64_t>> handles_;
  std::uint32_t handle_end_ GUARDED_BY(handles_mutex_) = 1;
  std::uint32_t free_handle_ GUARDED_BY(handles_mutex_) = kNone;

  sync::Mutex compaction_mutex_;  // before all others; only tried
  std::size_t compact_next_ GUARDED_BY(compaction_mutex_) = 0;

  sync::Atomic<std::uint64_t> pages_{0};
  sync::Atomic<std::uint64_t> objects_{0};
  sync::Atomic<std::uint64_t> object_bytes_{0};
};

// An object pinned for as long as this lives.
class Pinned {
 public:
  Pinned(ZsPool& pool, Handle handle) : pool_(pool), handle_(handle), data_(pool.pin(handle)) {}
  ~Pinned() { pool_.unpin(handle_); }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  std::byte* data() const { return data_; }

 private:
  ZsPool& pool_;
  Handle handle_;
  std::byte* data_;
};

}  // namespace coldpress::zspool
