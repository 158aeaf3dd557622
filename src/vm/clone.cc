// Clones: a second range with the content of a first, without a copy.
//
// A page that is out is shared by naming its slot once more: in the swap cache, compressed, on a device or
// same-filled, whichever; writeback, recompression and swapoff go on as before, since they speak of slots. A
// page that is resident is captured first; so afterwards both ranges load what they touch, each its own copy,
// and the last one takes the bytes with it (give_up()).
//
// Words are written only while the engine knows what is where: no layout change is under way, the kernel and
// the regions agree that the target is there, and it holds nothing. What holds memory and can not be captured
// (pinned, shared by a fork, given up by MADV_FREE and perhaps written since) is never taken for empty.
#include <algorithm>

#include "sync/explore.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::take_from;
using swap::State;

Space::Cloned Space::clone(PageRange from, PageIndex to, PageIndex& done, Worker& worker) {
  constexpr std::uint64_t kSlice = 1024;  // pages in one operation: forks wait for its end
  // Captures of one page that others were quicker to touch again; and of those that changes interrupted.
  constexpr unsigned kPatience = 4, kInterruptions = 64;
  PageIndex end = from.end - done > kSlice ? done + kSlice : from.end;
  for (unsigned futile = 0, interrupted = 0; done < end && !paused_.load();) {
    PageIndex before = done;
    CloneStep step = clone_words({done, end}, to + (done - from.begin), done, worker);
    if (step == CloneStep::kRefused) return Cloned::kRefused;
    if (done > before) futile = interrupted = 0;
    bool changing = step == CloneStep::kChanging;
    if (step == CloneStep::kBusy) {
      wait_for(worker.busy);
    } else if (step == CloneStep::kCaptureFirst) {
      if (futile > kPatience || interrupted > kInterruptions) return Cloned::kMakeOwn;
      PageIndex hand = done;
      Captured captured = capture_batch({done, from.end}, hand, true);
      changing = captured.interrupted;
      ++(changing ? interrupted : futile);
      if (captured.pages == 0 && !changing) compress_rested(worker);  // perhaps every frame is in use
    }
    if (changing) drain_messages(worker);
    handle_pending(worker);
  }
  return done == from.end ? Cloned::kAll : Cloned::kGoesOn;
}

// Shares what is out of `from`, up to the first page that it can not; `done` goes with it.
Space::CloneStep Space::clone_words(PageRange from, PageIndex to, PageIndex& done, Worker& worker) {
  constexpr std::uint64_t kAtOnce = 64;  // pages under the mutex
  auto pages = static_cast<std::uint32_t>(std::min(from.pages(), kAtOnce));
  PageRange source{from.begin, from.begin + pages}, target{to, to + pages};
  sync::MutexLock lock(layout_);
  if (mmu_->changing()) return CloneStep::kChanging;
  forget_moves();
  PageRange registered[1];
  PageIndex scanned_to;
  if (!regions_.contains(source) || !regions_.contains(target)) return CloneStep::kRefused;
  bool there = mmu_->scan_registered(target, registered, &scanned_to) == 1 && registered[0] == target;
  std::uint64_t zero = 0;
  // Somebody has touched the target, or had it populated (mlockall).
  if (!there || mmu_->holding(to, pages, &zero) != 0) return CloneStep::kRefused;
  std::uint64_t held = mmu_->holding(source.begin, pages, &zero) & ~zero;
  for (std::uint32_t i = 0; i < pages; ++i, done = done + 1) {
    PageIndex page = source.begin + i;
    PageWord word = table_.peek(page), before = table_.peek(to + i);
    if (before.is_out() || before.is_poisoned()) return CloneStep::kRefused;
    if (before.payer() != 0) {  // dropped while it was filled, and nothing has told
      forget_payer(before);
      store_word(to + i, before.paid_by(0));
    }
    if (word.is_loading()) {
      sync::mark("clone: waits for a load");
      worker.busy = at_mark(word);
      return CloneStep::kBusy;
    }
    CloneStep step = CloneStep::kDone;
    if (word.is_entry()) {
      step = clone_word(word, to + i, worker);
    } else if (word.is_poisoned()) {
      step = clone_poison(to + i);
    } else if ((held >> i & 1) != 0) {
      PageRange pinned = pinned_.at_or_after(page);
      step = pinned.contains(page) ? CloneStep::kRefused : CloneStep::kCaptureFirst;
    }
    if (step != CloneStep::kDone) return step;
  }
  return CloneStep::kDone;
}

Space::CloneStep Space::clone_poison(PageIndex to) {
  if (table_.ensure(to) == nullptr) return CloneStep::kRefused;
  os::MoveStatus status = mmu_->poison(to);
  if (status == os::MoveStatus::kChanging) return CloneStep::kChanging;
  if (status != os::MoveStatus::kDone) return CloneStep::kRefused;
  store_word(to, PageWord::poisoned());
  return CloneStep::kDone;
}

Space::CloneStep Space::clone_word(PageWord word, PageIndex to, Worker& worker) {
  if (table_.ensure(to) == nullptr || slots_.names() >= slots_.capacity()) return CloneStep::kRefused;
  swap::Entry entry = word.entry();
  swap::SlotWord slot{};
  if (slots_.try_lock(entry, slot) != swap::SlotTable::TryLock::kLocked) {
    worker.busy = at_slot(entry);
    return CloneStep::kBusy;
  }
  bool shared = slots_.share(entry);
  slots_.unlock(entry);
  if (!shared) return CloneStep::kRefused;
  store_word(to, PageWord::entry(entry, word.backoff(), shadow_now(to)));
  return CloneStep::kDone;
}

// A page word does not name the slot any more, which is locked. With the last one the bytes go, whoever owns
// them.
void Space::give_up(swap::Entry entry, swap::SlotWord slot) {
  if (slot.count > 1) {
    slots_.unlock_unshare(entry);
    return;
  }
  switch (slot.state) {
    case State::kFrame:
      disown_frame({slot.payload});
      break;
    case State::kZswap:
      if (!sync::is_mutant(sync::Mutant::kKeepCopy)) zswap_.drop(slot.payload);
      break;
    case State::kDevice:
      if (sync::is_mutant(sync::Mutant::kFreeThenDrop)) {
        slots_.unlock_and_free(entry);
        sync::let_others_run();
      }
      group_->accounts().charge_swapped(devices_.drop(slot.payload), -1);
      if (sync::is_mutant(sync::Mutant::kFreeThenDrop)) return;
      break;
    case State::kSame:
      take_from(group_->stats().same_filled_pages);
      break;
    case State::kLost:
    case State::kFree:
      break;
  }
  slots_.unlock_and_free(entry);
}

}  // namespace coldpress::vm
