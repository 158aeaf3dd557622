#include "vm/space.h"

#include "sync/explore.h"

namespace coldpress::vm {

using memgroup::add_to;
using memgroup::take_from;

bool Space::init(MemorySource& source, os::Mmu& mmu, memgroup::Group& group, const SpaceOptions& options) {
  mmu_ = &mmu;
  group_ = &group;
  max_pool_percent_.store(options.max_pool_percent);
  accept_threshold_percent_.store(options.accept_threshold_percent);
  counted_ = options.counted;
  sync::name_object(layout_, "layout");
  sync::name_object(scan_mutex_, "scan");
  sync::name_object(uncounted_, "uncounted");
  sync::name_object(pool_full_, "pool full");
  sync::name_object(swap_offered_, "swap offered");
  sync::name_object(writing_, "writing");
  sync::name_object(device_stuck_, "device stuck");
  sync::name_object(writes_settled_, "writes settled");
  sync::name_object(captures_, "captures");
  sync::name_object(paused_, "paused");
  sync::name_object(shrinker_, "shrinker");
  sync::name_object(hopeless_, "hopeless");
  sync::name_object(readahead_, "readahead");
  sync::name_object(turns_, "turns");
  constexpr std::size_t kMaxRegions = 1 << 17;
  sync::MutexLock lock(layout_);
  return table_.init(source, options.max_leaves) && regions_.init(source, kMaxRegions) &&
         pinned_.init(source, kMaxRegions) && owners_.init(source, kMaxRegions) &&
         group.accounts().init(source) && overtaken_.init(source, options.max_slots) &&
         moved_lately_.init(source, kMaxRegions) && left_lately_.init(source, kMaxRegions) &&
         gone_lately_.init(source, kMaxRegions) && kept_lately_.init(source, kMaxRegions) &&
         slots_.init(source, options.max_slots) && frames_.init(source, mmu.frame_count()) &&
         zswap_.init(source, group, options.pool_bytes, options.max_slots) &&
         devices_.init(source, options.max_slots);
}

Space::Adopted Space::adopt(PageRange range, Worker& worker) {
  const int tries = worker.background ? 4 : 256;  // the background comes back soon
  for (int i = 0; i < tries; ++i) {
    {
      sync::MutexLock lock(layout_);
      Adopted adopted = try_adopt(range);
      if (adopted != Adopted::kLater) return adopted;
    }
    for (int taken = 0; taken < 64 && drain_messages(worker); ++taken) {
    }
    handle_pending(worker);  // threads wait for what was put aside on the way
  }
  return Adopted::kLater;
}

// Only what is not managed yet, and only while no change is under way: what is registered is what messages
// that were not read yet are judged by (see layout.cc, order). A change can still begin before the
// registration; the second question keeps the regions from running ahead of its message.
Space::Adopted Space::try_adopt(PageRange range) {
  while (!range.empty()) {
    PageRange known = intersect(regions_.at_or_after(range.begin), range);
    PageRange part{range.begin, known.empty() ? range.end : known.begin};
    if (!part.empty()) {
      if (mmu_->changing()) return Adopted::kLater;
      forget_moves();
      // From here on every hole of the part faults to the engine, and every change of it is announced. Its
      // page words are clean by invariant 4.
      if (!mmu_->register_range(part)) return Adopted::kRefused;
      add_to(group_->stats().adoptions);
      mmu_->hide_from_fork(part, !paused_.load());  // paused: a fork is about to happen
      // The caller's view of the mappings may be old and the part have holes, where anything may be mapped
      // next.
      for (PageIndex at = part.begin; at < part.end;) {
        PageRange found[16];
        std::size_t runs = mmu_->scan_registered({at, part.end}, found, &at);
        if (mmu_->changing()) return Adopted::kLater;
        if (sync::is_mutant(sync::Mutant::kAdoptBlind)) found[0] = part, runs = 1;
        for (std::size_t i = 0; i < runs; ++i) {
          if (!regions_.add(found[i])) return Adopted::kRefused;
        }
      }
    }
    range.begin = known.empty() ? range.end : known.end;
  }
  return Adopted::kYes;
}

bool Space::any_registered(PageRange range) {
  PageRange found[1];
  PageIndex scanned_to;
  return mmu_->scan_registered(range, found, &scanned_to) != 0;
}

void Space::forget(PageRange range) {
  sync::MutexLock lock(layout_);
  ++layout_changes_;
  drop_range(range, false);
  regions_.remove(range);
  pinned_.remove(range);
  owners_.remove(range);
}

bool Space::release(PageRange range, Worker& worker) {
  {
    sync::MutexLock lock(layout_);
    ++layout_changes_;
    regions_.remove(range);  // reclaim does not come back
  }
  if (!page_in(range, worker)) return false;
  sync::MutexLock lock(layout_);
  mmu_->hide_from_fork(range, false);
  mmu_->unregister_range(range);
  drop_range(range, false);
  owners_.remove(range);
  return true;
}

bool Space::managed(PageRange range) {
  sync::MutexLock lock(layout_);
  return regions_.contains(range);
}

bool Space::set_pinned(PageRange range, bool pinned) {
  sync::MutexLock lock(layout_);
  if (pinned) return pinned_.add(range);
  if (!pinned_.has_room()) return false;
  pinned_.remove(range);
  hope_again();
  return true;
}

std::uint64_t Space::metadata_pages() {
  sync::MutexLock lock(layout_);
  return table_.metadata_pages() + regions_.metadata_pages() + slots_.metadata_pages() +
         frames_.metadata_pages() + zswap_.metadata_pages() + devices_.metadata_pages();
}

void Space::update_gauges() {
  memgroup::Stats& stats = group_->stats();
  std::uint64_t pool = zswap_.pool().held_pages(), metadata = metadata_pages();
  std::uint64_t frames = frames_.populated_frames();
  auto usage = static_cast<std::uint64_t>(group_->usage() > 0 ? group_->usage() : 0);
  std::uint64_t engine = pool + metadata + frames;
  stats.pool_bytes.store(pool << kPageShift, sync::kRelaxed);
  stats.kept_copies.store(zswap_.kept_copies(), sync::kRelaxed);
  stats.kept_bytes.store(zswap_.kept_bytes(), sync::kRelaxed);
  stats.zswap_incomp.store(zswap_.raw_pages(), sync::kRelaxed);
  stats.metadata_bytes.store(metadata << kPageShift, sync::kRelaxed);
  stats.frame_bytes.store(frames << kPageShift, sync::kRelaxed);
  stats.swap_pages.store(devices_.records(), sync::kRelaxed);
  stats.swap_bytes.store(devices_.stored_bytes(), sync::kRelaxed);
  swap::DeviceStore::Use devices = devices_.use();
  stats.swap_total_bytes.store(devices.size_bytes, sync::kRelaxed);
  stats.swap_free_bytes.store(devices.size_bytes - devices.used_bytes, sync::kRelaxed);
  stats.swap_cache_pages.store(frames_.owned_frames(), sync::kRelaxed);
  stats.rss_anon_bytes.store(usage << kPageShift, sync::kRelaxed);
  stats.resident_bytes.store((usage > engine ? usage - engine : 0) << kPageShift, sync::kRelaxed);
  if ((usage << kPageShift) > stats.peak_rss_anon_bytes.load(sync::kRelaxed)) {
    stats.peak_rss_anon_bytes.store(usage << kPageShift, sync::kRelaxed);
  }
}

void Space::store_word(PageIndex page, PageWord word) {
  PageTable::Word* at = word.raw() == 0 ? table_.find(page) : table_.ensure(page);
  if (at == nullptr) {
    // Hints may be lost; what says whose the bytes are may not.
    COLDPRESS_CHECK(!word.is_out() && !word.is_zapped() && !word.is_poisoned());
    forget_word(word);  // nobody is charged without it
    return;
  }
  at->store(word.raw(), sync::kRelease);  // E
}

}  // namespace coldpress::vm
