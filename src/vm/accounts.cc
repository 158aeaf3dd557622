// The accounts: what tables, pool, frames, devices and counters say about each other. With no operation under
// way they close.
#include "vm/space.h"

namespace coldpress::vm {

using swap::State;

void Space::recount() {
  std::uint64_t of[swap::kStates] = {};
  slots_.count_states(of);
  memgroup::Stats& stats = group_->stats();
  stats.stored_pages.store(of[static_cast<std::size_t>(State::kZswap)]);
  stats.same_filled_pages.store(of[static_cast<std::size_t>(State::kSame)]);
  stats.stored_bytes.store(zswap_.pool().stats().object_bytes - zswap_.kept_bytes());
}

Text Space::accounts() {
  Text problem;
  auto same = [&](const char* what, std::uint64_t one, std::uint64_t other) {
    if (one != other && problem.view().empty()) problem << what << ": " << one << " and " << other;
  };
  const memgroup::Stats& stats = group_->stats();
  std::uint64_t of[swap::kStates] = {}, entries = 0, words = 0, pool_pages = 0, pool_objects = 0;
  slots_.count_states(of);
  std::uint64_t records = devices_.settled_records();
  sync::MutexLock lock(layout_);
  for (PageIndex page = table_.next_leaf({0}, kEndOfPages); page < kEndOfPages;) {
    entries += table_.peek(page).is_out() ? 1 : 0;
    page = table_.next(page, kEndOfPages);
  }
  for (std::size_t i = 0; i < overtaken_.word_count(); ++i)
    words += overtaken_.word(i).word.is_entry() ? 1 : 0;
  for (std::size_t i = 0; i < zspool::ZsPool::class_count(); ++i) {
    zspool::ClassStats c = zswap_.pool().class_stats(i);
    pool_pages += c.zspages * c.shape.pages;
    pool_objects += c.objects;
  }
  auto count = [&](State state) { return of[static_cast<std::size_t>(state)]; };
  same("pages that are out, and the counts of slots", entries + words, slots_.shares());
  same("counts of slots, and what is known of them", slots_.shares(), slots_.names());
  same("slots in use, and by state", slots_.in_use(),
       count(State::kSame) + count(State::kFrame) + count(State::kZswap) + count(State::kDevice) +
           count(State::kLost));
  same("frames with an owner, and slots", frames_.owned_frames(), count(State::kFrame));
  same("stored_pages, and slots", stats.stored_pages.load(), count(State::kZswap));
  same("same_filled_pages, and slots", stats.same_filled_pages.load(), count(State::kSame));
  same("objects in the pool, and stored_pages", pool_objects,
       stats.stored_pages.load() + zswap_.kept_copies());
  same("stored_bytes, and those of the objects", stats.stored_bytes.load() + zswap_.kept_bytes(),
       zswap_.pool().stats().object_bytes);
  same("pages of the pool, and of its classes", zswap_.pool().pages(), pool_pages);
  same("records on devices, and slots", records, count(State::kDevice));
  if (counted_ && problem.view().empty()) problem = group_accounts();
  return problem;
}

// What is charged to each group, by what the bytes say themselves.
Text Space::group_accounts() {
  Text problem;
  const memgroup::Accounts& accounts = group_->accounts();
  struct Sum {
    std::int64_t resident = 0, stored = 0, stored_bytes = 0, swapped = 0;
  } of[memgroup::kMaxAccounts];
  for (PageIndex page = table_.next_leaf({0}, kEndOfPages); page < kEndOfPages;) {
    if (unsigned payer = table_.peek(page).payer(); payer != 0) ++of[payer - 1].resident;
    page = table_.next(page, kEndOfPages);
  }
  std::int64_t words = 0;
  for (const Sum& sum : of) words += sum.resident;
  auto held = static_cast<std::int64_t>(frames_.populated_frames() + zswap_.pool().held_pages());
  std::int64_t usage = group_->usage() - uncounted_.load(sync::kRelaxed);
  if (usage != words + held) problem << "usage, and pages in memory: " << usage << " and " << words + held;
  frames_.for_each_owner([&](const swap::FrameOwner& owner) { ++of[owner.entry.account].resident; });
  zswap_.for_each([&](memgroup::AccountId account, std::size_t bytes) {
    ++of[account].stored;
    of[account].stored_bytes += static_cast<std::int64_t>(bytes);
  });
  devices_.for_each([&](std::uint8_t account) { ++of[account].swapped; });
  for (std::size_t i = 1; i < accounts.end(); ++i) {
    auto id = static_cast<memgroup::AccountId>(i);
    Sum sum;
    for (std::size_t below = 1; below < accounts.end(); ++below) {
      if (!accounts.within(static_cast<memgroup::AccountId>(below), id)) continue;
      sum.resident += of[below].resident;
      sum.stored += of[below].stored;
      sum.stored_bytes += of[below].stored_bytes;
      sum.swapped += of[below].swapped;
    }
    const memgroup::Account& account = accounts[id];
    auto same = [&](const char* what, std::int64_t one, std::int64_t other) {
      if (one == other || !problem.view().empty()) return;
      problem << "group " << i << ", " << what << ": " << one << " and " << other;
    };
    same("pages in memory, and charged", sum.resident, account.resident.load());
    same("compressed pages, and charged", sum.stored, account.stored.load());
    same("compressed bytes, and charged", sum.stored_bytes, account.stored_bytes.load());
    same("pages on devices, and charged", sum.swapped, account.swapped.load());
  }
  return problem;
}

}  // namespace coldpress::vm
