// Fault service. The order of things in resolve() and prepare() is invariant 2 of space.h: bytes are made
// ready without the layout mutex (load.cc), published under it after everything was checked again.
#include <algorithm>

#include "base/log.h"
#include "sync/explore.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::add_to;
using memgroup::take_from;

using os::MoveResult;
using os::MoveStatus;
using swap::State;

bool Space::handle_fault(PageIndex page, bool write, Worker& worker) {
  add_to(group_->stats().pgfault);
  std::uint64_t to_next = 0;  // pages to where another group's range may begin
  memgroup::AccountId account = account_of(page, &to_next);
  memgroup::WaitingFor waiting(group_->accounts(), account);
  group_->accounts().count(account, &memgroup::Account::pgfault);
  for (;;) {
    make_room(worker);
    if (account != memgroup::kProcess) make_room_within(account, worker);
    Prepared run[Worker::kMaxRun];  // made one by one
    Prepared& prepared = run[0];
    prepared = prepare(page, worker);
    if (prepared.out_of_reach) return false;
    State state = prepared.word.state;
    bool loads = prepared.valid && prepared.loaded == Loaded::kGood && state != State::kFrame;
    std::uint32_t count = loads ? prepare_run(page, run, room_at_once(account), to_next, worker) : 1;
    Outcome outcome;
    {
      sync::MutexLock lock(layout_);
      take_marks_off(worker);
      outcome =
          count > 1 ? resolve_run(page, write, run, count, worker) : resolve(page, write, prepared, worker);
    }
    if (prepared.valid && outcome == Outcome::kDone) expect_after(page, run[count - 1], loads ? count : 0);
    switch (outcome) {
      case Outcome::kGone:
        mmu_->wake({page, page + 1});
        return true;
      case Outcome::kDone:
        return true;
      case Outcome::kAgain:
        sync::mark("fault: starts over");
        break;
      case Outcome::kChanging:
        drain_messages(worker);
        break;
      case Outcome::kBusy:
        wait_for(worker.busy);
        break;
      case Outcome::kNoMemory:
        sync::sleep_ns(1000000);
        break;
    }
  }
}

void Space::handle_pending(Worker& worker) {
  while (worker.pending_count > 0) {
    std::uint64_t fault = worker.pending[--worker.pending_count];
    handle_fault({fault >> 1}, (fault & 1) != 0, worker);
  }
}

Space::Outcome Space::resolve(PageIndex page, bool write, Prepared& prepared, Worker& worker) {
  PageWord word = table_.peek(page);
  if (word.is_entry()) return resolve_entry(page, word, prepared, worker);
  if (word.is_poisoned()) {
    mmu_->wake({page, page + 1});
    return Outcome::kDone;
  }
  if (word.is_loading()) {
    worker.busy = at_mark(word);
    return Outcome::kBusy;
  }
  return fill(page, write);
}

