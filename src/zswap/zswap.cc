#include "zswap/zswap.h"

#include <cstring>

#include "codec/page_content.h"

namespace coldpress::zswap {

using memgroup::add_to;
using memgroup::take_from;
namespace {
// Beyond this zsmalloc's classes hold one object a page: storing would save nothing.
constexpr std::size_t kMaxStoredBytes = 3264;
}  // namespace

bool Zswap::init(MemorySource& source, memgroup::Group& group, std::uint64_t pool_bytes,
                 std::size_t max_entries) {
  group_ = &group;
  return pool_.init(source, pool_bytes) && entries_.init(source, max_entries) &&
         patterns_.init(source, kPatterns) && patterns_.grow_to(kPatterns);
}

std::uint64_t Zswap::metadata_pages() {
  return pool_.metadata_pages() +
         bytes_to_pages(std::uint64_t{entry_end_.load(sync::kRelaxed)} * sizeof(Entry)) +
         bytes_to_pages(pattern_end_.load(sync::kRelaxed) * sizeof(std::uint64_t));
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

std::uint32_t Zswap::take_entry() {
  sync::MutexLock lock(mutex_);
  std::uint32_t entry = free_entry_;
  if (entry != 0) {
    free_entry_ = entries_[entry].handle.value;
    return entry;
  }
  entry = entry_end_.load(sync::kRelaxed);
  if (!entries_.grow_to(std::size_t{entry} + 1)) return 0;
  entry_end_.store(entry + 1, sync::kRelaxed);
  return entry;
}

StoreResult Zswap::store(Worker& worker, const std::byte* page, std::uint32_t* payload) {
  memgroup::Stats& stats = group_->stats();
  if (auto word = codec::same_filled(page); word && pattern_index(*word, payload)) {
    add_to(stats.swpout_zero);
    add_to(stats.same_filled_pages);
    return StoreResult::kSame;
  }
  std::size_t length = worker.codec.compress(page, worker.buffer, kMaxStoredBytes);
  if (length == 0) {
    add_to(stats.reject_compress_poor);
    return StoreResult::kIncompressible;
  }
  std::uint32_t grown_pages = 0;
  zspool::Handle handle = pool_.allocate(length, &grown_pages);
  group_->charge(grown_pages);
  std::uint32_t entry = handle ? take_entry() : 0;
  if (entry == 0) {
    if (handle) group_->uncharge(pool_.free(handle, length));
    add_to(stats.reject_compress_fail);
    return StoreResult::kNoMemory;
  }
  std::memcpy(pool_.data(handle), worker.buffer, length);
  entries_[entry] = {
      handle, codec::page_checksum(page), static_cast<std::uint16_t>(length), worker.codec.kind(), 0, 0};
  add_to(stats.zswpout);
  add_to(stats.stored_pages);
  add_to(stats.stored_bytes, length);
  *payload = entry;
  return StoreResult::kCompressed;
}

LoadResult Zswap::load(Worker& worker, std::uint32_t entry, std::byte* page) {
  const Entry& e = entries_[entry];
  if (worker.codec.decompress(e.codec, pool_.data(e.handle), e.length, page) &&
      codec::page_checksum(page) == e.checksum) {
    return LoadResult::kLoaded;
  }
  add_to(group_->stats().decompress_fail);
  return LoadResult::kDamaged;
}

void Zswap::drop(std::uint32_t entry) {
  Entry& e = entries_[entry];
  std::size_t length = e.length;
  group_->uncharge(pool_.free(e.handle, length));
  take_from(group_->stats().stored_pages);
  take_from(group_->stats().stored_bytes, length);
  sync::MutexLock lock(mutex_);
  e.handle.value = free_entry_;
  free_entry_ = entry;
}

void Zswap::load_same(std::uint32_t pattern, std::byte* page) const {
  codec::fill_page(page, patterns_[pattern]);
}

}  // namespace coldpress::zswap
