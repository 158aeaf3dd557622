// Reclaim: which pages go, and how.
//
// There are no accessed bits here. A hand goes round the managed ranges and captures what it finds, in runs,
// one atomic call each; captured pages rest uncompressed in a first-in first-out queue, and a touch there is
// a cheap fault that puts the frame back: the second chance. What rested long enough is compressed. A page
// that came back (from the queue, or from the pool before the resident set had turned over) is passed over
// by the hand for 2^n - 1 rounds, n growing with every return: pages in use pay logarithmically often.
//
// Memory comes free in two steps: compression leaves frames that hold memory and belong to nobody ("spent"),
// and they go back to the machine by groups. They are not used for loads (swap/frame_pool.h says why).
//
// Who captures. Taking a page out of the program's page table makes every other processor that runs a thread
// of the process stop and forget the old translation: 6 to 10 us for each run of pages, against 1.2 where the
// others sleep (docs/performance.md). So captures and compression take turns. While faults come often, a
// thread that serves one captures a group ahead, but only while the background reclaimer sleeps; then it
// wakes it, to compress. Faults that find it awake capture nothing, up to the limit. Without faults the
// background does both. What compression alone can not hold goes on to a swap device: writeback.cc.
#include <algorithm>
#include <bit>
#include <utility>

#include "base/log.h"
#include "sync/explore.h"
#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using memgroup::take_from;
namespace {

using os::MoveResult;
using os::MoveStatus;
using swap::kGroupFrames;
using swap::State;

constexpr unsigned kIncompressibleSkip = PageWord::kMaxSkip, kNoRoomSkip = 3;
constexpr std::int64_t kFirstPauseNs = 10'000'000, kLongestPauseNs = 1'000'000'000;

}  // namespace

bool Space::reclaim_to(std::int64_t target, Worker& worker, std::int64_t until_ns) {
  if (paused_.load(sync::kRelaxed)) return false;
  bool urgent = group_->usage() >= group_->limit();
  std::uint32_t failures = 0;
  // Captures before the first pages are old enough to be compressed; more take out only what comes back.
  std::uint64_t most_idle_steps = 4 * rest_target() / kGroupFrames + 64;
  std::uint64_t idle_steps = 0, gone = pages_gone(), gone_at_first = gone;
  DeviceWait device;
  std::size_t pending = worker.pending_count;
  while (group_->usage() > target) {
    if (worker.pending_count > pending) return true;  // threads wait for what was put aside on the way
    if (worker.background && target >= group_->low() && faults_do_it()) return true;
    device.ticket = writes_settled_.ticket();
    bool step = reclaim_step(urgent, worker);
    if (std::uint64_t now_gone = pages_gone(); now_gone != gone) {
      gone = now_gone;
      idle_steps = 0;
    }
    if (step && ++idle_steps <= most_idle_steps) {
      failures = 0;
      device.until_ns = 0;
    } else if (wait_for_device(device, worker)) {
      failures = 0;
    } else if (++failures >= kFutileTurns) {
      if (group_->usage() < group_->limit()) return false;
      if (shared_lately() && !hopeless_.shared_for_long()) {
        // They will be this process's own again in a moment: too early to give up.
        if (usage_source_ != nullptr) usage_source_->pressure();
      } else {
        limit_missed();
      }
      return false;
    }
    if (usage_source_ != nullptr && !usage_source_->keep_going()) return true;
    // Others may bring back what goes, for ever. Where nothing goes, that is to be found out.
    bool goes_on = failures == 0 && device.until_ns == 0 && gone != gone_at_first;
    if (until_ns != 0 && goes_on && sync::now_ns() > until_ns) return true;
    urgent = group_->usage() >= group_->limit();
  }
  hopeless_.pause_ns.store(0, sync::kRelaxed);
  hopeless_.shared_since_ns.store(0, sync::kRelaxed);
  return true;
}

// Pages that went out, or on, or were made room by.
std::uint64_t Space::pages_gone() const {
  const memgroup::Stats& stats = group_->stats();
  return stats.zswpout.load(sync::kRelaxed) + stats.swpout_zero.load(sync::kRelaxed) +
         stats.zswpwb.load(sync::kRelaxed) + stats.pool_compacted_pages.load(sync::kRelaxed);
}

std::uint64_t Space::rest_target() const {
  return std::min<std::uint64_t>(static_cast<std::uint64_t>(group_->limit()) / 32, mmu_->frame_count() / 2);
}

