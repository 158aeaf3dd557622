// The counters of a managed process, under the kernel's names, in a shape that can be shared with another
// process: `coldpress stat` maps the page that holds them.
//
// Every field is a 64-bit atomic, written with relaxed order: a reader sees each counter exactly and their
// relation nearly. Events only grow; gauges (last group) are set.
#pragma once

#include <cstdint>

#include "sync/atomic.h"

namespace coldpress::memgroup {

// X(name): one line per counter, in the order shown.
#define COLDPRESS_COUNTERS(X)                                                            \
  X(pgfault)              /* faults served: all kinds */                                 \
  X(pgmajfault)           /* of these, loads from the pool */                            \
  X(pgfault_zero)         /* first touches of pages in registered ranges */              \
  X(swap_cache_hit)       /* captured page touched before it was compressed: put back */ \
  X(pswpin)               /* pages read from a swap device */                            \
  X(pswpout)              /* pages written to a swap device */                           \
  X(zswpin)               /* pages loaded from the pool */                               \
  X(zswpout)              /* pages compressed into the pool */                           \
  X(zswpout_kept)         /* of these, served by the copy that was kept */               \
  X(zswpwb)               /* pages written back from the pool */                         \
  X(zswpwb_proactive)     /* of these, because somebody asked for it */                  \
  X(swap_ra)              /* pages that came along with a fault */                       \
  X(swap_ra_hit)          /* of these, passed through before the next fault */           \
  X(swpin_zero)           /* same-filled pages loaded */                                 \
  X(swpout_zero)          /* same-filled pages stored */                                 \
  X(pgsteal)              /* pages captured */                                           \
  X(pgscan)               /* pages looked at by reclaim */                               \
  X(pgscan_busy)          /* pinned or shared pages that the kernel refused to move */   \
  X(workingset_refault)   /* pages that came back */                                     \
  X(workingset_activate)  /* of these, soon enough to have been a mistake */             \
  X(pool_limit_hit)       /* times that the pool was full, and writeback began */        \
  X(swap_max_hit)         /* writebacks that found swap.max reached */                   \
  X(zswap_max_hit)        /* writebacks and refused stores because of zswap.max */       \
  X(reject_compress_poor) /* pages that do not compress */                               \
  X(reject_alloc_fail)    /* stores that found no memory */                              \
  X(decompress_fail)      /* pages lost to a damaged object: poisoned */                 \
  X(written_back_pages)                                                                  \
  X(written_back_bytes)     /* what these took in the pool */                            \
  X(swap_read_fail)         /* pages that a swap device could not give back: poisoned */ \
  X(swap_write_fail)        /* pages that a swap device refused: kept in memory */       \
  X(recompressed_pages)     /* pages in the pool that were packed harder */              \
  X(recompress_saved_bytes) /* what that has saved, summed */                            \
  X(pool_compacted_pages)   /* pages of the pool that compaction gave back */            \
  X(limit_exceeded)         /* times that compression could not hold the limit */        \
  X(direct_reclaim)         /* faults that had to reclaim first */                       \
  X(forks)                                                                               \
  X(fork_torn)       /* forks whose child was filled by the parent and started afresh */ \
  X(layout_messages) /* munmap, mremap, madvise and fork seen */                         \
  X(adoptions)       /* ranges registered */

#define COLDPRESS_GAUGES(X)                                      \
  X(stored_pages)      /* pages compressed now */                \
  X(same_filled_pages) /* same-filled pages out now */           \
  X(swap_cache_pages)  /* captured, not yet compressed */        \
  X(stored_bytes)      /* compressed bytes now */                \
  X(kept_copies)       /* copies of pages that are in memory */  \
  X(kept_bytes)                                                  \
  X(zswap_incomp)     /* pages in the pool as they are */        \
  X(swap_pages)       /* pages on swap devices now */            \
  X(swap_bytes)       /* what they take there */                 \
  X(swap_total_bytes) /* of all devices */                       \
  X(swap_free_bytes)  /* of that, in segments with nothing */    \
  X(limit_bytes)                                                 \
  X(resident_bytes) /* anonymous memory of the program itself */ \
  X(pool_bytes)                                                  \
  X(metadata_bytes)                                              \
  X(frame_bytes)    /* frames that hold memory */                \
  X(rss_anon_bytes) /* as the kernel shows it */                 \
  X(peak_rss_anon_bytes)                                         \
  X(some_avg10) /* pressure (memgroup/pressure.h), 1/100 % */    \
  X(some_avg60)                                                  \
  X(some_avg300)                                                 \
  X(some_total_us)                                               \
  X(full_avg10)                                                  \
  X(full_avg60)                                                  \
  X(full_avg300)                                                 \
  X(full_total_us)

struct Stats {
  static constexpr std::uint64_t kMagic = 0x37535059434c4f43;  // "COLCYPS7": layout version
  sync::Atomic<std::uint64_t> magic{0};
  sync::Atomic<std::uint64_t> pid{0};
#define COLDPRESS_FIELD(name) sync::Atomic<std::uint64_t> name{0};
  COLDPRESS_COUNTERS(COLDPRESS_FIELD)
  COLDPRESS_GAUGES(COLDPRESS_FIELD)
#undef COLDPRESS_FIELD
};

inline void add_to(sync::Atomic<std::uint64_t>& counter, std::uint64_t by = 1) {
  counter.fetch_add(by, sync::kRelaxed);
}
inline void take_from(sync::Atomic<std::uint64_t>& gauge, std::uint64_t by = 1) {
  gauge.fetch_sub(by, sync::kRelaxed);
}

// Calls visit(name, value) for every field, events first.
template <typename Visit>
void for_each_field(const Stats& stats, Visit visit) {
#define COLDPRESS_FIELD(name) visit(#name, stats.name.load(sync::kRelaxed));
  COLDPRESS_COUNTERS(COLDPRESS_FIELD)
  COLDPRESS_GAUGES(COLDPRESS_FIELD)
#undef COLDPRESS_FIELD
}

}  // namespace coldpress::memgroup
