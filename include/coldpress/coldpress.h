// Coldpress for C: memory larger than it may occupy. C99 or newer; pager.h offers the same to C++.
//
//   coldpress_options options = COLDPRESS_OPTIONS_INIT;
//   options.limit_bytes = (uint64_t)512 << 20;
//   coldpress_pager* pager;
//   coldpress_region* region;
//   coldpress_error error;
//   if (coldpress_open(&options, &pager, &error) != COLDPRESS_OK) { puts(error.text); return 1; }
//   if (coldpress_map(pager, (size_t)4 << 30, NULL, &region) != COLDPRESS_OK) return 1;
//   char* bytes = coldpress_region_data(region);  // plain memory, zero-filled
//   ...
//   coldpress_unmap(region);
//   coldpress_close(pager);
//
// All regions of a pager together occupy at most its limit: pages that have not been touched for a while are
// compressed, what has been cold for longest goes on to swap devices if there are any, and all come back when
// they are touched. What was compressed and is found damaged is never returned: touching it raises SIGBUS.
//
// Sizes and offsets are in bytes. Strings are read during the call only.
//
// Errors: what can fail returns a coldpress_status. Where more is to be said, a coldpress_error of the
// caller's is filled with one sentence; it may be NULL. A call that fails with INVALID, OUT_OF_RANGE,
// IN_CHILD or IN_USE has changed nothing. What a function gives by a pointer (a pager, region or group) is
// NULL there when it fails. No C++ exception leaves the library.
//
// Thread safety: all functions may be called from any thread at any time. A region must not be unmapped while
// others use its memory, and nothing be used that another thread ends. Not to be called in signal handlers.
//
// fork(): the child sees its own complete copy of all regions, which is ordinary memory there, and both go on
// when it has it. It may read and write it, call coldpress_unmap(), coldpress_group_destroy(),
// coldpress_region_data() and _size(); what else takes something of the parent's pager does nothing there and
// returns COLDPRESS_IN_CHILD.
//
// Growth: structures that the program fills begin with their size, which COLDPRESS_..._INIT sets; for those
// that the library fills the size is an argument. So each side may be older than the other: fields that one
// does not know have their defaults, and are not filled. New fields are added at the end; 0 is their default.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum coldpress_status {
  COLDPRESS_OK = 0,
  COLDPRESS_INVALID = 1,       // an argument is NULL, of an impossible value, or of another pager
  COLDPRESS_OUT_OF_RANGE = 2,  // the part is not within the region
  COLDPRESS_IN_CHILD = 3,      // this is the child of a fork, the pager its parent's
  COLDPRESS_IN_USE = 4,        // regions or groups of the pager are still there
  COLDPRESS_NO_MEMORY = 5,     // of the program's heap, of address space, or in the pager's tables
  COLDPRESS_REFUSED = 6,       // the machine or the pager does not do it
  COLDPRESS_INCOMPLETE = 7,    // less was done than asked for
  COLDPRESS_DAMAGED = 8        // content is lost: touching it raises SIGBUS
} coldpress_status;

// One sentence for each status; valid for ever.
const char* coldpress_status_text(coldpress_status status);

// Why a call failed; "" when it did not. Longer sentences are cut.
typedef struct coldpress_error {
  char text[512];
} coldpress_error;

typedef struct coldpress_pager coldpress_pager;
typedef struct coldpress_region coldpress_region;
typedef struct coldpress_group coldpress_group;

// --- pagers

enum { COLDPRESS_LZ4 = 0, COLDPRESS_ZSTD = 1 };  // compression

// How a touch of a page that is not resident is served.
enum {
  // By a thread of the pager: also for system calls that the kernel serves from the memory.
  COLDPRESS_FAULT_THREAD = 0,
  // In the touching thread, by a SIGBUS handler: faster; system calls (read, write ...) on memory that is not
  // resident fail with EFAULT, so pin it for them; threads must not block SIGBUS, nor the program set another
  // handler for it after coldpress_open().
  COLDPRESS_FAULT_SIGNAL = 1
};

// 0 means the default in every field but struct_size and limit_bytes.
typedef struct coldpress_options {
  size_t struct_size;
  uint64_t limit_bytes;       // at least 8 MiB
  int compression;            // COLDPRESS_LZ4, or COLDPRESS_ZSTD
  int zstd_level;             // -7 to 19; default: 1
  int fault_path;             // COLDPRESS_FAULT_THREAD, or COLDPRESS_FAULT_SIGNAL
  unsigned max_pool_percent;  // 1 to 100, of the limit, for the pool, where there are devices; default: 80
  // Devices for what compression alone does not hold, as for coldpress_swapon(); none when swap_count is 0.
  const char* const* swap;
  size_t swap_count;
} coldpress_options;

#define COLDPRESS_OPTIONS_INIT \
  { sizeof(coldpress_options), 0, COLDPRESS_LZ4, 1, COLDPRESS_FAULT_THREAD, 80, 0, 0 }

