// What Zswap does with the copies of pages that are in the program's memory: kept_copies.h says what for.
#include <algorithm>
#include <cstring>
#include <iterator>

#include "codec/page_content.h"
#include "sync/explore.h"
#include "zswap/zswap.h"

namespace coldpress::zswap {

namespace {
constexpr std::size_t kLookedAtOnce = 2048;  // places, with the mutex held
}  // namespace

bool Zswap::keep(std::uint32_t entry, PageIndex page) {
  Entry& e = entries_[entry];
  // What is raw costs a page; what is on its way to a device leaves a record behind that would find no owner.
  if (e.writing || e.codec == codec::Kind::kRaw) return false;
  // From then on it is the table's, and may be freed and given to another page at any moment.
  const std::int64_t length = e.length;
  const memgroup::AccountId account = e.account;
  std::uint32_t sent_away = 0;
  {
    sync::MutexLock lock(mutex_);
    if (!kept_.wanted(static_cast<std::size_t>(length), group_->limit())) return false;
    sent_away = kept_.put(page, entry);
    if (sent_away == entry) return false;
    kept_.add_bytes(length - std::int64_t{sent_away != 0 ? entries_[sent_away].length : 0});
    take_off(entry);
    e.kept = true;
  }
  sync::mark("zswap: a copy is kept");
  count_stored(account, -1, -length);
  if (sent_away != 0) free_kept(sent_away);
  return true;
}

// The caller's alone from now on; 0: none.
std::uint32_t Zswap::take_kept(PageIndex page) {
  if (kept_.bytes() == 0) return 0;
  sync::MutexLock lock(mutex_);
  std::uint32_t entry = kept_.take(page);
  if (entry != 0) kept_.add_bytes(-std::int64_t{entries_[entry].length});
  return entry;
}

void Zswap::free_kept(std::uint32_t entry) {
  group_->uncharge(pool_.free(entries_[entry].handle, entries_[entry].length));
  sync::MutexLock lock(mutex_);
  free_entry(entry);
}

bool Zswap::store_kept(Worker& worker, const std::byte* bytes, PageIndex page, swap::Owner owner,
                       std::uint32_t* entry) {
  std::uint32_t copy = take_kept(page);
  if (copy == 0) return false;
  Entry& e = entries_[copy];
  bool same = enabled() && codec::page_checksum(bytes) == e.checksum;
  same = same && with_content(copy, [&](const swap::Content& content) {
           auto kind = static_cast<codec::Kind>(content.codec);
           return worker.codec.decompress(kind, content.data, content.length, worker.buffer) &&
                  std::memcmp(worker.buffer, bytes, kPageBytes) == 0;
         });
  if (sync::is_mutant(sync::Mutant::kTrustCopy)) same = true;
  {
    sync::MutexLock lock(mutex_);
    kept_.served(same);
    if (same) {
      e.slot = owner.slot;
      e.generation = owner.generation;
      e.account = owner.account;
      if (e.age != kTried) e.age = 0;
      e.referenced = true;
      e.kept = false;
      put_on(copy);
    }
  }
  if (!same) {
    sync::mark("zswap: a kept copy is out of date");
    if (!sync::is_mutant(sync::Mutant::kLeakCopy)) free_kept(copy);
    return false;
  }
  sync::mark("zswap: a kept copy serves");
  count_stored(owner.account, 1, e.length);
  count_out(owner.account);
  memgroup::add_to(group_->stats().zswpout_kept);
  *entry = copy;
  return true;
}

// Takes out, by take(), as many as `found` has room for; the mutex is let go after each.
template <typename Take>
std::size_t Zswap::free_some_kept(Take take) {
  std::uint32_t found[64];
  std::size_t count = 0;
  {
    sync::MutexLock lock(mutex_);
    for (std::uint32_t entry = 0; count < std::size(found) && (entry = take()) != 0;) {
      kept_.add_bytes(-std::int64_t{entries_[entry].length});
      found[count++] = entry;
    }
  }
  for (std::size_t i = 0; i < count; ++i) free_kept(found[i]);
  return count;
}

bool Zswap::sweep_kept(std::size_t places, bool all) {
  while (places > 0 && kept_.bytes() > 0) {
    std::size_t now = std::min(places, kLookedAtOnce), before = now;
    std::size_t freed = free_some_kept([&]() NO_THREAD_SAFETY_ANALYSIS { return kept_.sweep(now, all); });
    if (all && freed > 0) return true;
    places -= before - now;
  }
  return false;
}

bool Zswap::drop_kept() { return sweep_kept(kept_.places(), true); }

bool Zswap::keeps_too_many() const { return kept_.bytes() > KeptCopies::most_bytes(group_->limit()); }

void Zswap::age_kept(std::size_t turns) { sweep_kept(kept_.places() / turns + 1, false); }

void Zswap::forget_kept(PageRange range) {
  if (range.pages() > kept_.places()) {
    while (drop_kept()) {
    }
    return;
  }
  while (!range.empty() && kept_.bytes() > 0) {
    std::size_t left = kLookedAtOnce;
    free_some_kept([&]() NO_THREAD_SAFETY_ANALYSIS {
      std::uint32_t entry = 0;
      for (; entry == 0 && left > 0 && !range.empty(); --left) {
        entry = kept_.take(range.begin);
        range.begin = range.begin + 1;
      }
      return entry;
    });
  }
}

}  // namespace coldpress::zswap
