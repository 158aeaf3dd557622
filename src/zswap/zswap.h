// Compressed pages: content in, content out; and the order in which they leave for a swap device.
//
// store() classifies a page (same-filled, compressible, neither) and puts its bytes in the pool; load()
// brings them back and verifies them. Who owns the bytes is said by the slot word, not here: a caller holds
// the slot's lock around every call that names its entry or pattern.
//
// The LRU, one for each account. An entry is on its list from store() to drop() or keep(). Whoever looks for
// victims never takes one off: it goes to the young end, and what is known of it is copied (next_victim()).
// By the time its slot is locked it may be gone, its number given to another page; slot, generation and
// payload tell (vm/writeback.cc).
//
// Invariants
//  1. An entry's bytes are complete before store() returns it.
//  2. load() returns the bytes that were stored, or kDamaged; never other bytes.
//  3. load() changes nothing: the same bytes load again until drop().
//  4. An entry leaves the LRU in drop() and keep() only, with its slot locked.
//  5. An entry is on the LRU, or in the table of kept copies, or in the hands of who took it out of that.
//
// Thread safety: all functions from any thread, each with its own Worker. Lock order: below the slot.
// Metadata: 28 bytes an entry and 8 bytes of handle.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "codec/codec.h"
#include "memgroup/group.h"
#include "swap/device_store.h"
#include "sync/mutex.h"
#include "zspool/zspool.h"
#include "zswap/kept_copies.h"

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
  codec::Codec* dense = nullptr;   // for recompress(): packs harder
  std::byte* workspace = nullptr;  // of the codec; large enough for any, where set_codec() is used
  std::size_t workspace_bytes = 0;
  std::byte* buffer = nullptr;  // a page: compressed bytes on their way, or a page on its way to the program
};

class Zswap {
 public:
  [[nodiscard]] bool init(MemorySource& source, memgroup::Group& group, std::uint64_t pool_bytes,
                          std::size_t max_entries);

  // `keep_raw`: what does not compress, or may not be, is stored as it is, to go to a device when its turn
  // comes.
  StoreResult store(Worker& worker, const std::byte* page, swap::Owner owner, bool keep_raw,
                    std::uint32_t* payload);
  // Takes what was compressed before. false: no memory.
  bool put(const swap::Content& content, swap::Owner owner, std::uint32_t* entry);
  LoadResult load(Worker& worker, std::uint32_t entry, std::byte* page);
  // Content that is not, or not any more, in the pool.
  LoadResult unpack(Worker& worker, const swap::Content& content, std::byte* page);
  // Returns what it took.
  std::size_t drop(std::uint32_t entry);

  // --- kept copies (kept_copies.h)
  // Instead of drop(), when the page is in memory now: keeps the bytes in case it goes out as it is. false:
  // not this one; drop() it.
  bool keep(std::uint32_t entry, PageIndex page);
  // Instead of store(): the page's copy, if there is one and it has the same bytes, is its entry now. Else
  // there is no copy any more.
  bool store_kept(Worker& worker, const std::byte* bytes, PageIndex page, swap::Owner owner,
                  std::uint32_t* entry);
  // Gives up copies: those of the range's pages; some, whichever (false: there are none); those that were
  // not used for long, by a turn of the sweep in `turns` calls.
  void forget_kept(PageRange range);
  bool drop_kept();
  bool keeps_too_many() const;  // since the limit was lowered
  void age_kept(std::size_t turns);
  std::uint64_t kept_bytes() const { return kept_.bytes(); }
  std::uint64_t kept_copies() {
    sync::MutexLock lock(mutex_);
    return kept_.count();
  }

  void load_same(std::uint32_t pattern, std::byte* page) const;
  bool is_zero(std::uint32_t pattern) const { return pattern == 0; }

  // Disabled: nothing is compressed from now on; what is in the pool loads as before. Pages of one repeated
  // word are not compressed anyway.
  void set_enabled(bool enabled) { enabled_.store(enabled, sync::kRelaxed); }
  bool enabled() const { return enabled_.load(sync::kRelaxed); }
  // What is stored from now on is compressed so; what is in the pool loads as before.
  void set_codec(codec::Choice choice) {
    wanted_codec_.store(choice, sync::kRelaxed);
    codec_chosen_.store(true, sync::kRelease);
  }

