// Memory groups within a process: a tree of accounts, each with limits, what is charged to it, and what
// happened to it.
//
// Account 0 is the process (memgroup::Group has its limit); the others are below it. What is charged to an
// account is charged to all above it but account 0, whose figures are those of the whole engine:
//   resident  pages in memory: the program's, and those that were captured and are not compressed yet
//   stored    compressed pages in the pool, and their bytes
//   swapped   pages on swap devices, those on their way there included
// Usage, which max and high limit, is the resident pages and the stored bytes. The owner of a page pays,
// whoever reclaims: the account is kept with the bytes (page word, frame, zswap entry, record).
//
// An account that is closed stays until nothing is charged to it, and none is below it; then its number is
// given again.
//
// Thread safety: all functions from any thread; open() and close() lock. Units: pages, where nothing is said.
#pragma once

#include <cstdint>

#include "base/memory_source.h"
#include "memgroup/pressure.h"
#include "sync/atomic.h"
#include "sync/explore.h"
#include "sync/mutex.h"

namespace coldpress::memgroup {

using AccountId = std::uint8_t;
inline constexpr AccountId kProcess = 0;
inline constexpr std::size_t kMaxAccounts = 64;
inline constexpr std::int64_t kNoLimit = INT64_MAX;

struct Limits {
  std::int64_t max = kNoLimit;              // a fault that finds usage here reclaims first
  std::int64_t high = kNoLimit;             // above, background reclaim runs
  std::int64_t swap_max = kNoLimit;         // on devices
  std::int64_t zswap_max_bytes = kNoLimit;  // compressed
  bool writeback = true;                    // to devices; of all above it, too
};

// X(name): what happens to an account, and to all above it.
#define COLDPRESS_ACCOUNT_EVENTS(X)                                          \
  X(reached_high)      /* faults that found usage above high */              \
  X(reached_max)       /* faults that found usage at max, and reclaimed */   \
  X(limit_exceeded)    /* times that max could not be held */                \
  X(reached_swap_max)  /* writebacks that left it out because of swap_max */ \
  X(reached_zswap_max) /* and stores and reclaims that met zswap_max */      \
  X(pgfault)                                                                 \
  X(pgmajfault)                                                              \
  X(zswpin)                                                                  \
  X(swpout_zero)                                                             \
  X(zswpout)                                                                 \
  X(zswpwb)                                                                  \
  X(pswpin)                                                                  \
  X(pgsteal)                                                                 \
  X(workingset_refault)

struct Account {
  AccountId parent = kProcess;
  std::uint32_t children = 0;  // guarded by the mutex of Accounts
  sync::Atomic<bool> open{false};
  sync::Atomic<std::int64_t> max{kNoLimit}, high{kNoLimit}, swap_max{kNoLimit}, zswap_max_bytes{kNoLimit};
  sync::Atomic<bool> writeback{true};
  sync::Atomic<std::int64_t> resident{0}, stored{0}, stored_bytes{0}, swapped{0};
  sync::Atomic<std::int64_t> peak{0};
  sync::Atomic<std::int64_t> hopeless_until_ns{0};  // reclaim has given up max, until then
  std::int64_t background_until_ns = 0;             // and high: the background's own
#define COLDPRESS_FIELD(name) sync::Atomic<std::uint64_t> name{0};
  COLDPRESS_ACCOUNT_EVENTS(COLDPRESS_FIELD)
#undef COLDPRESS_FIELD
  Pressure pressure;

  std::int64_t usage() const {
    return resident.load(sync::kRelaxed) + (stored_bytes.load(sync::kRelaxed) >> kPageShift);
  }
  void note_peak() {
    std::int64_t now = usage(), before = peak.load(sync::kRelaxed);
    while (now > before && !peak.compare_exchange_strong(before, now, sync::kRelaxed, sync::kRelaxed)) {
    }
  }
  bool charged() const { return resident.load() != 0 || stored.load() != 0 || swapped.load() != 0; }
};

class Accounts {
 public:
  [[nodiscard]] bool init(MemorySource& source) {
    if (!table_.init(source, kMaxAccounts)) return false;
    sync::name_each(table_.data(), kMaxAccounts, "account");
    sync::name_object(end_, "account end");
    sync::name_object(mutex_, "accounts");
    return true;
  }

  // A new account below `parent`. kProcess: there are too many, or no memory.
  AccountId open(AccountId parent, const Limits& limits);
  void set_limits(AccountId id, const Limits& limits);
  Limits limits(AccountId id) const;
  // Nothing is charged to it by new pages any more; its limits hold no more.
  void close(AccountId id);
  // Whether there was ever one but account 0.
  bool any() const { return end_.load(sync::kAcquire) > 1; }
  std::size_t end() const { return end_.load(sync::kAcquire); }
  Account& operator[](AccountId id) const { return table_[id]; }
  bool is_open(AccountId id) const { return id != kProcess && table_[id].open.load(); }

  void charge_resident(AccountId id, std::int64_t pages);
  void charge_stored(AccountId id, std::int64_t pages, std::int64_t bytes);
  void charge_swapped(AccountId id, std::int64_t pages);
  void count(AccountId id, sync::Atomic<std::uint64_t> Account::*event, std::uint64_t by = 1) {
    for (; id != kProcess; id = table_[id].parent) (table_[id].*event).fetch_add(by, sync::kRelaxed);
  }

  // Whether `id` is `above`, or below it.
  bool within(AccountId id, AccountId above) const;
  // The first account, from `id` up, whose usage is at its max (above its high); kProcess: none.
  AccountId at_max(AccountId id) const;
  AccountId above_high(AccountId id) const;
  // Pages until one of them is at its max.
  std::int64_t room(AccountId id) const;
  // Of the account or one above it, but account 0.
  bool zswap_full(AccountId id) const { return at_zswap_max(id) != kProcess; }
  // The first account, from `id` up, that has met that limit; kProcess: none.
  AccountId at_zswap_max(AccountId id) const;
  AccountId at_swap_max(AccountId id) const;
  // Compressed bytes beyond what it may have; negative: what it may have yet.
  std::int64_t zswap_over(AccountId id) const;
  bool swap_full(AccountId id) const { return at_swap_max(id) != kProcess; }
  bool writes_back(AccountId id) const;

 private:
  template <typename Predicate>
  AccountId first(AccountId id, Predicate matches) const {
    while (id != kProcess && !matches(table_[id])) id = table_[id].parent;
    return id;
  }
  static bool is_free(Account& account) {
    return !account.open.load() && account.children == 0 && !account.charged() &&
           !account.pressure.waited_for();
  }

  ReservedArray<Account> table_;
  sync::Atomic<std::uint32_t> end_{1};
  sync::Mutex mutex_;
};

// A thread waits for a page of the account, for as long as this lives.
class WaitingFor {
 public:
  WaitingFor(const Accounts& accounts, AccountId id) : accounts_(accounts), id_(id) {
    if (id_ != kProcess) change(&Pressure::begin);
  }
  ~WaitingFor() {
    if (id_ != kProcess) change(&Pressure::end);
  }
  WaitingFor(const WaitingFor&) = delete;
  WaitingFor& operator=(const WaitingFor&) = delete;

 private:
  void change(void (Pressure::*what)(std::int64_t)) {
    std::int64_t now = sync::now_ns();
    for (AccountId id = id_; id != kProcess; id = accounts_[id].parent) (accounts_[id].pressure.*what)(now);
  }
  const Accounts& accounts_;
  AccountId id_;
};

}  // namespace coldpress::memgroup