// A pager, to be closed by coldpress_close(). REFUSED: the text says what is wrong with an option or with
// this machine, and what to do.
coldpress_status coldpress_open(const coldpress_options* options, coldpress_pager** pager,
                                coldpress_error* error);
// After its regions were unmapped and its groups destroyed; else IN_USE, and it is open as before. NULL: OK.
coldpress_status coldpress_close(coldpress_pager* pager);

// What is over a lower limit goes from now on.
coldpress_status coldpress_set_limit(coldpress_pager* pager, uint64_t bytes, coldpress_error* error);
// Gives so much memory back now. INCOMPLETE: the text says how much was not, or why.
coldpress_status coldpress_reclaim(coldpress_pager* pager, uint64_t bytes, coldpress_error* error);
// Writes so much of what is compressed to the devices now. INCOMPLETE: the text says how much was not, or
// why.
coldpress_status coldpress_writeback(coldpress_pager* pager, uint64_t bytes, coldpress_error* error);
// Any setting of `coldpress set`, as "KEY=VALUE": codec=zstd:3, enabled=0, zswap.max=64M, shrinker=1 ...
coldpress_status coldpress_set(coldpress_pager* pager, const char* setting, coldpress_error* error);
// A device: "PATH[,size=SIZE][,prio=N]", a file or block device, what lies there encrypted with a key that is
// never stored; or "ram:SIZE[,prio=N]", memory that does not count. Higher priorities are filled first.
coldpress_status coldpress_swapon(coldpress_pager* pager, const char* device, coldpress_error* error);
// By its path as it was given, or "ram" (the second one: "ram2"). Brings back or moves on what lies there,
// which can take long; REFUSED with "ENOMEM ..." when it does not fit elsewhere: the device stays in use.
coldpress_status coldpress_swapoff(coldpress_pager* pager, const char* device, coldpress_error* error);
// Whatever another thread is waiting for in one of these comes to its end: what has been done stays done, and
// a device stays in use. There it is REFUSED or INCOMPLETE. Does not wait.
coldpress_status coldpress_cancel(coldpress_pager* pager);

// A swap device, as the kernel shows them in /proc/swaps.
typedef struct coldpress_device {
  char name[200];  // what coldpress_swapoff() takes
  uint64_t size_bytes, used_bytes, pages;
  int priority;
  int failing;  // a write has failed, and nothing goes there for a while
} coldpress_device;

// Fills at most `count` of them, each of `size` bytes (sizeof *devices); *all is how many there are, 0 when
// the call fails. Waits for orders of this process that are under way. REFUSED: cancelled, or another
// process's order takes long. `devices` may be NULL when count is 0.
coldpress_status coldpress_get_devices(coldpress_pager* pager, coldpress_device* devices, size_t count,
                                       size_t size, size_t* all, coldpress_error* error);
// The settings as coldpress_set() takes them, each ended by a new line; 1,024 bytes always do. OUT_OF_RANGE:
// `bytes` do not. Waits, and is REFUSED, as coldpress_get_devices().
coldpress_status coldpress_get_settings(coldpress_pager* pager, char* text, size_t bytes,
                                        coldpress_error* error);

// A moment's counters; names as in the kernel's vmstat (docs/stats.md).
typedef struct coldpress_pager_statistics {
  uint64_t limit_bytes, resident_bytes, pool_bytes, metadata_bytes;
  uint64_t stored_pages, stored_bytes, swap_pages, swap_bytes, same_filled_pages;
  uint64_t pgfault, pgmajfault, zswpin, zswpout, pswpin, pswpout, written_back_pages;
  uint64_t limit_exceeded, decompress_fail, swap_read_fail, swap_write_fail;
  uint64_t kept_bytes, swap_total_bytes, swap_free_bytes, swap_ra, swap_ra_hit;
  uint64_t workingset_refault, workingset_activate, direct_reclaim;
  // The time that the program's threads waited for pages, some or all of them: of the last 10, 60 and 300 s,
  // in percent.
  double some_avg10, some_avg60, some_avg300, full_avg10, full_avg60, full_avg300;
  uint64_t some_total_us, full_total_us;
} coldpress_pager_statistics;

// `size` is sizeof *statistics; what the library does not know of it is 0.
coldpress_status coldpress_get_statistics(const coldpress_pager* pager,
                                          coldpress_pager_statistics* statistics, size_t size);

// --- groups: regions with limits of their own, within the pager's limit, which holds for all together.
// A group over its limits gives up its own pages, never another's; what it takes counts for the groups above
// it, too.

#define COLDPRESS_NO_LIMIT UINT64_MAX

typedef struct coldpress_group_limits {
  size_t struct_size;
  // In memory and compressed. At max a touch of a page that is out takes another of the group's pages first;
  // above high that happens in the background.
  uint64_t max_bytes, high_bytes;
  uint64_t zswap_max_bytes;  // compressed; 0: everything goes on to a device
  uint64_t swap_max_bytes;   // of pages that are on devices
  int zswap_writeback;       // 0: no pages go to devices; 1: they may, if that is so everywhere above
  int reserved;              // 0
} coldpress_group_limits;

