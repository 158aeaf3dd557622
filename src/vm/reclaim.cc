// Reclaim: which pages go, and how.
//
// There are no accessed bits here. A hand goes round the managed ranges and captures what it finds, in runs,
// one atomic call each; captured pages rest uncompressed in a first-in first-out queue, and a touch there is
// a cheap fault that puts the frame back: the second chance. What rested long enough is compressed. A page
// that came back (from the queue, or from the pool sooner than the resident set turned over) is passed over
// by the hand for 2^n - 1 rounds, n growing with every return: pages in use pay logarithmically often.
//
// Memory comes free in two steps: compression leaves frames that hold memory and belong to nobody ("spent"),
// and they go back to the machine by groups. They are not used for loads (swap/frame_pool.h says why).
//
// A page that a fork has shared can not be captured, also when the child has ended long since: only a write
// makes it this process's own again. The hand notes such pages; when nothing else is left to do, the
// background reclaimer has the kernel do what a write would.
#include <algorithm>
#include <bit>

#include "base/log.h"
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

constexpr unsigned kIncompressibleSkip = PageWord::kMaxSkip;
constexpr std::uint32_t kFutileTurns = 4;  // of the hand, before reclaim gives up
constexpr std::int64_t kFirstPauseNs = 10'000'000, kLongestPauseNs = 1'000'000'000;

}  // namespace

bool Space::reclaim_to(std::int64_t target, Worker& worker) {
  if (paused_.load(sync::kRelaxed)) return false;
  bool urgent = group_->usage() >= group_->limit();
  std::uint32_t failures = 0;
  std::size_t pending = worker.pending_count;
  while (group_->usage() > target) {
    if (worker.pending_count > pending) return true;  // threads wait for what was put aside on the way
    if (reclaim_step(urgent, worker)) {
      failures = 0;
      hopeless_pause_ns_.store(0, sync::kRelaxed);
    } else if (++failures >= kFutileTurns) {
      if (group_->usage() >= group_->limit()) limit_missed();
      return false;
    }
    if (usage_source_ != nullptr && !usage_source_->keep_going()) return true;
    urgent = group_->usage() >= group_->limit();
  }
  return true;
}

// Neither compression nor anything else can hold the limit: say so once, count, and stop trying for a while,
// longer each time, so that the program keeps the cpu.
void Space::limit_missed() {
  std::int64_t pause =
      std::clamp(hopeless_pause_ns_.load(sync::kRelaxed) * 2, kFirstPauseNs, kLongestPauseNs);
  hopeless_pause_ns_.store(pause, sync::kRelaxed);
  hopeless_until_.store(sync::now_ns() + pause, sync::kRelaxed);
  // Up to a twentieth, or 16 MiB, a limit counts as held: pages on their way, pinned ones, a burst.
  std::int64_t tolerance = std::max(group_->limit() / 20, std::int64_t{16 << 20} >> kPageShift);
  if (group_->usage() <= group_->limit() + tolerance) return;
  add_to(group_->stats().limit_exceeded);
  if (warned_.exchange(true)) return;
  Text text;
  text << "the limit of ";
  text.bytes(static_cast<std::uint64_t>(group_->limit()) << kPageShift)
      << " can not be held: what is in memory does not compress enough, is pinned or is shared; the program "
         "goes on above it (raise --limit)";
  report(text);
}

// One unit of work. false: nothing could be captured, compressed or released.
bool Space::reclaim_step(bool urgent, Worker& worker) {
  if (release_spent()) return true;
  std::uint64_t rest_target =
      std::min<std::uint64_t>(static_cast<std::uint64_t>(group_->limit()) / 32, mmu_->frame_count() / 2);
  bool enough_resting = frames_.owned_frames() >= rest_target;
  if (!urgent && !enough_resting) {
    if (capture_next().pages > 0) return true;
  }
  if (swap::GroupId group = frames_.take_rested(sync::now_ns())) {
    if (!compress_group(group, worker)) drain_messages(worker);
    return true;
  }
  Captured captured = capture_next();
  if (captured.pages > 0) return true;
  if (captured.interrupted) {
    drain_messages(worker);  // all servers may be reclaiming: nobody else would take it
    return true;
  }
  return false;
}

bool Space::release_spent() {
  std::uint32_t populated = 0;
  swap::GroupId group = frames_.take_spent_group(populated);
  if (!group) return false;
  std::uint32_t released = mmu_->release(group.first(), populated);
  group_->uncharge(static_cast<std::uint64_t>(std::popcount(released)));
  frames_.end_release(group, released);
  return released != 0;
}

Space::Captured Space::capture_next() {
  sync::MutexLock lock(scan_mutex_);
  return capture_batch({}, hand_, false);
}