// By a thread that serves a fault, not for long. true: the background has something to do.
bool Space::capture_ahead() {
  constexpr std::uint64_t kMostAhead = 4 * kGroupFrames;
  constexpr std::uint32_t kMostScans = 8;
  if (!turns_.claim()) return false;
  bool somewhere_to_go = zswap_.enabled() || takes_raw();
  if (!somewhere_to_go || hopeless() || frames_.owned_frames() >= rest_target() + kMostAhead) return true;
  if (!scan_mutex_.try_lock()) return true;
  capture_batch({}, hand_, false, kMostScans);
  scan_mutex_.unlock();
  return true;
}

// What is to be captured is captured by faults, which come often, and nothing grows but by faults.
bool Space::faults_do_it() {
  if (group_->usage() > (group_->high() + group_->limit()) / 2) return false;
  return frames_.owned_frames() < rest_target() &&
         turns_.faults_often(group_->stats().pgfault.load(sync::kRelaxed), sync::now_ns());
}

// Whoever needs memory waits for writes that are under way, as long as there are some; not for ever, since a
// device may never answer.
bool Space::wait_for_device(DeviceWait& wait, const Worker& worker) {
  constexpr std::int64_t kPatienceNs = 1'000'000'000;
  bool writes = devices_.under_way_bytes() > 0 || writing_.load(sync::kRelaxed);
  if (!writes || device_stuck_.load(sync::kRelaxed) || group_->usage() < group_->limit()) return false;
  std::int64_t now = sync::now_ns();
  std::uint64_t written = group_->stats().zswpwb.load(sync::kRelaxed);
  if (wait.until_ns == 0 || written != std::exchange(wait.written, written))
    wait.until_ns = now + kPatienceNs;
  if (now > wait.until_ns) {
    device_stuck_.store(true, sync::kRelaxed);
    if (!stuck_reported_.exchange(true))
      report(Text() << "a swap device has not answered for a second: what was to go there stays in memory");
    return false;
  }
  if (usage_source_ == nullptr || usage_source_->keep_going()) await_write(wait.ticket, worker);
  return true;
}

// More memory in use than there was then may be memory that can be reclaimed.
bool Space::hopeless() const {
  return hopeless_.until_ns.load(sync::kRelaxed) > sync::now_ns() &&
         group_->usage() <= hopeless_.usage.load(sync::kRelaxed) + group_->limit() / 8;
}

void Space::hope_again() {
  hopeless_.pause_ns.store(0, sync::kRelaxed);
  hopeless_.until_ns.store(0, sync::kRelaxed);
}

bool Space::shared_lately() const {
  constexpr std::int64_t kMomentNs = 100'000'000;
  return sync::now_ns() - shared_seen_ns_.load(sync::kRelaxed) < kMomentNs;
}

// Neither compression nor anything else can hold the limit: say so once, count, and stop trying for a while,
// longer each time, so that the program keeps the cpu.
void Space::limit_missed() {
  std::int64_t pause =
      std::clamp(hopeless_.pause_ns.load(sync::kRelaxed) * 2, kFirstPauseNs, kLongestPauseNs);
  hopeless_.pause_ns.store(pause, sync::kRelaxed);
  hopeless_.usage.store(group_->usage(), sync::kRelaxed);
  hopeless_.until_ns.store(sync::now_ns() + pause, sync::kRelaxed);
  // Up to a twentieth, or 16 MiB, a limit counts as held: pages on their way, pinned ones, a burst.
  std::int64_t tolerance = std::max(group_->limit() / 20, std::int64_t{16 << 20} >> kPageShift);
  if (group_->usage() <= group_->limit() + tolerance) return;
  add_to(group_->stats().limit_exceeded);
  if (warned_.exchange(true)) return;
  Text text;
  text << "the limit of ";
  text.bytes(static_cast<std::uint64_t>(group_->limit()) << kPageShift)
      << (zswap_.enabled()
              ? " can not be held: what is in memory does not compress enough, is pinned or is "
                "shared; the program goes on above it (raise --limit)"
              : " can not be held: compression was switched off (coldpress set PID enabled=1), and "
                "there is no swap device with room; the program goes on above it");
  report(text);
}