Space::Outcome Space::resolve_entry(PageIndex page, PageWord word, Prepared& prepared, Worker& worker) {
  swap::Entry entry = word.entry();
  swap::SlotWord slot{};
  switch (slots_.try_lock(entry, slot)) {
    case swap::SlotTable::TryLock::kBusy:
      worker.busy = at_slot(entry);
      return Outcome::kBusy;
    case swap::SlotTable::TryLock::kStale:
      // Page words and the slots that they name change together, under the layout mutex.
      COLDPRESS_CHECK(!"page word names a dead slot");
    case swap::SlotTable::TryLock::kLocked:
      break;
  }
  if (slot.state == State::kFrame) {
    Outcome outcome = put_back(page, word, slot, activated(word.backoff()));
    if (outcome == Outcome::kDone) add_to(group_->stats().swap_cache_hit);
    return outcome;
  }
  bool same_entry = prepared.entry == entry ||
                    (sync::is_mutant(sync::Mutant::kEqualIsProof) && prepared.entry.slot == entry.slot);
  if (!prepared.valid || !same_entry || prepared.word.state != slot.state ||
      prepared.word.payload != slot.payload) {
    slots_.unlock(entry);
    return Outcome::kAgain;
  }
  Outcome outcome;
  if (prepared.loaded != Loaded::kGood) {
    outcome = poison(page, prepared.loaded);
  } else {
    bool zero = slot.state == State::kSame && zswap_.is_zero(slot.payload) &&
                !(sync::is_mutant(sync::Mutant::kExclusiveLoad) && prepared.word.count == 0);
    if (sync::is_mutant(sync::Mutant::kUnpinEarly)) slots_.unlock_and_free(entry);
    outcome = outcome_of(zero ? mmu_->fill_zero(page, 1, true) : mmu_->install_copy(page, worker.page, 1));
    if (outcome == Outcome::kDone) group_->charge(1);
  }
  if (outcome != Outcome::kDone) {
    sync::mark("fault: the page could not be mapped");
    if (sync::is_mutant(sync::Mutant::kUnpinEarly) || sync::is_mutant(sync::Mutant::kLeakOnRetry))
      return outcome;
    slots_.unlock(entry);
    return outcome;
  }
  if (prepared.loaded != Loaded::kGood) {
    store_word(page, PageWord::poisoned());
  } else {
    store_resident(page, word_after_load(page, word));
  }
  count_load(page, slot.state, true);
  if (sync::is_mutant(sync::Mutant::kUnpinEarly)) {
    if (slot.state == State::kZswap) zswap_.drop(slot.payload);
    if (slot.state == State::kDevice) devices_.drop(slot.payload);
  } else {
    give_up(entry, slot);
  }
  return Outcome::kDone;
}

// `faulted`: the page was asked for; else it came along.
void Space::count_load(PageIndex page, State from, bool faulted) {
  using memgroup::Account;
  memgroup::Stats& stats = group_->stats();
  memgroup::Accounts& accounts = group_->accounts();
  memgroup::AccountId account = owners_.at(page);
  if (from == State::kZswap) {
    add_to(stats.zswpin);
    accounts.count(account, &Account::zswpin);
  } else if (from == State::kDevice) {
    add_to(stats.pswpin);
    accounts.count(account, &Account::pswpin);
    shrinker_.device_loads[account].fetch_add(1, sync::kRelaxed);
  } else {
    if (from != State::kLost) add_to(stats.swpin_zero);
    return;
  }
  if (!faulted) return;
  add_to(stats.pgmajfault);
  accounts.count(account, &Account::pgmajfault);
}

// A captured page that was not compressed yet goes back. Called with the slot locked; always unlocks it.
Space::Outcome Space::put_back(PageIndex page, PageWord word, swap::SlotWord slot, PageWord after) {
  swap::Entry entry = word.entry();
  FrameId frame{slot.payload};
  // Others need what the frame holds.
  bool shared = slot.count > 1 && !sync::is_mutant(sync::Mutant::kMoveShared);
  bool copied = shared;
  MoveResult result =
      shared ? mmu_->install_copy(page, mmu_->frame_data(frame), 1) : mmu_->install(page, frame, 1);
  if (!shared && result.moved == 0 && result.status == MoveStatus::kHole) {
    // Either the mapping is gone, or the frame is empty: a page that the program had given to the kernel with
    // MADV_FREE, and the kernel has taken it. Then it reads zero. Filling tells the two apart.
    result = mmu_->fill_zero(page, 1, true);
    copied = true;
  } else if (!shared && result.moved == 0 &&
             (result.status == MoveStatus::kBusy || result.status == MoveStatus::kMismatch)) {
    // Shared with a forked process, or a mapping that can not take a moved page: a copy does.
    result = mmu_->install_copy(page, mmu_->frame_data(frame), 1);
    copied = true;
  }
  if (result.moved == 1) {
    if (copied) group_->charge(1);
    if (shared) {
      slots_.unlock_unshare(entry);
    } else {
      group_->accounts().charge_resident(frames_.owner(frame).entry.account, -1);
      if (copied) {
        frames_.disowned(frame);
      } else {
        frames_.moved_away(frame);
      }
      slots_.unlock_and_free(entry);
    }
    store_resident(page, after);
    return Outcome::kDone;
  }
  slots_.unlock(entry);
  return outcome_of(result);
}