// Captures up to a group of pages, from `hand` on, within `within` (everything managed when empty). With
// `all`, hints are not heeded. Returns the pages captured; 0 after a whole turn without any.
Space::Captured Space::capture_batch(PageRange within, PageIndex& hand, bool all) {
  swap::GroupId group = frames_.take_hole();
  if (!group) return {};
  std::uint32_t filled = 0, captured = 0;
  bool wrapped = false, stop = false, interrupted = false;
  PageIndex start = hand;
  while (!stop && filled < kGroupFrames) {
    sync::MutexLock lock(layout_);
    if (paused_.load()) break;
    forget_moves();
    PageRange region = regions_.at_or_after(hand);
    if (!within.empty()) region = intersect(region, within);
    if (region.empty() || region.end <= hand || (wrapped && start <= hand)) {
      if (!within.empty() || wrapped || start.value == 0) {
        if (within.empty()) hand = {0};
        break;
      }
      wrapped = true;
      hand = {0};
      continue;
    }
    if (hand < region.begin) hand = region.begin;
    PageRange found[16];
    PageIndex scanned_to;
    std::size_t runs = mmu_->scan_present({hand, region.end}, 256, found, &scanned_to);
    for (std::size_t i = 0; i < runs && !stop && filled < kGroupFrames; ++i) {
      PageIndex page = found[i].begin;
      while (page < found[i].end && filled < kGroupFrames) {
        // The longest run of eligible pages that fits.
        std::uint32_t length = 0;
        while (page + length < found[i].end && filled + length < kGroupFrames) {
          PageTable::Word* at = table_.find(page + length);
          PageWord word = at == nullptr ? PageWord() : PageWord::from_raw(at->load(sync::kRelaxed));
          bool eligible = !word.is_entry() && !word.is_zapped() && !word.is_poisoned();
          if (eligible && !all && word.skip() > 0) {
            at->store(PageWord::native(word.backoff(), word.skip() - 1).raw(), sync::kRelease);
            eligible = false;
          }
          if (!eligible) break;
          ++length;
        }
        add_to(group_->stats().pgscan, length + 1);
        if (length == 0) {
          page = page + 1;
          hand = page;
          continue;
        }
        std::uint32_t before = filled;
        PageRange pinned = pinned_.at_or_after(page);
        if (!intersect(pinned, {page, page + length}).empty()) {
          page = pinned.end;
          hand = page;
          continue;
        }
        MoveStatus ended = capture_run(page, length, group, filled);
        stop = ended != MoveStatus::kDone;
        interrupted = ended == MoveStatus::kChanging;
        captured += filled - before;
        page = page + (filled > before ? filled - before : 1);
        hand = page;
        if (stop) break;
      }
    }
    if (!stop && filled < kGroupFrames && (runs == 0 || hand < scanned_to)) hand = scanned_to;
  }
  frames_.rest(group, sync::now_ns());
  captures_.fetch_add(captured, sync::kRelaxed);
  add_to(group_->stats().pgsteal, captured);
  return {captured, interrupted};
}

// Captures a run into the group's frames from `filled` on, as far as the kernel allows. Not kDone: stop here,
// a layout message waits (kChanging) or memory ran out.
MoveStatus Space::capture_run(PageIndex first, std::uint32_t pages, swap::GroupId group,
                              std::uint32_t& filled) {
  FrameId frame = group.first() + filled;
  swap::Entry entries[kGroupFrames];
  PageWord before[kGroupFrames];
  std::uint32_t shadow = shadow_now();
  pages = static_cast<std::uint32_t>(slots_.allocate({entries, pages}, frame));
  if (pages == 0) return MoveStatus::kNoMemory;
  // Publish first (invariant 1 of space.h): whoever faults on a captured page finds its entry, locked.
  for (std::uint32_t i = 0; i < pages; ++i) {
    PageTable::Word* word = table_.ensure(first + i);
    if (word == nullptr) {
      for (std::uint32_t j = i; j < pages; ++j) slots_.unlock_and_free(entries[j]);
      pages = i;
      break;
    }
    before[i] = PageWord::from_raw(word->load(sync::kRelaxed));
    word->store(PageWord::entry(entries[i], before[i].backoff(), shadow).raw(), sync::kRelease);
  }
  if (pages == 0) return MoveStatus::kNoMemory;
  MoveResult result = mmu_->capture(first, frame, pages);
  if (result.moved == 0 && result.status == MoveStatus::kMismatch && pages > 1) {
    result = mmu_->capture(first, frame, 1);  // the run crosses mappings
  }
  if (result.status == MoveStatus::kExists) {
    // Somebody populated the engine's frames (mlockall): empty those that this group has not used yet.
    mmu_->release(group.first(), ~0u << filled);
    result = mmu_->capture(first, frame, pages);
  }
  for (std::uint32_t i = 0; i < result.moved; ++i) {
    frames_.set_owner(frame + i, {entries[i], first + i});
    frames_.captured(frame + i);
    slots_.unlock(entries[i]);
  }
  for (std::uint32_t i = result.moved; i < pages; ++i) {
    table_.find(first + i)->store(before[i].raw(), sync::kRelease);
    slots_.unlock_and_free(entries[i]);
  }
  filled += result.moved;
  if (result.moved > 0) return MoveStatus::kDone;
  switch (result.status) {
    case MoveStatus::kBusy:
      add_to(group_->stats().pgscan_busy);
      // Perhaps pinned, for long: tried ever more seldom, as one that came back too soon.
      leave_alone(first, activated(before[0].backoff()));
      note_shared({first, first + 1});
      return shared_pages_ < kMaxSharedPages ? MoveStatus::kDone : MoveStatus::kBusy;
    case MoveStatus::kMismatch:
      leave_alone(first, PageWord::native(before[0].backoff(), PageWord::kMaxSkip));
      return MoveStatus::kDone;
    case MoveStatus::kHole:
    case MoveStatus::kGone:
      return MoveStatus::kDone;
    default:
      return result.status;
  }
}

