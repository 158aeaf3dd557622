// Capture: the hand that goes round the managed ranges, and the pages that it takes. reclaim.cc says what
// for.
//
// A page that a fork has shared can not be captured, also when the child has ended long since: only a write
// makes it this process's own again. The hand notes such pages; when nothing else is left to do, the
// background reclaimer has the kernel do what a write would.
#include <algorithm>

#include "sync/explore.h"
#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using memgroup::kProcess;
using os::MoveResult;
using os::MoveStatus;
using swap::kGroupFrames;
namespace {

constexpr std::uint64_t kMaxSharedPages = 1024;  // that are noted

}  // namespace

Space::Captured Space::capture_next() {
  sync::MutexLock lock(scan_mutex_);
  return capture_batch({}, hand_, false);
}

// Captures up to a group of pages, by so many looks at most, from `hand` on, within `within` (everything
// managed when empty). With `all`, hints are not heeded. Returns the pages captured; 0 after a whole turn
// without any.
Space::Captured Space::capture_batch(PageRange within, PageIndex& hand, bool all, unsigned scans) {
  swap::GroupId group = frames_.take_hole();
  if (!group && release_spent(true)) group = frames_.take_hole();
  if (!group) return {};
  std::uint32_t filled = 0, captured = 0;
  bool wrapped = false, stop = false, interrupted = false, changed = false;
  PageIndex start = hand;
  for (; !stop && filled < kGroupFrames && scans > 0; --scans) {
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
    std::size_t runs = scan({hand, region.end}, true, found, &scanned_to);
    changed = false;
    for (std::size_t i = 0; i < runs && !stop && !changed && filled < kGroupFrames; ++i) {
      PageIndex page = found[i].begin;
      while (page < found[i].end && filled < kGroupFrames) {
        // The longest run of eligible pages that fits.
        std::uint32_t length = 0;
        while (page + length < found[i].end && filled + length < kGroupFrames) {
          PageTable::Word* at = table_.find(page + length);
          PageWord word = at == nullptr ? PageWord() : PageWord::from_raw(at->load(sync::kRelaxed));
          bool eligible = !word.is_out() && !word.is_zapped() && !word.is_poisoned();
          bool joins = length > 0 && word.skip() == 1 && word.backoff() == 0;
          if (eligible && !all && !joins && word.skip() > 0) {
            at->store(PageWord::native(word.backoff(), word.skip() - 1).paid_by(word.payer()).raw(),
                      sync::kRelease);  // E
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
        changed = !stop && !let_faults_in();
        if (stop || changed) break;
      }
    }
    if (!stop && !changed && filled < kGroupFrames && (runs == 0 || hand < scanned_to)) hand = scanned_to;
  }
  frames_.rest(group, sync::now_ns());
  captures_.fetch_add(captured, sync::kRelaxed);
  if (shrinker_.enabled.load(sync::kRelaxed)) shrinker_.captured.fetch_add(captured, sync::kRelaxed);
  add_to(group_->stats().pgsteal, captured);
  return {captured, interrupted};
}

// Between two runs: each takes long, since all processors hear of it. false: the layout has changed, and what
// was scanned may be somebody else's.
bool Space::let_faults_in() {
  std::uint64_t before = layout_changes_;
  layout_.unlock();
  sync::pause();
  layout_.lock();
  if (layout_changes_ != before) sync::mark("capture: the layout has changed between two runs");
  if (sync::is_mutant(sync::Mutant::kStaleScan)) return true;
  return layout_changes_ == before && !paused_.load();
}

// Captures a run into the group's frames from `filled` on, as far as the kernel allows. Not kDone: stop here,
// a layout message waits (kChanging) or memory ran out.
MoveStatus Space::capture_run(PageIndex first, std::uint32_t pages, swap::GroupId group,
                              std::uint32_t& filled) {
  FrameId frame = group.first() + filled;
  swap::Entry entries[kGroupFrames];
  PageWord before[kGroupFrames];
  std::uint32_t shadow = shadow_now(first);
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
    word->store(PageWord::entry(entries[i], before[i].backoff(), shadow).raw(), sync::kRelease);  // E
  }
  if (pages == 0) return MoveStatus::kNoMemory;
  MoveResult result = mmu_->capture(first, frame, pages);
  if (result.moved == 0 && result.status == MoveStatus::kMismatch && pages > 1) {
    result = mmu_->capture(first, frame, 1);  // the run crosses mappings
  }
  if (result.moved == 0 && result.status == MoveStatus::kExists) {
    // Somebody populated the engine's frames (mlockall): empty those that this group has not used yet. (After
    // a part was moved these would be among them; the next run asks again.)
    std::uint32_t unused = ~0u << filled;
    mmu_->release(group.first(), {&unused, 1});
    result = mmu_->capture(first, frame, pages);
  }
  for (std::uint32_t i = 0; i < result.moved; ++i) {
    memgroup::AccountId payer = kProcess;
    if (counted_) {
      COLDPRESS_CHECK(before[i].payer() != 0);  // charge_present()
      payer = static_cast<memgroup::AccountId>(before[i].payer() - 1);
      group_->accounts().count(payer, &memgroup::Account::pgsteal);
    }
    frames_.set_owner(frame + i, {swap::Owner::of(entries[i], payer), first + i});
    frames_.captured(frame + i);
    slots_.unlock(entries[i]);
  }
  for (std::uint32_t i = result.moved; i < pages; ++i) {
    table_.find(first + i)->store(before[i].raw(), sync::kRelease);  // E
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
  shared_seen_ns_.store(sync::now_ns(), sync::kRelaxed);
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

void Space::make_old(PageRange range) {
  sync::MutexLock lock(layout_);
  for (PageIndex page = table_.next_leaf(range.begin, range.end); page < range.end;) {
    leave_alone(page, PageWord());
    page = table_.next(page, range.end);
  }
}

void Space::leave_alone(PageIndex page, PageWord for_now) {
  PageWord word = table_.get(page);
  if (!word.is_out() && !word.is_zapped() && !word.is_poisoned())
    store_word(page, for_now.paid_by(word.payer()));
}

}  // namespace coldpress::vm
