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

constexpr std::uint32_t kFutileTurns = 4;
constexpr std::int64_t kPauseNs = 10'000'000;

}  // namespace

bool Space::give_to(PageRange range, AccountId account) {
  sync::MutexLock lock(layout_);
  return owners_.set(range, account);
}

void Space::close_group(AccountId account) {
  memgroup::Accounts& accounts = group_->accounts();
  AccountId parent = accounts[account].parent;
  {
    sync::MutexLock lock(layout_);
    owners_.replace(account, parent);
  }
  accounts.close(account);
}

void Space::charge_uncounted(std::int64_t pages) {
  group_->charge(static_cast<std::uint64_t>(pages));
  uncounted_.fetch_add(pages, sync::kRelaxed);
}

AccountId Space::account_of(PageIndex page) {
  if (!group_->accounts().any()) return kProcess;
  sync::MutexLock lock(layout_);
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

// Pages that are not in memory, and that somebody pays for: MADV_DONTNEED drops what it finds, also what was
// filled after its message was taken, and no other message tells.
void Space::forget_absent(PageRange range) {
  for (PageIndex page = table_.next_leaf(range.begin, range.end); page < range.end;) {
    PageWord word = table_.peek(page);
    if (word.payer() != 0) {
      forget_payer(word);
      store_word(page, word.paid_by(0));
    }
    page = page + 1;
    if (page.value % PageTable::kLeafPages == 0) page = table_.next_leaf(page, range.end);
  }
}

// What the word says does not hold any more.
void Space::forget_word(PageWord word) {
  if (word.is_entry()) drop_entry(word.entry());
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
  bool full = group_->accounts().zswap_full(account) || zswap_max_left() <= 0;
  return full && !(takes_raw() && may_write_back(account));
}

// Of a fault in the account's range.
void Space::make_room_within(AccountId account, Worker& worker) {
  memgroup::Accounts& accounts = group_->accounts();
  if (accounts.above_high(account) != kProcess) {
    accounts.count(accounts.above_high(account), &Account::reached_high);
    if (usage_source_ != nullptr) usage_source_->pressure();
  }
  for (AccountId full = accounts.at_max(account); full != kProcess;
       full = accounts.at_max(accounts[full].parent)) {
    if (accounts[full].hopeless_until_ns.load(sync::kRelaxed) > sync::now_ns()) continue;
    sync::mark("fault: makes room in its group first");
    accounts.count(full, &Account::reached_max);
    reclaim_group(full, accounts[full].max.load(sync::kRelaxed) - 1, worker);
  }
}

void Space::watch_groups(Worker& worker) {
  if (zswap_max_left() < 0) write_back(WritebackNeed::kBackground, worker);
  memgroup::Accounts& accounts = group_->accounts();
  for (std::size_t i = 1; i < accounts.end(); ++i) {
    auto id = static_cast<AccountId>(i);
    Account& account = accounts[id];
    if (!accounts.is_open(id) || account.hopeless_until_ns.load(sync::kRelaxed) > sync::now_ns()) continue;
    std::int64_t max = account.max.load(sync::kRelaxed);
    // Faults find room most of the time: a reserve below max, as the process has one.
    std::int64_t mark =
        std::min(account.high.load(sync::kRelaxed), max - std::min<std::int64_t>(max / 16, 4096));
    if (account.usage() > mark) reclaim_group(id, mark - mark / 64, worker);
    if (account.stored_bytes.load(sync::kRelaxed) > account.zswap_max_bytes.load(sync::kRelaxed)) {
      write_back(WritebackNeed::kBackground, worker, id);
    }
    if (account.pressure.due(sync::now_ns())) account.pressure.update(sync::now_ns(), 0);
  }
}

// Takes pages of the account, and of those below it, until its usage is at most `target`.
bool Space::reclaim_group(AccountId id, std::int64_t target, Worker& worker) {
  Account& account = group_->accounts()[id];
  std::size_t pending = worker.pending_count;
  for (std::uint32_t failures = 0; account.usage() > target;) {
    if (paused_.load(sync::kRelaxed) || worker.pending_count > pending) return true;
    if (reclaim_group_step(id, worker)) {
      failures = 0;
    } else if (++failures >= kFutileTurns) {
      if (account.usage() < account.max.load(sync::kRelaxed)) return false;
      account.hopeless_until_ns.store(sync::now_ns() + kPauseNs, sync::kRelaxed);
      group_->accounts().count(id, &Account::limit_exceeded);
      return false;
    }
    if (usage_source_ != nullptr && !usage_source_->keep_going()) return true;
  }
  return true;
}

bool Space::reclaim_group_step(AccountId id, Worker& worker) {
  const memgroup::Accounts& accounts = group_->accounts();
  release_spent();
  if (accounts.zswap_full(id) && write_back(WritebackNeed::kSoon, worker, id)) return true;
  auto ours = [&](const swap::FrameOwner& owner) { return accounts.within(owner.entry.account, id); };
  if (swap::GroupId rested = frames_.take_rested(sync::now_ns(), ours)) {
    Compressed compressed = compress_group(rested, worker, id);
    if (!compressed.all_back) drain_messages(worker);
    if (compressed.any || !compressed.all_back) return true;
  }
  Captured captured = capture_of(id);
  if (captured.pages > 0) return true;
  if (captured.interrupted) {
    drain_messages(worker);
    return true;
  }
  return write_back(WritebackNeed::kLastResort, worker, id);
}

// As capture_next(), of the account's ranges.
Space::Captured Space::capture_of(AccountId id) {
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
      Captured captured = capture_batch(part.range, hand, false);
      if (captured.pages > 0 || captured.interrupted) return captured;
    }
    hand = part.range.end;
  }
}

}  // namespace coldpress::vm
