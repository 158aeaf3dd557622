#include "swap/slot_table.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::swap {
namespace {

using testing::HeapMemory;
using TryLock = SlotTable::TryLock;

class SlotTableTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(table_.init(memory_, kCapacity)); }
  // One slot, unlocked with `state` and `payload`.
  Entry make(State state, std::uint32_t payload) {
    Entry entry;
    EXPECT_EQ(table_.allocate({&entry, 1}, FrameId{0}), 1u);
    table_.unlock(entry, state, payload);
    return entry;
  }

  static constexpr std::size_t kCapacity = 100;
  HeapMemory memory_;
  SlotTable table_;
};

TEST_F(SlotTableTest, AllocatedSlotsAreLockedAndNameTheirFrames) {
  Entry entries[10];
  ASSERT_EQ(table_.allocate(entries, FrameId{64}), 10u);
  EXPECT_EQ(table_.in_use(), 10u);
  std::set<std::uint32_t> slots;
  for (std::uint32_t i = 0; i < 10; ++i) {
    EXPECT_TRUE(slots.insert(entries[i].slot.value).second);
    EXPECT_NE(entries[i].slot.value, 0u) << "slot 0 is none";
    SlotWord word;
    EXPECT_EQ(table_.try_lock(entries[i], word), TryLock::kBusy);
    table_.unlock(entries[i]);
    ASSERT_EQ(table_.try_lock(entries[i], word), TryLock::kLocked);
    EXPECT_EQ(word.state, State::kFrame);
    EXPECT_EQ(word.count, 1u);
    EXPECT_EQ(word.payload, 64 + i);
    EXPECT_EQ(word.generation, entries[i].generation);
  }
}

TEST_F(SlotTableTest, UnlockNamesTheNewOwner) {
  Entry entry = make(State::kZswap, 0xfedcba98);
  SlotWord word;
  ASSERT_TRUE(table_.lock(entry, word));
  EXPECT_EQ(word.state, State::kZswap);
  EXPECT_EQ(word.payload, 0xfedcba98u);
  table_.unlock(entry, State::kSame, ~0u);
  ASSERT_TRUE(table_.lock(entry, word));
  EXPECT_EQ(word.state, State::kSame);
  EXPECT_EQ(word.payload, ~0u);
  EXPECT_EQ(word.count, 1u);
  table_.unlock(entry);
  ASSERT_TRUE(table_.lock(entry, word));
  EXPECT_EQ(word.state, State::kSame) << "unlock without an owner changes none";
  EXPECT_EQ(word.payload, ~0u);
}

TEST_F(SlotTableTest, AFreedSlotsEntryIsStale) {
  Entry entry = make(State::kZswap, 5);
  SlotWord word;
  ASSERT_TRUE(table_.lock(entry, word));
  table_.unlock_and_free(entry);
  EXPECT_EQ(table_.in_use(), 0u);
  EXPECT_FALSE(table_.lock(entry, word));
  EXPECT_EQ(table_.try_lock(entry, word), TryLock::kStale);
  // The same slot in its next life is another entry.
  Entry next = make(State::kZswap, 5);
  EXPECT_EQ(next.slot, entry.slot) << "freed slots are used first";
  EXPECT_NE(next, entry);
  EXPECT_EQ(table_.try_lock(entry, word), TryLock::kStale);
  EXPECT_EQ(table_.try_lock(next, word), TryLock::kLocked);
}

TEST_F(SlotTableTest, NoGenerationRepeatsWithin65536Reuses) {
  std::set<std::uint16_t> generations;
  SlotIndex slot;
  for (int i = 0; i < 65536; ++i) {
    Entry entry = make(State::kSame, 0);
    if (i == 0) slot = entry.slot;
    ASSERT_EQ(entry.slot, slot);
    ASSERT_TRUE(generations.insert(entry.generation).second) << "reuse " << i;
    SlotWord word;
    ASSERT_TRUE(table_.lock(entry, word));
    table_.unlock_and_free(entry);
  }
  Entry wrapped = make(State::kSame, 1);
  SlotWord word;
  EXPECT_TRUE(table_.lock(wrapped, word)) << "the wrap does no harm to others' bits";
  EXPECT_EQ(word.count, 1u);
  EXPECT_EQ(word.payload, 1u);
}

