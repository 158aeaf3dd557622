// Coldpress: memory larger than it may occupy. C programs have coldpress.h, which offers the same.
//
//   auto opened = coldpress::Pager::open({.limit_bytes = 512 << 20});
//   if (!opened) { puts(opened.error.c_str()); return 1; }
//   coldpress::Pager& pager = *opened.pager;
//   coldpress::Region region = pager.map(std::size_t{4} << 30);
//   char* bytes = static_cast<char*>(region.data());  // plain memory, zero-filled
//
// All regions of a pager together occupy at most its limit: pages that have not been touched for a while are
// compressed, what has been cold for longest goes on to swap devices if there are any, and all come back when
// they are touched.
//
// Thread safety: all functions may be called from any thread at any time; a Region must not be destroyed
// while others use its memory, nor a Pager before its regions. Sizes are in bytes. Errors: open() says what
// is wrong; map() gives an empty region when the system has no address space or refuses the registration.
// What was compressed and is found damaged is never returned: touching it raises SIGBUS. fork(): the child
// sees its own complete copy, which is ordinary memory there, and both go on when it has it; it must not call
// functions of the parent's Pager.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace coldpress {

enum class Compression { kLz4, kZstd };

// How a touch of a page that is not resident is served.
enum class FaultPath {
  kThread,  // by a thread of the pager: also for system calls that the kernel serves from the memory
  kSignal,  // in the touching thread, by a SIGBUS handler: faster; system calls (read, write ...) on memory
            // that is not resident fail with EFAULT, so pin() it for them; threads must not block SIGBUS,
            // nor the program set another handler for it after open()
};

struct PagerOptions {
  std::uint64_t limit_bytes = 0;  // at least 8 MiB
  Compression compression = Compression::kLz4;
  int zstd_level = 1;  // -7 to 19, not 0
  FaultPath fault_path = FaultPath::kThread;
  // Devices for what compression alone does not hold, as for swapon(); none when empty.
  std::vector<std::string> swap = {};
  unsigned max_pool_percent = 80;  // of the limit, for the pool, where there are devices
};

// A moment's counters; names as in the kernel's vmstat (docs/stats.md).
struct PagerStatistics {
  std::uint64_t limit_bytes, resident_bytes, pool_bytes, metadata_bytes;
  std::uint64_t stored_pages, stored_bytes, swap_pages, swap_bytes, same_filled_pages;
  std::uint64_t pgfault, pgmajfault, zswpin, zswpout, pswpin, pswpout, written_back_pages;
  std::uint64_t limit_exceeded, decompress_fail, swap_read_fail, swap_write_fail;
  std::uint64_t kept_bytes, swap_total_bytes, swap_free_bytes, swap_ra, swap_ra_hit;
  std::uint64_t workingset_refault, workingset_activate, direct_reclaim;
  // The time that the program's threads waited for pages, some or all of them: of the last 10, 60 and 300 s,
  // in percent.
  double some_avg10, some_avg60, some_avg300, full_avg10, full_avg60, full_avg300;
  std::uint64_t some_total_us, full_total_us;
};

// A swap device, as the kernel shows them in /proc/swaps.
struct SwapDevice {
  std::string name;  // what swapoff() takes
  std::uint64_t size_bytes, used_bytes, pages;
  int priority;
  bool failing;  // a write has failed, and nothing goes there for a while
};

class Pager;

inline constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};

// What a group of regions may take, in bytes; the pager's limit holds for all groups together.
struct GroupLimits {
  // In memory and compressed. At max a touch of a page that is out takes another of the group's pages first;
  // above high that happens in the background.
  std::uint64_t max_bytes = kNoLimit, high_bytes = kNoLimit;
  std::uint64_t zswap_max_bytes = kNoLimit;  // compressed; 0: everything goes on to a device
  std::uint64_t swap_max_bytes = kNoLimit;   // of pages that are on devices
  bool zswap_writeback = true;               // whether pages go to devices; not if it is off anywhere above
};

struct GroupStatistics {
  std::uint64_t current_bytes, peak_bytes;  // what max and high limit
  std::uint64_t resident_bytes, stored_pages, stored_bytes, swap_bytes;
  std::uint64_t events_high, events_max, events_swap_max, events_zswap_max, limit_exceeded;
  std::uint64_t pgfault, pgmajfault, zswpin, zswpout, zswpwb, pswpin, pgsteal, workingset_refault;
  // The time that some thread waited for a page of the group: of the last 10, 60 and 300 s, in percent.
  double some_avg10, some_avg60, some_avg300;
  std::uint64_t some_total_us;
};

// Regions with limits of their own. A group over its limits gives up its own pages, never another's; what it
// takes counts for the groups above it, too. Movable; destroyed before its pager. Regions that outlive it
// belong to the one above it.
class Group {
 public:
  Group() = default;
  Group(Group&& other) noexcept;
  Group& operator=(Group&& other) noexcept;
  ~Group();

  explicit operator bool() const { return pager_ != nullptr; }
  // At any time; what is over a lower limit goes from now on (of what is on devices: no more goes there).
  void set_limits(const GroupLimits& limits);
  GroupLimits limits() const;
  // Gives so much of the group's memory back now. false: not all of it.
  bool reclaim(std::uint64_t bytes);
  GroupStatistics statistics() const;