#define COLDPRESS_GROUP_LIMITS_INIT                                                             \
  {                                                                                             \
    sizeof(coldpress_group_limits), COLDPRESS_NO_LIMIT, COLDPRESS_NO_LIMIT, COLDPRESS_NO_LIMIT, \
        COLDPRESS_NO_LIMIT, 1, 0                                                                \
  }

typedef struct coldpress_group_statistics {
  uint64_t current_bytes, peak_bytes;  // what max and high limit
  uint64_t resident_bytes, stored_pages, stored_bytes, swap_bytes;
  uint64_t events_high, events_max, events_swap_max, events_zswap_max, limit_exceeded;
  uint64_t pgfault, pgmajfault, zswpin, zswpout, zswpwb, pswpin, pgsteal, workingset_refault;
  // The time that some thread waited for a page of the group: of the last 10, 60 and 300 s, in percent.
  double some_avg10, some_avg60, some_avg300;
  uint64_t some_total_us;
} coldpress_group_statistics;

// A group below `parent`, or below the pager itself (parent NULL); limits NULL: none. NO_MEMORY also when
// there are too many (63, those counted that were destroyed and have something left in a clone).
coldpress_status coldpress_group_create(coldpress_pager* pager, const coldpress_group_limits* limits,
                                        const coldpress_group* parent, coldpress_group** group);
// Regions and groups that outlive it belong to the one above it. NULL: nothing happens.
void coldpress_group_destroy(coldpress_group* group);
// At any time; what is over a lower limit goes from now on (of what is on devices: no more goes there).
coldpress_status coldpress_group_set_limits(coldpress_group* group, const coldpress_group_limits* limits);
// `size` is sizeof *limits. What is told may be changed and set again.
coldpress_status coldpress_group_get_limits(const coldpress_group* group, coldpress_group_limits* limits,
                                            size_t size);
// Gives so much of the group's memory back now. INCOMPLETE: not all of it.
coldpress_status coldpress_group_reclaim(coldpress_group* group, uint64_t bytes);
// `size` is sizeof *statistics; what the library does not know of it is 0.
coldpress_status coldpress_group_get_statistics(const coldpress_group* group,
                                                coldpress_group_statistics* statistics, size_t size);

// --- regions

// A region of `bytes` (rounded up to pages), zero-filled; group NULL: of the pager itself. NO_MEMORY also
// when the system refuses the registration.
coldpress_status coldpress_map(coldpress_pager* pager, size_t bytes, const coldpress_group* group,
                               coldpress_region** region);
// The memory is gone afterwards. NULL: nothing happens.
void coldpress_unmap(coldpress_region* region);

// NULL, and 0, of NULL. Neither changes while the region is there.
void* coldpress_region_data(const coldpress_region* region);
size_t coldpress_region_size(const coldpress_region* region);

// Each takes a part of the region, which is widened to whole pages (drop: narrowed). offset + bytes is at
// most the region's size, else OUT_OF_RANGE.

// The part will not be needed soon: its pages go now (as MADV_PAGEOUT).
coldpress_status coldpress_region_cold(coldpress_region* region, size_t offset, size_t bytes);
// What the use of the part so far has told is forgotten: nothing goes now, but of what must go next it is not
// spared (as MADV_COLD).
coldpress_status coldpress_region_deactivate(coldpress_region* region, size_t offset, size_t bytes);
// The part will be needed soon: its pages come now.
coldpress_status coldpress_region_willneed(coldpress_region* region, size_t offset, size_t bytes);
// The part's pages come, those never touched as well, and stay until coldpress_region_unpin(), or until they
// are dropped. They count towards the limit. Pins do not add up: one unpin ends all of a page. DAMAGED: not
// all could come; or too many separate parts are pinned (65,536 always fit). Either way: what did come stays.
coldpress_status coldpress_region_pin(coldpress_region* region, size_t offset, size_t bytes);
coldpress_status coldpress_region_unpin(coldpress_region* region, size_t offset, size_t bytes);
// The part's content is given up; it reads zero afterwards (as MADV_DONTNEED). Not madvise(MADV_FREE): pages
// that are used again after it can not be taken out any more. REFUSED: the kernel does not do it (mlock()).
coldpress_status coldpress_region_drop(coldpress_region* region, size_t offset, size_t bytes);
// A region with the content of this one, in the same group, which it shares until one of them is written to
// or read: what is cold costs nothing twice. What others write to this one meanwhile may be in it or not.
// REFUSED: no memory; a part of this region is pinned, or was given up by madvise(MADV_FREE);
// mlockall(MCL_FUTURE).
coldpress_status coldpress_region_clone(coldpress_region* region, coldpress_region** clone);

#ifdef __cplusplus
}
#endif