TEST_F(SlotTableTest, GivesAsManyAsThereAre) {
  std::vector<Entry> entries(2 * kCapacity);
  std::size_t taken = table_.allocate(entries, FrameId{0});
  EXPECT_EQ(taken, kCapacity - 1) << "slot 0 is not one";
  EXPECT_EQ(table_.in_use(), taken);
  Entry more;
  EXPECT_EQ(table_.allocate({&more, 1}, FrameId{0}), 0u);
  table_.unlock_and_free(entries[17]);
  ASSERT_EQ(table_.allocate({&more, 1}, FrameId{9}), 1u);
  EXPECT_EQ(more.slot, entries[17].slot);
  EXPECT_EQ(table_.allocate({&more, 1}, FrameId{0}), 0u);
}

TEST_F(SlotTableTest, GivesNoneWithoutMemory) {
  HeapMemory poor;
  SlotTable table;
  ASSERT_TRUE(table.init(poor, 1000));
  poor.set_commit_limit(0);
  Entry entry;
  EXPECT_EQ(table.allocate({&entry, 1}, FrameId{0}), 0u);
  EXPECT_EQ(table.in_use(), 0u);
}

TEST_F(SlotTableTest, AWaiterGetsTheSlotAfterItsHolder) {
  Entry entry;
  ASSERT_EQ(table_.allocate({&entry, 1}, FrameId{1}), 1u);
  std::thread waiters[3];
  sync::Atomic<int> locked{0};
  for (auto& waiter : waiters) {
    waiter = std::thread([&] {
      SlotWord word;
      if (table_.lock(entry, word)) {
        EXPECT_EQ(word.state, State::kZswap);
        EXPECT_EQ(word.payload, 8u);
        locked.fetch_add(1);
        table_.unlock(entry);
      }
    });
  }
  sync::sleep_ns(2000000);  // likely asleep now; the result does not depend on it
  EXPECT_EQ(locked.load(), 0);
  table_.unlock(entry, State::kZswap, 8);
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(locked.load(), 3);
}

TEST_F(SlotTableTest, WaitersOfAFreedSlotLearnThatItIsStale) {
  Entry entry;
  ASSERT_EQ(table_.allocate({&entry, 1}, FrameId{1}), 1u);
  sync::Atomic<int> stale{0};
  std::thread waiters[3];
  for (auto& waiter : waiters) {
    waiter = std::thread([&] {
      SlotWord word;
      if (!table_.lock(entry, word)) stale.fetch_add(1);
    });
  }
  sync::sleep_ns(2000000);
  table_.unlock_and_free(entry);
  for (auto& waiter : waiters) waiter.join();
  EXPECT_EQ(stale.load(), 3);
}

TEST_F(SlotTableTest, TheLockKeepsThreadsApart) {
  // Two plain numbers behind one slot's lock; free and reuse go on beside it.
  Entry guard = make(State::kZswap, 0);
  std::uint64_t plain = 0;
  constexpr int kThreads = 4, kRounds = 10000;
  std::vector<std::thread> threads;
  for (std::uint32_t id = 0; id < kThreads; ++id) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) {
        SlotWord word;
        if (!table_.lock(guard, word)) return;
        ++plain;
        table_.unlock(guard, State::kZswap, word.payload + 1);
        Entry own;
        if (table_.allocate({&own, 1}, FrameId{3}) == 1) table_.unlock_and_free(own);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  SlotWord word;
  ASSERT_TRUE(table_.lock(guard, word));
  EXPECT_EQ(plain, std::uint64_t{kThreads} * kRounds);
  EXPECT_EQ(word.payload, std::uint32_t{kThreads} * kRounds);
  EXPECT_EQ(table_.in_use(), 1u);
}

TEST_F(SlotTableTest, UnlockingWhatIsNotLockedIsCaught) {
  Entry entry = make(State::kSame, 0);
  EXPECT_DEATH(table_.unlock(entry), "");
}

}  // namespace
}  // namespace coldpress::swap