 private:
  friend class Pager;
  void reset();

  Pager* pager_ = nullptr;
  unsigned number_ = 0;
};

// A range of memory under the pager's limit. Movable; unmapped when destroyed.
class Region {
 public:
  Region() = default;
  Region(Region&& other) noexcept;
  Region& operator=(Region&& other) noexcept;
  ~Region();

  explicit operator bool() const { return data_ != nullptr; }
  void* data() const { return data_; }
  std::size_t size() const { return bytes_; }

  // Each takes a part of the region; it is widened to whole pages (drop: narrowed).
  // The part will not be needed soon: its pages go now (as MADV_PAGEOUT).
  void cold(std::size_t offset, std::size_t bytes);
  // What the use of the part so far has told is forgotten: nothing goes now, but of what must go next it is
  // not spared (as MADV_COLD).
  void deactivate(std::size_t offset, std::size_t bytes);
  // The part will be needed soon: its pages come now.
  void willneed(std::size_t offset, std::size_t bytes);
  // The part's pages come, those never touched as well, and stay until unpin(), or until they are dropped.
  // They count towards the limit. Pins do not add up: one unpin() ends all of a page. false: a page is
  // damaged, or too many separate parts are pinned (65,536 always fit).
  bool pin(std::size_t offset, std::size_t bytes);
  void unpin(std::size_t offset, std::size_t bytes);
  // The part's content is given up; it reads zero afterwards (as MADV_DONTNEED). Not madvise(MADV_FREE):
  // pages that are used again after it can not be taken out any more.
  bool drop(std::size_t offset, std::size_t bytes);
  // A region with the content of this one, which it shares until one of them is written to or read: what is
  // cold costs nothing twice. What others write to this one meanwhile may be in it or not. Empty on failure:
  // no memory; a part of this region is pinned, or was given up by madvise(MADV_FREE); mlockall(MCL_FUTURE).
  Region clone();

 private:
  friend class Pager;
  struct Part;
  Part part(std::size_t offset, std::size_t bytes, bool widen) const;
  void reset();

  Pager* pager_ = nullptr;
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

class Pager {
 public:
  struct Opened;
  // An open pager, or an error that says what to do.
  static Opened open(const PagerOptions& options);
  ~Pager();
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;

  // A region of `bytes` (rounded up to pages), zero-filled. Empty on failure.
  Region map(std::size_t bytes) { return map_for(bytes, 0); }
  // One that belongs to the group, which is this pager's.
  Region map(std::size_t bytes, const Group& group) {
    return group.pager_ == this ? map_for(bytes, group.number_) : Region();
  }
  // A group below the pager itself, or below another group. Empty: there are too many (63, those counted that
  // were destroyed and have something left in a clone), no memory, or the parent is not this pager's.
  Group group(const GroupLimits& limits) { return make_group(limits, 0); }
  Group group(const GroupLimits& limits, const Group& parent) {
    return parent.pager_ == this ? make_group(limits, parent.number_) : Group();
  }

  // Each of these returns "", or one sentence that says why not.
  // What is over a lower limit goes from now on.
  std::string set_limit(std::uint64_t bytes);
  // Gives so much memory back now. "": done, else how much was not.
  std::string reclaim(std::uint64_t bytes);
  // Writes so much of what is compressed to the devices now. "": done, else how much was not.
  std::string writeback(std::uint64_t bytes);
  // Any setting of `coldpress set`, as "KEY=VALUE": codec=zstd:3, enabled=0, zswap.max=64M, shrinker=1 ...
  std::string set(const std::string& setting);
  // A device: "PATH[,size=SIZE][,prio=N]", a file or block device, what lies there encrypted with a key that
  // is never stored; or "ram:SIZE[,prio=N]", memory that does not count. Higher priorities are filled first.
  std::string swapon(const std::string& device);
  // By its path as it was given, or "ram" (the second one: "ram2"). Brings back or moves on what lies there,
  // which can take long; "ENOMEM ..." when it does not fit elsewhere: the device stays in use.
  std::string swapoff(const std::string& device);
  // Whatever another thread is waiting for in one of these comes to its end: what has been done stays done,
  // and a device stays in use. It returns a sentence there. Does not wait.
  void cancel();

  PagerStatistics statistics() const;
  // The swap devices, and the settings as set() takes them, each ended by a new line. They wait for orders of
  // this process that are under way; "", or one sentence: cancelled, or another process's order takes long.
  std::string devices(std::vector<SwapDevice>& devices) const;
  std::string settings(std::string& settings) const;

 private:
  friend class Region;
  friend class Group;
  Region map_for(std::size_t bytes, unsigned group);
  Group make_group(const GroupLimits& limits, unsigned parent);
  struct Implementation;
  explicit Pager(std::unique_ptr<Implementation> implementation);
  std::unique_ptr<Implementation> implementation_;
};

struct Pager::Opened {
  std::unique_ptr<Pager> pager;  // null on failure
  std::string error;             // then: one sentence
  explicit operator bool() const { return pager != nullptr; }
};

}  // namespace coldpress
