// Memory groups within the space: who pays for a page, and reclaim that takes from one group only.
//
// Usage is counted, not measured, where every page comes through the engine (SpaceOptions::counted): the page
// word of a page in memory names the account that pays for it, so it is taken off that account whatever has
// become of the mapping meanwhile. Page, frame, entry, record: whatever holds the bytes holds the account.
//
// A group over its limit gives up its own pages. Its hand goes round its own ranges, and of the frames at
// rest it compresses its own; what is beside it is not touched.
#include <algorithm>

#include "sync/explore.h"
#include "sync/futex.h"
#include "vm/space.h"

namespace coldpress::vm {

using memgroup::Account;
using memgroup::AccountId;
using memgroup::kProcess;
namespace {

constexpr std::uint32_t kMostIdleSteps = 8;
constexpr std::int64_t kMaxPauseNs = 10'000'000;
constexpr std::uint64_t kScanPages = 256;  // at once

}  // namespace

// Below the first that is open, from the account up: it may have been closed since the caller looked.
bool Space::give_to(PageRange range, AccountId account) {
  const memgroup::Accounts& accounts = group_->accounts();
  sync::MutexLock lock(layout_);
  while (account != kProcess && !accounts.is_open(account)) account = accounts[account].parent;
  return owners_.set(range, account);
}

void Space::close_group(AccountId account) {
  memgroup::Accounts& accounts = group_->accounts();
  sync::MutexLock lock(layout_);
  AccountId parent = accounts[account].parent;
  while (parent != kProcess && !accounts.is_open(parent)) parent = accounts[parent].parent;
  owners_.replace(account, parent);
  accounts.close(account);
}

void Space::charge_uncounted(std::int64_t pages) {
  group_->charge(static_cast<std::uint64_t>(pages));
  uncounted_.fetch_add(pages, sync::kRelaxed);
}

AccountId Space::account_of(PageIndex page, std::uint64_t* to_next) {
  *to_next = ~std::uint64_t{0} >> 1;
  if (!group_->accounts().any()) return kProcess;
  sync::MutexLock lock(layout_);
  *to_next = owners_.to_next(page);
  return owners_.at(page);
}

// The page is in memory now.
void Space::store_resident(PageIndex page, PageWord hints) {
  if (counted_) {
    // Filled while MADV_DONTNEED was under way, and dropped by it.
    if (PageTable::Word* before = table_.find(page))
      forget_payer(PageWord::from_raw(before->load(sync::kRelaxed)));
    AccountId account = owners_.at(page);
    group_->accounts().charge_resident(account, 1);
    hints = hints.paid_by(account + 1u);
  }
  store_word(page, hints);
}

// Of pages that were not found in memory: who pays for one does not any more. MADV_DONTNEED drops what it
// finds, also what was filled after its message was taken, and no other message tells. The kernel may also
// have it swapped out or on its way, or have moved it with the mapping; so it is asked again.
void Space::forget_absent(PageRange range) {
  for (PageIndex page = table_.next_leaf(range.begin, range.end); page < range.end;) {
    PageWord word = table_.peek(page);
    if (word.payer() != 0) {
      std::uint64_t zero = 0;
      if (mmu_->changing()) return;
      if ((mmu_->holding(page, 1, &zero) & ~zero) == 0) {
        forget_payer(word);
        store_word(page, word.paid_by(0));
      }
    }
    page = table_.next(page, range.end);
  }
}

// Of pages that were found: somebody pays. What was written to after MADV_FREE came back without a fault; it
// stays marked as zapped, since the kernel may drop it still.
void Space::charge_present(PageRange range) {
  for (PageIndex page = range.begin; page < range.end; page = page + 1) {
    PageTable::Word* at = table_.ensure(page);
    if (at == nullptr) return;
    PageWord word = PageWord::from_raw(at->load(sync::kRelaxed));
    if (word.is_out() || word.is_poisoned() || word.payer() != 0) continue;
    if (word.is_zapped()) recheck_.wanted.store(true, sync::kRelaxed);
    group_->charge(1);
    group_->accounts().charge_resident(owners_.at(page), 1);
    at->store(word.paid_by(owners_.at(page) + 1u).raw(), sync::kRelease);  // E
  }
}

// Where memory is, of `range`, from its begin to *scanned_to. Who paid for what is not there does not any
// more; with `charge` somebody pays for what is.
std::size_t Space::scan(PageRange range, bool charge, std::span<PageRange> found, PageIndex* scanned_to) {
  std::size_t runs = mmu_->scan_present(range, kScanPages, found, scanned_to);
  if (!counted_) return runs;
  PageIndex gap = range.begin;
  for (PageRange run : found.first(runs)) {
    forget_absent({gap, run.begin});
    if (charge) charge_present(run);
    gap = run.end;
  }
  forget_absent({gap, std::max(gap, *scanned_to)});
  return runs;
}

// MADV_DONTNEED is announced first and drops its pages then. Those that a scan finds in between are charged,
// and nobody tells when they go; nor does the hand come by where memory is not short. By the background, now
// and then, more seldom where it changes nothing: pages that came back after MADV_FREE look the same, and
// stay.
void Space::recheck_dropped() {
  constexpr std::int64_t kFirstPauseNs = 100'000'000, kLongestPauseNs = 10'000'000'000;
  std::int64_t now = sync::now_ns();
  if (!counted_ || !recheck_.wanted.load(sync::kRelaxed) || now < recheck_.next_ns) return;
  recheck_.wanted.store(false, sync::kRelaxed);
  bool stay = false;
  auto came_back = [this](PageRange run) {
    for (PageIndex page = run.begin; page < run.end; page = page + 1) {
      PageWord word = table_.peek(page);
      if (word.is_zapped() && word.payer() != 0) return true;
    }
    return false;
  };
  for (PageIndex at{0};;) {
    sync::MutexLock lock(layout_);
    at = table_.next_leaf(at, kEndOfPages);
    PageIndex end{(at.value / PageTable::kLeafPages + 1) * PageTable::kLeafPages};
    if (at >= kEndOfPages) break;
    PageRange part = intersect(regions_.at_or_after(at), {at, end});
    at = part.empty() ? end : part.end;
    while (!part.empty()) {
      PageRange found[16];
      PageIndex scanned_to;
      std::size_t runs = scan(part, false, found, &scanned_to);
      for (std::size_t i = 0; i < runs; ++i) stay = stay || came_back(found[i]);
      part.begin = std::min(std::max(part.begin + 1, scanned_to), part.end);
    }
  }
  if (stay) recheck_.wanted.store(true, sync::kRelaxed);
  recheck_.pause_ns = stay ? std::clamp(recheck_.pause_ns * 2, kFirstPauseNs, kLongestPauseNs) : 0;
  recheck_.next_ns = now + recheck_.pause_ns;
}

// What the word says does not hold any more.
void Space::forget_word(PageWord word) {
  if (word.is_entry()) drop_entry(word.entry());
  if (word.is_loading()) give_up_loading(word);
  forget_payer(word);
}

void Space::forget_payer(PageWord word) {
  if (word.payer() == 0) return;
  group_->uncharge(1);
  group_->accounts().charge_resident(static_cast<AccountId>(word.payer() - 1), -1);
}

// Ranges take their group along; a place that was kept has it, too.
void Space::move_owners(PageRange from, PageIndex to) {
  if (owners_.empty()) return;
  for (PageIndex at = from.begin; at < from.end;) {
    OwnerMap::Part part = owners_.at_or_after(at);
    PageRange range =
        part.range.empty() ? PageRange{from.end, from.end} : intersect(part.range, {at, from.end});
    if (range.empty()) range = {from.end, from.end};
    PageRange before{to + (at - from.begin), to + (range.begin - from.begin)};
    if (!before.empty()) owners_.remove(before);
    PageRange target{before.end, before.end + range.pages()};
    if (!target.empty()) COLDPRESS_CHECK(owners_.set(target, part.account));
    at = range.end;
  }
}

// Whether its pages may go beyond the pool.
bool Space::may_write_back(AccountId account) const {
  const memgroup::Accounts& accounts = group_->accounts();
  return accounts.writes_back(account) && !accounts.swap_full(account);
}

bool Space::store_refused(AccountId account) const {
  memgroup::Accounts& accounts = group_->accounts();
  AccountId full = accounts.at_zswap_max(account);  // kProcess: none of the groups
  bool all_full = zswap_max_left() <= 0;
  if ((!all_full && full == kProcess) || (takes_raw() && may_write_back(account))) return false;
  if (all_full) memgroup::add_to(group_->stats().zswap_max_hit);
  accounts.count(full, &Account::reached_zswap_max);
  return true;
}

// Where the background begins to reclaim a group: faults find room most of the time, since there is a reserve
// below max, as the process has one.
std::int64_t Space::mark_of(const Account& account) {
  constexpr std::int64_t kMostReserve = 4096;
  std::int64_t max = account.max.load(sync::kRelaxed);
  return std::min(account.high.load(sync::kRelaxed), max - std::min(max / 16, kMostReserve));
}

// Of a fault in the account's range.
void Space::make_room_within(AccountId account, Worker& worker) {
  memgroup::Accounts& accounts = group_->accounts();
  if (AccountId above = accounts.above_high(account); above != kProcess) {
    accounts.count(above, &Account::reached_high);
  }
  bool wanted = false;
  for (AccountId id = account; id != kProcess; id = accounts[id].parent) {
    wanted = wanted || accounts[id].usage() > mark_of(accounts[id]);
  }
  if (wanted && usage_source_ != nullptr) usage_source_->pressure();
  for (AccountId full = accounts.at_max(account); full != kProcess;
       full = accounts.at_max(accounts[full].parent)) {
    if (accounts[full].hopeless_until_ns.load(sync::kRelaxed) > sync::now_ns()) continue;
    sync::mark("fault: makes room in its group first");
    accounts.count(full, &Account::reached_max);
    reclaim_group(full, accounts[full].max.load(sync::kRelaxed) - 1, worker);
  }
}

// A slice of each in turn: one that faults as fast as it is reclaimed keeps the background from no other.
void Space::watch_groups(Worker& worker) {
  constexpr std::int64_t kSliceNs = 2'000'000, kHighPauseNs = 20'000'000;
  if (zswap_max_left() < 0) write_back(WritebackNeed::kBackground, worker);
  memgroup::Accounts& accounts = group_->accounts();
  for (std::size_t i = 1; i < accounts.end(); ++i) {
    auto id = static_cast<AccountId>(i);
    Account& account = accounts[id];
    std::int64_t now = sync::now_ns();
    if (account.pressure.due(now)) account.pressure.update(now, 0);
    if (!accounts.is_open(id) || account.background_until_ns > now) continue;
    std::int64_t mark = mark_of(account);
    bool held = account.usage() <= mark || reclaim_group(id, mark - mark / 64, worker, now + kSliceNs);
    if (!held) {
      // Not again at once: it would only pass over hints until pages in use go.
      account.background_until_ns = now + kHighPauseNs;
    } else if (account.usage() > mark && usage_source_ != nullptr) {
      usage_source_->pressure();  // the rest, as soon as the others had their slice
    }
    if (account.stored_bytes.load(sync::kRelaxed) > account.zswap_max_bytes.load(sync::kRelaxed)) {
      write_back(WritebackNeed::kBackground, worker, id);
    }
  }
}

// Takes pages of the account, and of those below it, until its usage is at most `target`. What others are at
// is waited for, a little.
bool Space::reclaim_group(AccountId id, std::int64_t target, Worker& worker, std::int64_t until_ns) {
  constexpr std::int64_t kLookNs = 200'000, kPatienceNs = 1'000'000'000;
  Account& account = group_->accounts()[id];
  std::size_t pending = worker.pending_count;
  auto left = [&] {  // pages that went out, or on
    return account.zswpout.load(sync::kRelaxed) + account.swpout_zero.load(sync::kRelaxed) +
           account.zswpwb.load(sync::kRelaxed);
  };
  std::int64_t waiting_until = 0;
  std::uint64_t gone = left();
  std::uint32_t idle_steps = 0;  // that took nothing, or took out what came back
  for (std::uint32_t failures = 0; account.usage() > target;) {
    if (paused_.load(sync::kRelaxed) || worker.pending_count > pending) return true;
    if (until_ns != 0 && sync::now_ns() > until_ns) return true;
    std::uint32_t settled = writes_settled_.ticket();
    bool step = reclaim_group_step(id, failures > 0, worker);
    if (left() != gone) {
      gone = left();
      failures = idle_steps = 0;
      waiting_until = 0;
    } else if (!step || ++idle_steps > kMostIdleSteps) {
      idle_steps = 0;
      bool writes = devices_.under_way_bytes() > 0 || writing_.load(sync::kRelaxed);
      std::int64_t now = sync::now_ns();
      if (waiting_until == 0) waiting_until = now + kPatienceNs;
      if (!writes || now > waiting_until || device_stuck_.load(sync::kRelaxed)) ++failures;
      if (failures >= kFutileTurns) {
        if (account.usage() < account.max.load(sync::kRelaxed)) return false;
        account.hopeless_until_ns.store(now + kMaxPauseNs, sync::kRelaxed);
        group_->accounts().count(id, &Account::limit_exceeded);
        return false;
      }
      if (account.usage() >= account.max.load(sync::kRelaxed)) {
        writes && !device_stuck_.load(sync::kRelaxed) ? await_write(settled, worker)
                                                      : sync::sleep_ns(kLookNs);
      }
    }
    if (usage_source_ != nullptr && !usage_source_->keep_going()) return true;
  }
  return true;
}

// `all`: hints were heeded in vain.
bool Space::reclaim_group_step(AccountId id, bool all, Worker& worker) {
  const memgroup::Accounts& accounts = group_->accounts();
  release_spent(true);
  if (accounts.zswap_full(id)) {
    if (write_back(WritebackNeed::kSoon, worker, id)) return true;
    // More in the pool does not help: what is on its way out of it is what there is to wait for.
    if (devices_.leaving_bytes() > 0 && !device_stuck_.load(sync::kRelaxed)) return false;
  }
  auto ours = [&](const swap::FrameOwner& owner) { return accounts.within(owner.entry.account, id); };
  if (swap::GroupId rested = frames_.take_rested(sync::now_ns(), ours)) {
    Compressed compressed = compress_group(rested, worker, id);
    if (!compressed.all_back) drain_messages(worker);
    if (compressed.any || !compressed.all_back) return true;
  }
  Captured captured = capture_of(id, all);
  if (captured.pages > 0) return true;
  if (captured.interrupted) {
    drain_messages(worker);
    return true;
  }
  return write_back(WritebackNeed::kLastResort, worker, id);
}

// As capture_next(), of the account's ranges.
Space::Captured Space::capture_of(AccountId id, bool all) {
  sync::MutexLock scan(scan_mutex_);
  PageIndex& hand = group_hands_[id];
  bool wrapped = false;
  for (;;) {
    OwnerMap::Part part;
    {
      sync::MutexLock lock(layout_);
      part = owners_.at_or_after(hand);
    }
    if (part.range.empty()) {
      hand = {0};
      if (wrapped) return {};
      wrapped = true;
      continue;
    }
    if (group_->accounts().within(part.account, id)) {
      if (hand < part.range.begin) hand = part.range.begin;
      Captured captured = capture_batch(part.range, hand, all);
      if (captured.pages > 0 || captured.interrupted) return captured;
    }
    hand = part.range.end;
  }
}

}  // namespace coldpress::vm