// Of putting one page where, by its word, none is.
Space::Outcome Space::outcome_of(const MoveResult& result) {
  if (result.moved == 1) return Outcome::kDone;
  switch (result.status) {
    case MoveStatus::kChanging:
      return Outcome::kChanging;
    case MoveStatus::kNoMemory:
      return Outcome::kNoMemory;
    case MoveStatus::kExists:
      COLDPRESS_CHECK(!"a page that is out is also resident");
    default:
      return Outcome::kGone;  // there is no mapping to put it into; its message will drop the entry
  }
}

void Space::count_lost(Loaded why) {
  if (why == Loaded::kGood) return;
  add_to(why == Loaded::kDamaged ? group_->stats().decompress_fail : group_->stats().swap_read_fail);
}

Space::Outcome Space::poison(PageIndex page, Loaded why) {
  // Said before it happens: the program may be gone right after.
  if (!damage_reported_.exchange(true)) {
    Text text;
    text << "a compressed page is damaged or can not be read: the program gets SIGBUS when it touches ";
    text.hex(page.address())
        << "; everything else goes on (decompress_fail and swap_read_fail count such pages)";
    report(text);
  }
  switch (mmu_->poison(page)) {
    case MoveStatus::kDone:
      count_lost(why);
      break;
    case MoveStatus::kChanging:
      return Outcome::kChanging;
    case MoveStatus::kNoMemory:
      return Outcome::kNoMemory;
    case MoveStatus::kHole:
    case MoveStatus::kGone:
      return Outcome::kGone;  // no mapping: as in outcome_of()
    default:
      COLDPRESS_CHECK(!"a lost page can not be marked, and without the mark it would read zero");
  }
  mmu_->wake({page, page + 1});
  return Outcome::kDone;
}

// First touch. A hole of a registered range whose word is not an entry reads zero.
Space::Outcome Space::fill(PageIndex page, bool write) {
  std::uint32_t pages = fill_window(page);
  if (counted_) {
    // The kernel would not tell when the zero page is written to; nor may a word be missing that says who
    // pays.
    write = true;
    if (table_.ensure(page) == nullptr) return Outcome::kNoMemory;
    std::uint64_t of_leaf = PageTable::kLeafPages - page.value % PageTable::kLeafPages;
    pages = static_cast<std::uint32_t>(std::min<std::uint64_t>(pages, of_leaf));
  }
  MoveResult result = mmu_->fill_zero(page, pages, write);
  if (result.moved == 0 && result.status == MoveStatus::kGone && pages > 1) {
    result = mmu_->fill_zero(page, 1, write);  // the window left the mapping
  }
  if (result.moved > 0) {
    if (write) group_->charge(result.moved);
    add_to(group_->stats().pgfault_zero, result.moved);
    for (std::uint32_t i = 0; i < result.moved; ++i) {
      // No longer zapped.
      if (counted_ || table_.find(page + i) != nullptr) store_resident(page + i, PageWord());
    }
    // A mapping that grew in place is registered to its end, and no message tells.
    if (!regions_.contains({page, page + 1})) (void)regions_.add({page, page + result.moved});
    return Outcome::kDone;
  }
  switch (result.status) {
    case MoveStatus::kChanging:
      return Outcome::kChanging;
    case MoveStatus::kNoMemory:
      return Outcome::kNoMemory;
    default:  // already there, or gone: the thread looks again
      mmu_->wake({page, page + 1});
      return Outcome::kDone;
  }
}