// One unit of work. false: nothing could be captured, compressed or released.
bool Space::reclaim_step(bool urgent, Worker& worker) {
  auto last_resort = [&] {
    return release_spent(true) || zswap_.drop_kept() || compact_pool() || trim_pool(true) ||
           write_back(WritebackNeed::kLastResort, worker);
  };
  if (release_spent(urgent)) return true;
  if ((!copies_allowed() || zswap_.keeps_too_many()) && zswap_.drop_kept()) return true;
  if (!urgent && compact_pool()) return true;
  if (!urgent && shrinker_.enabled.load(sync::kRelaxed)) shrink_pool(worker);
  if (has_swap() && pool_is_full()) {
    if (trim_pool(true)) return true;  // what writing it back has emptied
    if (write_back(urgent ? WritebackNeed::kSoon : WritebackNeed::kBackground, worker)) return true;
    // More in the pool does not help: what is on its way out of it is what there is to wait for.
    if (devices_.leaving_bytes() > 0 && !device_stuck_.load(sync::kRelaxed)) return false;
  }
  // With nowhere to go, pages stay: taking them out would only bring them back.
  if (!zswap_.enabled() && !takes_raw()) return last_resort();
  if (!urgent && frames_.owned_frames() < rest_target()) {
    if (capture_next().pages > 0) return true;
  }
  if (swap::GroupId group = frames_.take_rested(sync::now_ns())) {
    Compressed compressed = compress_group(group, worker);
    if (!compressed.all_back) drain_messages(worker);
    if (compressed.any || !compressed.all_back) return true;
  }
  Captured captured = capture_next();
  if (captured.pages > 0) return true;
  if (captured.interrupted) {
    drain_messages(worker);  // all servers may be reclaiming: nobody else would take it
    return true;
  }
  return last_resort();
}

// When a sixteenth of the pool, and it is worth the while, could be saved by packing it more densely.
bool Space::compact_pool(bool asked) {
  constexpr std::uint64_t kWorthPages = 32;
  constexpr std::uint32_t kMostObjects = 512;
  zspool::ZsPool& pool = zswap_.pool();
  std::uint64_t saves = pool.compactable_pages();
  if (!asked && (saves < kWorthPages || saves * 16 < pool.pages())) return false;
  std::uint32_t freed = pool.compact(kMostObjects);
  group_->uncharge(pool.give_back(freed));
  add_to(group_->stats().pool_compacted_pages, freed);
  return freed > 0;
}

bool Space::trim_pool(bool all) {
  std::uint32_t pages = zswap_.pool().trim(all);
  group_->uncharge(pages);
  return pages > 0;
}

void Space::give_back_rest() {
  constexpr std::size_t kTurns = 50;  // a copy that is kept lives for 5 to 10 seconds
  recheck_dropped();
  zswap_.age_kept(kTurns);
  while (!copies_allowed() && zswap_.drop_kept()) {
  }
  trim_pool(false);
  while (release_spent(true)) {
  }
}

// `few`: also when there are few, for which the interrupt of all processors does not pay yet.
bool Space::release_spent(bool few) {
  constexpr std::size_t kAtOnce = 8;  // groups
  constexpr std::int64_t kMany = 4 * swap::kGroupFrames;
  auto spent = static_cast<std::int64_t>(frames_.spent_frames());
  if (spent == 0 || (!few && spent < std::min(kMany, group_->limit() / 64))) return false;
  std::uint32_t masks[kAtOnce];
  std::span<std::uint32_t> released = masks;
  swap::GroupId group = frames_.take_spent(released);
  if (!group) return false;
  mmu_->release(group.first(), released);
  std::uint64_t pages = 0;
  for (std::uint32_t mask : released) {
    pages += static_cast<std::uint64_t>(std::popcount(mask));
    frames_.end_release(group, mask);
    ++group.value;
  }
  group_->uncharge(pages);
  return pages > 0;
}