void Space::note_shared(PageRange range) {
  PageRange* last = shared_count_ > 0 ? &shared_[shared_count_ - 1] : nullptr;
  if (last != nullptr && last->begin <= range.begin && range.begin <= last->end) {
    if (range.end <= last->end) return;
    shared_pages_ += range.end - last->end;
    last->end = range.end;
  } else if (shared_count_ < kMaxShared) {
    shared_pages_ += range.pages();
    shared_[shared_count_++] = range;
  }
}

std::size_t Space::take_shared(PageRange (&ranges)[kMaxShared]) {
  sync::MutexLock lock(layout_);
  std::size_t count = shared_count_;
  std::copy_n(shared_, count, ranges);
  shared_count_ = shared_pages_ = 0;
  return count;
}

void Space::leave_alone(PageIndex page, PageWord for_now) {
  PageWord word = table_.get(page);
  if (!word.is_entry() && !word.is_zapped() && !word.is_poisoned()) store_word(page, for_now);
}

// Compresses what is left in a rested group. false: a layout message kept a page from its way back.
bool Space::compress_group(swap::GroupId group, Worker& worker) {
  std::uint32_t refused = 0;
  for (std::uint32_t owned = frames_.owned_mask(group); owned != 0; owned &= owned - 1) {
    auto bit = static_cast<std::uint32_t>(std::countr_zero(owned));
    FrameId frame = group.first() + bit;
    swap::Entry entry = frames_.owner(frame).entry;
    swap::SlotWord slot{};
    if (!slots_.lock(entry, slot)) continue;  // put back or dropped meanwhile
    if (slot.state != State::kFrame || slot.payload != frame.value) {
      slots_.unlock(entry);
      continue;
    }
    std::uint32_t payload = 0;
    switch (zswap_.store(worker.store, mmu_->frame_data(frame), &payload)) {
      case zswap::StoreResult::kCompressed:
        frames_.disowned(frame);
        slots_.unlock(entry, State::kZswap, payload);
        break;
      case zswap::StoreResult::kSame:
        frames_.disowned(frame);
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
    all_back = give_back(frame, frames_.owner(frame)) && all_back;
  }
  if (all_back && frames_.owned_mask(group) == 0) {
    frames_.retire(group);
  } else {
    frames_.rest(group, sync::now_ns());
  }
  return all_back;
}

// A page that does not compress returns to the program and is left alone for long. false: not now.
bool Space::give_back(FrameId frame, swap::FrameOwner owner) {
  sync::MutexLock lock(layout_);
  swap::SlotWord slot{};
  if (slots_.try_lock(owner.entry, slot) != swap::SlotTable::TryLock::kLocked) return true;
  PageIndex page = frames_.owner(frame).page;  // mremap may have moved it
  PageWord word = table_.get(page);
  if (slot.state != State::kFrame || slot.payload != frame.value || !word.is_entry() ||
      word.entry() != owner.entry) {
    slots_.unlock(owner.entry);
    return true;
  }
  Outcome outcome = put_back(page, word, slot, PageWord::native(word.backoff(), kIncompressibleSkip));
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
    while (swap::GroupId group = frames_.take_rested(sync::now_ns())) {
      if (!compress_group(group, worker)) drain_messages(worker);
    }
    while (release_spent()) {
    }
    if (now.pages == 0 && !now.interrupted) break;
    if (now.interrupted) drain_messages(worker);
    handle_pending(worker);
  }
  return captured;
}

bool Space::page_in(PageRange range, Worker& worker) {
  bool whole = true;
  for (PageIndex page = table_.next_leaf(range.begin, range.end); page < range.end;) {
    if (table_.get(page).is_entry()) handle_fault(page, true, worker);
    whole = whole && !table_.get(page).is_poisoned();
    page = page + 1;
    if (page.value % PageTable::kLeafPages == 0) page = table_.next_leaf(page, range.end);
  }
  return whole;
}

}  // namespace coldpress::vm