  struct Victim {
    std::uint32_t entry;
    swap::Owner owner;
  };
  // The account's oldest entry, given its second chance, or next in turn for the device; it becomes the
  // youngest. false: there are no entries.
  bool next_victim(Victim* victim, memgroup::AccountId account = memgroup::kProcess);
  // Entries of the account; a hint.
  std::uint32_t listed(memgroup::AccountId account) const {
    return lists_[account].count.load(sync::kRelaxed);
  }
  // Calls use(content) with the bytes of an entry, which stay in place meanwhile.
  template <typename Use>
  auto with_content(std::uint32_t entry, Use use) {
    const Entry& e = entries_[entry];
    zspool::Pinned object(pool_, e.handle);
    return use(swap::Content{object.data(), e.length, static_cast<std::uint8_t>(e.codec), e.checksum});
  }
  // Live entries after `entry` (0: from the first), in no order that means anything. Fewer than there is room
  // for: there are no more.
  std::size_t list(std::uint32_t entry, std::span<Victim> found);
  // Calls visit(account, bytes) for each entry.
  template <typename Visit>
  void for_each(Visit visit) {
    sync::MutexLock lock(mutex_);
    for (std::uint32_t entry = 1; entry < entry_end_.load(sync::kRelaxed); ++entry) {
      const Entry& e = entries_[entry];
      if (e.is_listed()) visit(e.account, e.length);
    }
  }
  // Packs an entry harder if it was met here before and that was not tried yet. `page`: a page of scratch
  // memory. Returns the bytes saved; 0: it stays as it is.
  std::size_t recompress(Worker& worker, std::byte* page, std::uint32_t entry);
  // Marks an entry as being written, so that it is not packed twice. False: it is marked already.
  bool begin_writing(std::uint32_t entry) { return !std::exchange(entries_[entry].writing, true); }
  bool is_writing(std::uint32_t entry) const { return entries_[entry].writing; }
  void end_writing(std::uint32_t entry) { entries_[entry].writing = false; }

  // CHECKs that the LRU lists every live entry once, the table every kept one, and that none is marked as
  // being written. For tests, while nobody else uses it and no write is under way.
  void validate();

  // Objects that are kept as they are: they alone are in the largest class.
  std::uint64_t raw_pages() const { return pool_.objects_of(zspool::ZsPool::class_count() - 1); }
  zspool::ZsPool& pool() { return pool_; }
  std::uint64_t metadata_pages();
  // For tests: where an entry's bytes lie, while nothing is compacted.
  std::byte* entry_bytes(std::uint32_t entry) const { return pool_.data(entries_[entry].handle); }

 private:
  struct Entry {
    zspool::Handle handle;  // free entries: next free in handle.value
    std::uint32_t checksum;
    SlotIndex slot;  // whose it is
    std::uint16_t generation;
    std::uint16_t length;
    codec::Kind codec : 4;
    std::uint8_t age : 4;          // kTried: recompress() has had it
    bool writing;                  // by the slot's lock, as all above
    memgroup::AccountId account;   // while it is an entry
    bool referenced : 1;           // by mutex_, as the rest
    bool kept : 1;                 // not on the list
    std::uint32_t next, previous;  // of the account: younger, older
    bool is_listed() const { return length != 0 && !kept; }
  };
  static_assert(sizeof(Entry) == 28);
  static constexpr std::uint32_t kPatterns = 4096;
  static constexpr std::uint8_t kTried = 15;

  struct List {
    std::uint32_t oldest = 0, youngest = 0;
    sync::Atomic<std::uint32_t> count{0};
  };

  void count_stored(memgroup::AccountId account, std::int64_t entries, std::int64_t bytes);
  void count_out(memgroup::AccountId account);
  bool pattern_index(std::uint64_t word, std::uint32_t* index);
  std::uint32_t add_entry(const Entry& filled);
  void push_young(std::uint32_t entry) REQUIRES(mutex_);
  void unlink(std::uint32_t entry) REQUIRES(mutex_);
  void put_on(std::uint32_t entry) REQUIRES(mutex_);
  void take_off(std::uint32_t entry) REQUIRES(mutex_);
  void free_entry(std::uint32_t entry) REQUIRES(mutex_);
  std::uint32_t take_kept(PageIndex page) EXCLUDES(mutex_);
  void free_kept(std::uint32_t entry) EXCLUDES(mutex_);
  template <typename Take>
  std::size_t free_some_kept(Take take) EXCLUDES(mutex_);
  bool sweep_kept(std::size_t places, bool all) EXCLUDES(mutex_);

  memgroup::Group* group_ = nullptr;
  sync::Atomic<codec::Choice> wanted_codec_{};
  sync::Atomic<bool> codec_chosen_{false};
  sync::Atomic<bool> enabled_{true};
  zspool::ZsPool pool_;
  ReservedArray<Entry> entries_;
  ReservedArray<std::uint64_t> patterns_;  // never shrinks; [0] is zero
  sync::Mutex mutex_;
  std::uint32_t first_free_ GUARDED_BY(mutex_) = 0;
  KeptCopies kept_;                     // but for the bytes, guarded by mutex_
  List lists_[memgroup::kMaxAccounts];  // by account; but for the counts, guarded by mutex_
  sync::Atomic<std::uint32_t> entry_end_{1};
  sync::Atomic<std::uint32_t> pattern_end_{1};
};

}  // namespace coldpress::zswap