// Compresses what is left in a rested group.
Space::Compressed Space::compress_group(swap::GroupId group, Worker& worker, memgroup::AccountId scope) {
  std::uint32_t refused = 0, no_room = 0, before = frames_.owned_mask(group);
  bool keep_raw = takes_raw();
  for (std::uint32_t owned = frames_.owned_mask(group); owned != 0; owned &= owned - 1) {
    auto bit = static_cast<std::uint32_t>(std::countr_zero(owned));
    FrameId frame = group.first() + bit;
    swap::Owner entry = frames_.owner(frame).entry;
    if (scope != memgroup::kProcess && !group_->accounts().within(entry.account, scope)) continue;
    swap::SlotWord slot{};
    if (!slots_.lock(entry, slot)) continue;  // put back or dropped meanwhile
    if (slot.state != State::kFrame || slot.payload != frame.value) {
      slots_.unlock(entry);
      continue;
    }
    std::uint32_t payload = 0;
    if (sync::is_mutant(sync::Mutant::kCleanDrop) && table_.get(frames_.owner(frame).page).backoff() > 0) {
      add_to(group_->stats().same_filled_pages);
      frames_.disowned(frame);
      slots_.unlock(entry, State::kSame, 0);
      continue;
    }
    // What several pages share, or another page than the frame was of has now, can not go back there.
    PageWord owner = table_.get(frames_.owner(frame).page);
    bool unsettled = slot.count > 1 || !owner.is_entry() || owner.entry() != entry;
    if (!unsettled && store_refused(entry.account)) {
      sync::mark("reclaim: the pool takes no more");
      slots_.unlock(entry);
      refused |= 1u << bit;
      no_room |= 1u << bit;
      continue;
    }
    if (!unsettled && group_->accounts().zswap_full(entry.account) && devices_.leaving_bytes() > 0) {
      slots_.unlock(entry);  // until what is on its way has left
      continue;
    }
    bool raw = unsettled || (keep_raw && may_write_back(entry.account));
    if (sync::is_mutant(sync::Mutant::kCompressUnlocked)) slots_.unlock(entry);
    const std::byte* bytes = mmu_->frame_data(frame);
    bool kept = zswap_.store_kept(worker.store, bytes, frames_.owner(frame).page, entry, &payload);
    zswap::StoreResult stored =
        kept ? zswap::StoreResult::kCompressed : zswap_.store(worker.store, bytes, entry, raw, &payload);
    if (sync::is_mutant(sync::Mutant::kCompressUnlocked) && !slots_.lock(entry, slot)) continue;
    switch (stored) {
      case zswap::StoreResult::kCompressed:
        disown_frame(frame);
        slots_.unlock(entry, State::kZswap, payload);
        break;
      case zswap::StoreResult::kSame:
        disown_frame(frame);
        slots_.unlock(entry, State::kSame, payload);
        break;
      default:
        slots_.unlock(entry);
        refused |= 1u << bit;
    }
  }
  bool all_back = true;
  for (; refused != 0; refused &= refused - 1) {
    FrameId frame = group.first() + static_cast<std::uint32_t>(std::countr_zero(refused));
    bool room = (no_room >> (frame.value - group.first().value) & 1) == 0;
    all_back = give_back(frame, frames_.owner(frame), room ? kIncompressibleSkip : kNoRoomSkip) && all_back;
  }
  std::uint32_t after = frames_.owned_mask(group);
  if (all_back && after == 0) {
    frames_.retire(group);
  } else {
    frames_.rest(group, sync::now_ns());
  }
  return {after != before || before == 0, all_back};
}

// The bytes are elsewhere, or not needed; the slot is locked.
void Space::disown_frame(FrameId frame) {
  if (counted_) group_->accounts().charge_resident(frames_.owner(frame).entry.account, -1);
  frames_.disowned(frame);
}

// All that rests now, and gives its memory back.
void Space::compress_rested(Worker& worker) {
  std::int64_t now = sync::now_ns();  // not again what rests again
  while (swap::GroupId group = frames_.take_rested(now)) {
    if (!compress_group(group, worker).all_back) drain_messages(worker);
  }
  while (release_spent(true)) {
  }
}

// A page that does not compress returns to the program and is left alone for long. false: not now.
bool Space::give_back(FrameId frame, swap::FrameOwner owner, unsigned skip) {
  sync::MutexLock lock(layout_);
  swap::SlotWord slot{};
  if (slots_.try_lock(owner.entry, slot) != swap::SlotTable::TryLock::kLocked) return true;
  PageIndex page = frames_.owner(frame).page;  // mremap may have moved it
  PageWord word = table_.peek(page);
  if (slot.state != State::kFrame || slot.payload != frame.value || !word.is_entry() ||
      word.entry() != owner.entry || slot.count > 1) {
    slots_.unlock(owner.entry);
    return true;
  }
  Outcome outcome = put_back(page, word, slot, PageWord::native(word.backoff(), skip));
  if (outcome == Outcome::kGone && !mmu_->changing()) {
    // No message is to come for it: nobody can ask for this page any more.
    store_word(page, PageWord());
    drop_entry(word.entry());
  }
  return outcome == Outcome::kDone || outcome == Outcome::kGone;
}

std::uint64_t Space::page_out(PageRange range, Worker& worker) {
  std::uint64_t captured = 0;
  PageIndex hand = range.begin;
  while (hand < range.end) {
    Captured now = capture_batch(range, hand, true);
    captured += now.pages;
    compress_rested(worker);
    if (now.pages == 0 && !now.interrupted) break;
    if (now.interrupted) drain_messages(worker);
    handle_pending(worker);
  }
  return captured;
}

// `fill`: what was never touched comes, too. That is where usage is counted.
bool Space::page_in(PageRange range, Worker& worker, bool fill) {
  bool whole = true;
  for (PageIndex page = fill ? range.begin : table_.next_leaf(range.begin, range.end); page < range.end;) {
    PageWord word = table_.get(page);
    bool hole = fill && word.payer() == 0 && !word.is_poisoned();
    if (word.is_out() || hole) handle_fault(page, true, worker);
    whole = whole && !table_.get(page).is_poisoned();
    page = fill ? page + 1 : table_.next(page, range.end);
  }
  return whole;
}

}  // namespace coldpress::vm
