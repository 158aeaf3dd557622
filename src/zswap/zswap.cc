#include "zswap/zswap.h"

#include <cstring>

#include "codec/page_content.h"
#include "sync/explore.h"

namespace coldpress::zswap {

using memgroup::add_to;
namespace {
// Beyond this zsmalloc's classes hold one object a page: storing would save nothing.
constexpr std::size_t kMaxStoredBytes = 3264;
}  // namespace

bool Zswap::init(MemorySource& source, memgroup::Group& group, std::uint64_t pool_bytes,
                 std::size_t max_entries) {
  group_ = &group;
  sync::name_object(mutex_, "zswap");
  sync::name_each(&lists_[0].count, memgroup::kMaxAccounts, "entries of account", 0, sizeof(List));
  sync::name_object(wanted_codec_, "wanted codec");
  sync::name_object(enabled_, "zswap enabled");
  sync::name_object(pattern_end_, "pattern end");
  sync::name_object(entry_end_, "entry end");
  return pool_.init(source, pool_bytes) && kept_.init(source, group.limit()) &&
         entries_.init(source, max_entries) && patterns_.init(source, kPatterns) &&
         patterns_.grow_to(kPatterns);
}

std::uint64_t Zswap::metadata_pages() {
  return pool_.metadata_pages() +
         bytes_to_pages(std::uint64_t{entry_end_.load(sync::kRelaxed)} * sizeof(Entry)) +
         bytes_to_pages(pattern_end_.load(sync::kRelaxed) * sizeof(std::uint64_t)) +
         bytes_to_pages(kept_.metadata_bytes());
}

bool Zswap::pattern_index(std::uint64_t word, std::uint32_t* index) {
  if (word == 0) {
    *index = 0;
    return true;
  }
  // Real programs repeat few patterns; a table that is full sends the page to the codec, which does well too.
  std::uint32_t end = pattern_end_.load(sync::kAcquire);
  std::uint32_t i = 1;
  for (; i < end; ++i) {
    if (patterns_[i] == word) break;
    if (i == 64) return false;  // a search longer than this costs more than compressing
  }
  if (i == end) {
    sync::MutexLock lock(mutex_);
    end = pattern_end_.load(sync::kRelaxed);
    for (i = 1; i < end && patterns_[i] != word; ++i) {
    }
    if (i == end) {
      if (end > 64) return false;
      patterns_[end] = word;
      pattern_end_.store(end + 1, sync::kRelease);
    }
  }
  *index = i;
  return true;
}

std::uint32_t Zswap::add_entry(const Entry& filled) {
  sync::MutexLock lock(mutex_);
  std::uint32_t entry = first_free_;
  if (entry != 0) {
    first_free_ = entries_[entry].handle.value;
  } else {
    entry = entry_end_.load(sync::kRelaxed);
    if (!entries_.grow_to(std::size_t{entry} + 1)) return 0;
    entry_end_.store(entry + 1, sync::kRelaxed);
  }
  entries_[entry] = filled;
  put_on(entry);
  return entry;
}

void Zswap::put_on(std::uint32_t entry) {
  lists_[entries_[entry].account].count.fetch_add(1, sync::kRelaxed);
  push_young(entry);
}

void Zswap::take_off(std::uint32_t entry) {
  lists_[entries_[entry].account].count.fetch_sub(1, sync::kRelaxed);
  unlink(entry);
}

void Zswap::push_young(std::uint32_t entry) {
  Entry& e = entries_[entry];
  List& list = lists_[e.account];
  e.next = 0;
  e.previous = list.youngest;
  (list.youngest != 0 ? entries_[list.youngest].next : list.oldest) = entry;
  list.youngest = entry;
}

void Zswap::unlink(std::uint32_t entry) {
  const Entry& e = entries_[entry];
  List& list = lists_[e.account];
  (e.previous != 0 ? entries_[e.previous].next : list.oldest) = e.next;
  (e.next != 0 ? entries_[e.next].previous : list.youngest) = e.previous;
}

bool Zswap::next_victim(Victim* victim, memgroup::AccountId account) {
  sync::MutexLock lock(mutex_);
  // An entry is stored with its second chance; the second time around nobody has one left.
  const List& list = lists_[account];
  for (int passes = 0; list.oldest != 0; ++passes) {
    std::uint32_t entry = list.oldest;
    Entry& e = entries_[entry];
    unlink(entry);
    push_young(entry);
    constexpr int kMostPasses = 64;  // of what others wait for the mutex
    bool referenced = e.referenced;
    e.referenced = false;
    if (referenced && passes < kMostPasses) continue;
    *victim = {entry, swap::Owner::of({e.slot, e.generation}, account)};
    if (sync::is_mutant(sync::Mutant::kIsolateVictim)) unlink(entry);
    return true;
  }
  return false;
}

void Zswap::validate() {
  sync::MutexLock lock(mutex_);
  std::uint32_t listed = 0, live = 0, kept = 0;
  for (const List& list : lists_) {
    std::uint32_t previous = 0, before = listed;
    for (std::uint32_t entry = list.oldest; entry != 0; entry = entries_[entry].next) {
      const Entry& e = entries_[entry];
      COLDPRESS_CHECK(e.previous == previous && e.length != 0 && !e.writing && &lists_[e.account] == &list);
      previous = entry;
      ++listed;
      COLDPRESS_CHECK(listed <= entry_end_.load(sync::kRelaxed));
    }
    COLDPRESS_CHECK(previous == list.youngest && listed - before == list.count.load());
  }
  for (std::uint32_t entry = 1; entry < entry_end_.load(sync::kRelaxed); ++entry) {
    const Entry& e = entries_[entry];
    live += e.is_listed() ? 1 : 0;
    kept += e.length != 0 && e.kept ? 1 : 0;
  }
  COLDPRESS_CHECK(listed == live && kept == kept_.count());
}

std::size_t Zswap::list(std::uint32_t entry, std::span<Victim> found) {
  std::size_t count = 0;
  sync::MutexLock lock(mutex_);
  std::uint32_t end = entry_end_.load(sync::kRelaxed);
  while (++entry < end && count < found.size()) {
    const Entry& e = entries_[entry];
    if (e.is_listed()) found[count++] = {entry, swap::Owner::of({e.slot, e.generation}, e.account)};
  }
  return count;
}

std::size_t Zswap::recompress(Worker& worker, std::byte* page, std::uint32_t entry) {
  constexpr std::size_t kWorthPercent = 85;
  Entry& e = entries_[entry];
  if (e.age == kTried || e.writing || e.codec == codec::Kind::kZstd) return 0;
  e.age = e.age == 0 ? 1 : kTried;
  if (e.age == 1) return 0;
  // What is damaged is found out, and told, by whoever needs the page.
  if (load(worker, entry, page) != LoadResult::kLoaded) return 0;
  std::size_t before = e.length;
  std::size_t length = worker.dense->compress(page, worker.buffer, before * kWorthPercent / 100);
  if (length == 0) return 0;
  std::uint32_t grown_pages = 0;
  zspool::Handle handle = pool_.allocate(length, &grown_pages);
  if (!handle) return 0;
  group_->charge(grown_pages);
  sync::mark("zswap: an object is packed again");
  std::memcpy(zspool::Pinned(pool_, handle).data(), worker.buffer, length);
  group_->uncharge(pool_.free(e.handle, before));
  count_stored(e.account, 0, static_cast<std::int64_t>(length) - static_cast<std::int64_t>(before));
  sync::MutexLock lock(mutex_);
  e.handle = handle;
  e.length = static_cast<std::uint16_t>(length);
  e.codec = worker.dense->kind();
  return before - length;
}

StoreResult Zswap::store(Worker& worker, const std::byte* page, swap::Owner owner, bool keep_raw,
                         std::uint32_t* payload) {
  memgroup::Stats& stats = group_->stats();
  if (auto word = codec::same_filled(page); word && pattern_index(*word, payload)) {
    add_to(stats.swpout_zero);
    add_to(stats.same_filled_pages);
    group_->accounts().count(owner.account, &memgroup::Account::swpout_zero);
    return StoreResult::kSame;
  }
  if (codec_chosen_.load(sync::kAcquire)) {
    codec::Choice wanted = wanted_codec_.load(sync::kRelaxed);
    if (worker.codec.choice() != wanted) {
      COLDPRESS_CHECK(worker.codec.init(wanted, worker.workspace, worker.workspace_bytes));
    }
  }
  swap::Content content{worker.buffer, 0, static_cast<std::uint8_t>(worker.codec.kind()), 0};
  bool compresses = enabled();
  if (compresses) {
    content.length = static_cast<std::uint16_t>(worker.codec.compress(page, worker.buffer, kMaxStoredBytes));
  }
  if (content.length == 0) {
    if (compresses) add_to(stats.reject_compress_poor);
    if (!keep_raw) return StoreResult::kIncompressible;
    content = {page, kPageBytes, static_cast<std::uint8_t>(codec::Kind::kRaw), 0};
  }
  content.checksum = codec::page_checksum(page);
  if (!put(content, owner, payload)) return StoreResult::kNoMemory;
  count_out(owner.account);
  return StoreResult::kCompressed;
}

bool Zswap::put(const swap::Content& content, swap::Owner owner, std::uint32_t* entry) {
  memgroup::Stats& stats = group_->stats();
  std::uint32_t grown_pages = 0;
  zspool::Handle handle = pool_.allocate(content.length, &grown_pages);
  group_->charge(grown_pages);
  if (handle) {
    // Complete before anybody can find it.
    if (sync::is_mutant(sync::Mutant::kWriteUnpinned)) {
      std::byte* where = pool_.data(handle);
      sync::let_others_run();
      std::memcpy(where, content.data, content.length);
    } else {
      std::memcpy(zspool::Pinned(pool_, handle).data(), content.data, content.length);
    }
    Entry filled{};
    filled.handle = handle;
    filled.checksum = content.checksum;
    filled.slot = owner.slot;
    filled.generation = owner.generation;
    filled.length = content.length;
    filled.codec = static_cast<codec::Kind>(content.codec);
    filled.account = owner.account;
    filled.referenced = true;
    *entry = add_entry(filled);
  }
  if (!handle || *entry == 0) {
    if (handle && !sync::is_mutant(sync::Mutant::kKeepObject)) {
      group_->uncharge(pool_.free(handle, content.length));
    }
    add_to(stats.reject_alloc_fail);
    return false;
  }
  count_stored(owner.account, 1, content.length);
  return true;
}

// Of what is in the pool and somebody's. Gauges: what is taken from them wraps.
void Zswap::count_stored(memgroup::AccountId account, std::int64_t entries, std::int64_t bytes) {
  add_to(group_->stats().stored_pages, static_cast<std::uint64_t>(entries));
  add_to(group_->stats().stored_bytes, static_cast<std::uint64_t>(bytes));
  group_->accounts().charge_stored(account, entries, bytes);
}

void Zswap::count_out(memgroup::AccountId account) {
  add_to(group_->stats().zswpout);
  group_->accounts().count(account, &memgroup::Account::zswpout);
}

LoadResult Zswap::load(Worker& worker, std::uint32_t entry, std::byte* page) {
  return with_content(entry, [&](const swap::Content& content) { return unpack(worker, content, page); });
}

LoadResult Zswap::unpack(Worker& worker, const swap::Content& content, std::byte* page) {
  if (worker.codec.decompress(static_cast<codec::Kind>(content.codec), content.data, content.length, page) &&
      codec::page_checksum(page) == content.checksum) {
    return LoadResult::kLoaded;
  }
  return LoadResult::kDamaged;
}

std::size_t Zswap::drop(std::uint32_t entry) {
  Entry& e = entries_[entry];
  std::size_t length = e.length;
  group_->uncharge(pool_.free(e.handle, length));
  count_stored(e.account, -1, -static_cast<std::int64_t>(length));
  sync::MutexLock lock(mutex_);
  take_off(entry);
  free_entry(entry);
  return length;
}

void Zswap::free_entry(std::uint32_t entry) {
  entries_[entry].length = 0;
  entries_[entry].handle.value = first_free_;
  first_free_ = entry;
}

void Zswap::load_same(std::uint32_t pattern, std::byte* page) const {
  codec::fill_page(page, patterns_[pattern]);
}

}  // namespace coldpress::zswap