// How many pages from `page` on to fill at once: more and more while first touches run upwards.
std::uint32_t Space::fill_window(PageIndex page) {
  constexpr std::uint32_t kMaxWindow = 64;
  FillHint& hint = fill_hints_[page.value / PageTable::kLeafPages % kFillHints];
  hint.window = hint.next == page ? hint.window * 2 : 1;
  if (hint.window > kMaxWindow) hint.window = kMaxWindow;
  PageRange region = regions_.at_or_after(page);
  std::uint64_t room = region.contains(page) ? region.end - page : 1;
  room = static_cast<std::uint64_t>(
      std::clamp<std::int64_t>(room_at_once(owners_.at(page)), 1, static_cast<std::int64_t>(room)));
  if (!owners_.empty()) room = std::min(room, owners_.to_next(page));
  std::uint32_t pages = 1;
  while (pages < hint.window && pages < room) {
    PageWord word = table_.peek(page + pages);
    if (word.is_out() || word.is_poisoned()) break;
    ++pages;
  }
  hint.next = page + pages;
  return pages;
}

PageWord Space::word_after_load(PageIndex page, PageWord entry_word) {
  memgroup::Stats& stats = group_->stats();
  add_to(stats.workingset_refault);
  group_->accounts().count(owners_.at(page), &memgroup::Account::workingset_refault);
  // Refault distance in units of 1/64 of the limit: what was out for less than a turn of the resident set
  // would have been a hit with a little more memory. Nearly a turn is what everything takes that is used in a
  // loop too large for the memory: kept all, none of it would stay (docs/performance.md).
  constexpr std::uint32_t kSoon = 40;
  std::uint32_t distance = (shadow_now(page) - entry_word.shadow()) & PageWord::kShadowMask;
  if (distance <= kSoon) {
    add_to(stats.workingset_activate);
    return activated(entry_word.backoff());
  }
  return PageWord::native(entry_word.backoff() > 0 ? entry_word.backoff() - 1 : 0, 1);
}

// By the tightest limit that the page is under, and what was captured under it.
std::uint32_t Space::shadow_now(PageIndex page) {
  std::int64_t limit = group_->limit();
  std::uint64_t captures = captures_.load(sync::kRelaxed);
  const memgroup::Accounts& accounts = group_->accounts();
  for (memgroup::AccountId id = owners_.at(page); id != memgroup::kProcess; id = accounts[id].parent) {
    std::int64_t max = accounts[id].max.load(sync::kRelaxed);
    if (max >= limit) continue;
    limit = max;
    captures = accounts[id].pgsteal.load(sync::kRelaxed);
  }
  return static_cast<std::uint32_t>(captures / (static_cast<std::uint64_t>(limit) / 64 + 1)) &
         PageWord::kShadowMask;
}

// How many pages a fault may bring. A little above the limit, one: where reclaim is held up, for instance
// until what a fork has shared is this process's own again, faults must not run away from it.
std::int64_t Space::room_at_once(memgroup::AccountId account) const {
  std::int64_t room = group_->accounts().room(account);
  std::int64_t over = group_->usage() - group_->limit();
  if (over < 0 || paused_.load(sync::kRelaxed) || hopeless()) return room;
  return std::min<std::int64_t>(room, std::int64_t{swap::kGroupFrames} - over);
}

void Space::make_room(Worker& worker) {
  std::int64_t usage = group_->usage();
  if (usage > group_->high() && usage_source_ != nullptr) {
    bool more = worker.background || paused_.load(sync::kRelaxed) || capture_ahead();
    if (more && !sync::is_mutant(sync::Mutant::kClaimQuietly)) usage_source_->pressure();
  }
  if (usage < group_->limit()) return;
  if (hopeless()) return;
  sync::mark("fault: makes room first");
  add_to(group_->stats().direct_reclaim);
  reclaim_to(group_->limit() - static_cast<std::int64_t>(swap::kGroupFrames), worker);
}

}  // namespace coldpress::vm
