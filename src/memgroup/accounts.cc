#include "memgroup/accounts.h"

#include <algorithm>
#include <new>

namespace coldpress::memgroup {

AccountId Accounts::open(AccountId parent, const Limits& limits) {
  sync::MutexLock lock(mutex_);
  std::uint32_t id = 1, end = end_.load(sync::kRelaxed);
  while (id < end && !is_free(table_[id])) ++id;
  if (id == kMaxAccounts || !table_.grow_to(std::size_t{id} + 1)) return kProcess;
  if (id < end && table_[id].parent != kProcess) --table_[table_[id].parent].children;
  Account& account = *new (&table_[id]) Account;
  account.parent = parent;
  if (parent != kProcess) ++table_[parent].children;
  auto number = static_cast<AccountId>(id);
  set_limits(number, limits);
  account.open.store(true);
  if (id == end) end_.store(end + 1, sync::kRelease);
  return number;
}

void Accounts::set_limits(AccountId id, const Limits& limits) {
  Account& account = table_[id];
  account.max.store(limits.max);
  account.high.store(limits.high);
  account.swap_max.store(limits.swap_max);
  account.zswap_max_bytes.store(limits.zswap_max_bytes);
  account.writeback.store(limits.writeback);
  account.hopeless_until_ns.store(0);
}

Limits Accounts::limits(AccountId id) const {
  const Account& account = table_[id];
  return {account.max.load(), account.high.load(), account.swap_max.load(), account.zswap_max_bytes.load(),
          account.writeback.load()};
}

void Accounts::close(AccountId id) {
  sync::MutexLock lock(mutex_);
  set_limits(id, {});
  table_[id].open.store(false);
}

void Accounts::charge_resident(AccountId id, std::int64_t pages) {
  for (; id != kProcess; id = table_[id].parent) {
    Account& account = table_[id];
    account.resident.fetch_add(pages, sync::kRelaxed);
    account.note_peak();
  }
}

void Accounts::charge_stored(AccountId id, std::int64_t pages, std::int64_t bytes) {
  for (; id != kProcess; id = table_[id].parent) {
    table_[id].stored.fetch_add(pages, sync::kRelaxed);
    table_[id].stored_bytes.fetch_add(bytes, sync::kRelaxed);
    table_[id].note_peak();
  }
}

void Accounts::charge_swapped(AccountId id, std::int64_t pages) {
  for (; id != kProcess; id = table_[id].parent) table_[id].swapped.fetch_add(pages, sync::kRelaxed);
}

bool Accounts::within(AccountId id, AccountId above) const {
  while (id != above && id != kProcess) id = table_[id].parent;
  return id == above;
}

AccountId Accounts::at_max(AccountId id) const {
  return first(id, [](const Account& a) { return a.usage() >= a.max.load(sync::kRelaxed); });
}

AccountId Accounts::above_high(AccountId id) const {
  return first(id, [](const Account& a) { return a.usage() > a.high.load(sync::kRelaxed); });
}

AccountId Accounts::at_zswap_max(AccountId id) const {
  return first(id, [](const Account& a) {
    return a.stored_bytes.load(sync::kRelaxed) >= a.zswap_max_bytes.load(sync::kRelaxed);
  });
}

AccountId Accounts::at_swap_max(AccountId id) const {
  return first(
      id, [](const Account& a) { return a.swapped.load(sync::kRelaxed) >= a.swap_max.load(sync::kRelaxed); });
}

std::int64_t Accounts::room(AccountId id) const {
  std::int64_t least = kNoLimit;
  for (; id != kProcess; id = table_[id].parent) {
    least = std::min(least, table_[id].max.load(sync::kRelaxed) - table_[id].usage());
  }
  return least;
}

std::int64_t Accounts::zswap_over(AccountId id) const {
  std::int64_t most = -kNoLimit;
  for (; id != kProcess; id = table_[id].parent) {
    most = std::max(
        most, table_[id].stored_bytes.load(sync::kRelaxed) - table_[id].zswap_max_bytes.load(sync::kRelaxed));
  }
  return most;
}

bool Accounts::writes_back(AccountId id) const {
  return first(id, [](const Account& a) { return !a.writeback.load(sync::kRelaxed); }) == kProcess;
}

}  // namespace coldpress::memgroup
