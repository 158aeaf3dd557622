// Compressed pages: content in, content out.
//
// store() classifies a page (same-filled, compressible, neither) and puts its bytes in the pool; load()
// brings them back and verifies them. Who owns the bytes is said by the slot word, not here: a caller holds
// the slot's lock around every call that names its entry or pattern.
//
// Invariants
//  1. An entry's bytes are complete before store() returns it.
//  2. load() returns the bytes that were stored, or kDamaged; never other bytes.
//  3. load() changes nothing: the same bytes load again until drop().
//
// Thread safety: all functions from any thread, each with its own Worker. Lock order: below the slot.
// Metadata: 16 bytes an entry and 8 bytes of handle.
#pragma once

#include <cstdint>

#include "codec/codec.h"
#include "memgroup/group.h"
#include "sync/mutex.h"
#include "zspool/zspool.h"

namespace coldpress::zswap {

enum class StoreResult {
  kCompressed,      // payload: entry
  kSame,            // payload: pattern
  kIncompressible,  // would not save enough; keep the page
  kNoMemory,        // pool or tables are full; keep the page
};

enum class LoadResult { kLoaded, kDamaged };

// A compression context and a buffer. One user at a time.
struct Worker {
  codec::Codec codec;
  std::byte* buffer = nullptr;  // a page: compressed bytes on their way, or a page on its way to the program
};

class Zswap {
 public:
  [[nodiscard]] bool init(MemorySource& source, memgroup::Group& group, std::uint64_t pool_bytes,
                          std::size_t max_entries);

  StoreResult store(Worker& worker, const std::byte* page, std::uint32_t* payload);
  LoadResult load(Worker& worker, std::uint32_t entry, std::byte* page);
  void drop(std::uint32_t entry);
  void load_same(std::uint32_t pattern, std::byte* page) const;
  bool is_zero(std::uint32_t pattern) const { return pattern == 0; }

  zspool::ZsPool& pool() { return pool_; }
  std::uint64_t metadata_pages();
  // For tests and tools: where an entry's bytes lie.
  std::byte* entry_bytes(std::uint32_t entry) const { return pool_.data(entries_[entry].handle); }

 private:
  struct Entry {
    zspool::Handle handle;  // free entries: next free in handle.value
    std::uint32_t checksum;
    std::uint16_t length;
    codec::Kind codec;
    std::uint8_t unused;
    std::uint32_t unused2;
  };
  static_assert(sizeof(Entry) == 16);
  static constexpr std::uint32_t kPatterns = 4096;

  bool pattern_index(std::uint64_t word, std::uint32_t* index);
  std::uint32_t take_entry();

  memgroup::Group* group_ = nullptr;
  zspool::ZsPool pool_;
  ReservedArray<Entry> entries_;
  ReservedArray<std::uint64_t> patterns_;  // never shrinks; [0] is zero
  sync::Mutex mutex_;
  std::uint32_t free_entry_ GUARDED_BY(mutex_) = 0;
  sync::Atomic<std::uint32_t> entry_end_{1};
  sync::Atomic<std::uint32_t> pattern_end_{1};
};

}  // namespace coldpress::zswap
