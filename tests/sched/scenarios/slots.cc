// The slot table: slots are taken and given back without a lock, and their words locked by compare and swap.
#include "sched/arena.h"
#include "sched/scenarios/scenarios.h"
#include "swap/slot_table.h"

namespace coldpress::testing {
namespace {

using swap::Entry;
using swap::SlotTable;
using swap::SlotWord;
using swap::State;

Arena& arena() {
  static Arena one;
  return one;
}

// All that can be taken, one at a time.
std::uint32_t take_all(SlotTable& table) {
  std::uint32_t count = 0;
  Entry entry;
  while (table.allocate({&entry, 1}, FrameId{0}) == 1) ++count;
  return count;
}

// One slot, and two who take it and give it back: it is never lost.
void last_slot(Run& run) {
  arena().reset();
  SlotTable table;
  MUST(table.init(arena(), 2));
  sync::Atomic<int> owners{0};
  for (const char* name : {"first", "second"}) {
    run.task(name, [&] {
      for (int i = 0; i < 2; ++i) {
        Entry entry;
        if (table.allocate({&entry, 1}, FrameId{0}) == 0) {
          sync::mark("the slot is taken");
          continue;
        }
        MUST(owners.fetch_add(1, sync::kRelaxed) == 0);
        owners.fetch_sub(1, sync::kRelaxed);
        table.unlock_and_free(entry);
      }
    });
  }
  run.go();
  MUST(table.in_use() == 0);
  MUST(take_all(table) == 1);
}

// Who takes the last slot of a cluster unmarks it, and may miss that another came back just then.
void room_is_seen(Run& run) {
  constexpr std::size_t kSlots = swap::SlotClusters::kSlots;
  arena().reset();
  SlotTable table;
  MUST(table.init(arena(), 3 * kSlots));
  std::vector<Entry> held(3 * kSlots - 1);
  MUST(table.allocate(held, FrameId{0}) == held.size());
  // In the second of three clusters, where nobody looks first.
  Entry free{}, given{};
  for (Entry entry : held) {
    if (entry.slot.value == kSlots + 3) free = entry;
    if (entry.slot.value == kSlots + 4) given = entry;
  }
  table.unlock_and_free(free);
  run.task("taker", [&] {
    Entry entry;
    table.allocate({&entry, 1}, FrameId{0});
  });
  run.task("giver", [&] { table.unlock_and_free(given); });
  run.go();
  MUST(take_all(table) == 1);
}

// The table grows while others look for room.
void slots_of_two_clusters(Run& run) {
  constexpr std::size_t kCapacity = swap::SlotClusters::kSlots + 2;
  arena().reset();
  SlotTable table;
  MUST(table.init(arena(), kCapacity));
  std::vector<Entry> held(swap::SlotClusters::kSlots - 2);
  MUST(table.allocate(held, FrameId{0}) == held.size());  // all but one of the first
  for (const char* name : {"first", "second"}) {
    run.task(name, [&] {
      Entry entries[2];
      std::size_t taken = table.allocate(entries, FrameId{0});
      for (std::size_t i = 0; i < taken; ++i) table.unlock_and_free(entries[i]);
    });
  }
  run.go();
  MUST(take_all(table) == kCapacity - 1 - held.size());
}

// Who locks a slot by an old entry never gets its next life; who waits for it goes on.
void slot_changes_hands(Run& run) {
  arena().reset();
  SlotTable table;
  MUST(table.init(arena(), 2));
  Entry old;
  MUST(table.allocate({&old, 1}, FrameId{1}) == 1);
  table.unlock(old, State::kZswap, 1);
  run.task("owner", [&] {
    SlotWord word;
    MUST(table.lock(old, word));
    table.unlock_and_free(old);
    Entry next;
    MUST(table.allocate({&next, 1}, FrameId{2}) == 1);
    table.unlock(next, State::kZswap, 2);
  });
  for (const char* name : {"reader", "another"}) {
    run.task(name, [&] {
      SlotWord word;
      if (!table.lock(old, word)) return sync::mark("the slot has another life");
      MUST(word.state == State::kZswap && word.payload == 1);
      table.unlock(old);
    });
  }
  run.go();
  MUST(table.in_use() == 1);
}

void expect_shares(SlotTable& table, Entry entry, unsigned shares) {
  MUST(table.shares() == shares);
  MUST(table.names() == shares);
  for (SlotWord word; shares > 1; --shares) {
    MUST(table.lock(entry, word) && word.count > 1);
    table.unlock_unshare(entry);
  }
  SlotWord last;
  MUST(table.lock(entry, last) && last.count == 1 && last.payload == 1);
  table.unlock_and_free(entry);
}

Entry shared_by(SlotTable& table, unsigned shares) {
  arena().reset();
  MUST(table.init(arena(), 4 * swap::kMaxCount));
  Entry entry;
  MUST(table.allocate({&entry, 1}, FrameId{1}) == 1);
  for (unsigned count = 1; count < shares; ++count) MUST(table.share(entry));
  table.unlock(entry, State::kZswap, 1);
  return entry;
}

// Of two who share a slot one more time, one finds its word full, and counts elsewhere.
void last_share(Run& run) {
  SlotTable table;
  Entry entry = shared_by(table, swap::kMaxCount - 1);
  for (const char* name : {"first", "second"}) {
    run.task(name, [&] {
      SlotWord word;
      MUST(table.lock(entry, word));
      MUST(table.share(entry));
      table.unlock(entry);
    });
  }
  run.go();
  expect_shares(table, entry, swap::kMaxCount + 1);
}

// Of two who give it up, one finds that its word says one, and brings back what is counted elsewhere.
void first_unshare(Run& run) {
  SlotTable table;
  Entry entry = shared_by(table, swap::kMaxCount + 1);
  constexpr unsigned kLeft = (swap::kMaxCount + 1) / 2 + 2;  // of which the word says two
  SlotWord word;
  for (unsigned shares = swap::kMaxCount + 1; shares > kLeft; --shares) {
    MUST(table.lock(entry, word));
    table.unlock_unshare(entry);
  }
  for (const char* name : {"first", "second"}) {
    run.task(name, [&] {
      SlotWord seen;
      MUST(table.lock(entry, seen) && seen.count > 1);
      table.unlock_unshare(entry);
    });
  }
  run.go();
  expect_shares(table, entry, kLeft - 2);
}

}  // namespace

std::vector<Scenario> slot_scenarios() {
  return {
      {.name = "last_share",
       .body = last_share,
       .bound = 3,
       .mutants = {{sync::Mutant::kCountWraps, "count_wraps"}}},
      {.name = "first_unshare",
       .body = first_unshare,
       .bound = 3,
       .mutants = {{sync::Mutant::kForgetElsewhere, "forget_elsewhere"}}},
      {.name = "last_slot", .body = last_slot, .bound = 4, .marks = {"the slot is taken"}},
      {.name = "room_is_seen",
       .body = room_is_seen,
       .bound = 4,
       .mutants = {{sync::Mutant::kLookOnce, "look_once"}}},
      {.name = "slots_of_two_clusters",
       .body = slots_of_two_clusters,
       .bound = 3,
       .mutants = {{sync::Mutant::kPlainBits, "plain_bits"}}},
      {.name = "slot_changes_hands",
       .body = slot_changes_hands,
       .bound = 3,
       .marks = {"the slot has another life"}},
  };
}

}  // namespace coldpress::testing
