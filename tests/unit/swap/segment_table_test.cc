#include "swap/segment_table.h"

#include <gtest/gtest.h>

#include <map>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::swap {
namespace {

using testing::HeapMemory;
using testing::Random;
using Place = SegmentTable::Place;

class SegmentTableTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(table_.init(memory_, 1000));
    first_ = table_.add(0, 8);
    ASSERT_TRUE(first_);
  }
  // A segment that holds `bytes` that are wanted.
  SegmentId written(std::uint32_t bytes) {
    SegmentId id = table_.take(0);
    EXPECT_TRUE(id);
    table_.gained(id, bytes);
    table_.close(id, bytes, true);
    return id;
  }

  HeapMemory memory_;
  SegmentTable table_;
  SegmentId first_;
};

TEST_F(SegmentTableTest, GivesEachOnceInOrderWithANewSequence) {
  std::uint64_t sequence = 0;
  for (std::uint32_t i = 0; i < 8; ++i) {
    SegmentId id = table_.take(0);
    EXPECT_EQ(id.value, first_.value + i);
    EXPECT_GT(table_[id].sequence, sequence);
    sequence = table_[id].sequence;
    EXPECT_EQ(table_.writable(0), 7 - i);
  }
  EXPECT_FALSE(table_.take(0));
  table_.validate();
}

TEST_F(SegmentTableTest, TheLastObjectLetsASegmentGo) {
  SegmentId id = written(1000);
  table_.lost(id, 400);
  EXPECT_EQ(table_[id].place, Place::kFull);
  table_.lost(id, 600);
  EXPECT_EQ(table_[id].place, Place::kDirty);
  EXPECT_EQ(table_.writable(0), 8u);
  EXPECT_EQ(table_.take_dirty(0), id);
  EXPECT_FALSE(table_.take_dirty(0));
  table_.give_back(id);
  EXPECT_EQ(table_[id].place, Place::kFree);
  table_.validate();
}

TEST_F(SegmentTableTest, ObjectsThatGoBeforeTheWriteEndsLetItGoThen) {
  SegmentId id = table_.take(0);
  table_.gained(id, 500);
  table_.lost(id, 500);
  EXPECT_EQ(table_[id].place, Place::kFilling);
  table_.close(id, 500, true);
  EXPECT_EQ(table_[id].place, Place::kDirty);
}

TEST_F(SegmentTableTest, WhereAWriteFailedNothingIsWrittenAgain) {
  SegmentId id = table_.take(0);
  table_.close(id, 0, false);
  EXPECT_EQ(table_[id].place, Place::kLost);
  for (int i = 0; i < 7; ++i) EXPECT_NE(table_.take(0), id);
  EXPECT_FALSE(table_.take(0));
}

TEST_F(SegmentTableTest, FindsTheEmptiest) {
  SegmentId full = written(kSegmentBytes), half = written(kSegmentBytes / 2);
  SegmentId sparse = written(kSegmentBytes / 5);
  EXPECT_EQ(table_.emptiest(0, 7), sparse);
  table_.lost(half, kSegmentBytes / 2 - 100);
  EXPECT_EQ(table_.emptiest(0, 7), half);
  table_[half].damaged = true;
  EXPECT_EQ(table_.emptiest(0, 7), sparse);
  table_.lost(sparse, kSegmentBytes / 5);
  EXPECT_FALSE(table_.emptiest(0, 7)) << "only the full one is left";
  EXPECT_EQ(table_.emptiest(0, 10), full);
  table_.validate();
}

TEST_F(SegmentTableTest, WhatAChildMayReadIsHeld) {
  SegmentId before = written(100);
  table_.hold_up_to(table_.sequence());
  SegmentId after = written(100);
  EXPECT_EQ(table_.emptiest(0, 7), after) << "cleaning what is held frees nothing";
  table_.lost(before, 100);
  table_.lost(after, 100);
  EXPECT_EQ(table_[before].place, Place::kHeld);
  EXPECT_EQ(table_[after].place, Place::kDirty);
  EXPECT_EQ(table_.writable(0), 7u);
  table_.hold_up_to(0);
  EXPECT_EQ(table_[before].place, Place::kDirty);
  EXPECT_EQ(table_.writable(0), 8u);
  table_.validate();
}

TEST_F(SegmentTableTest, AFrozenAreaIsNotWritten) {
  table_.freeze(0, true);
  EXPECT_EQ(table_.writable(0), 0u);
  EXPECT_FALSE(table_.take(0));
  table_.freeze(0, false);
  EXPECT_TRUE(table_.take(0));
}

TEST_F(SegmentTableTest, StaysConsistentWhateverHappens) {
  Random random(4);
  std::map<std::uint32_t, std::uint32_t> live;
  for (int step = 0; step < 20000; ++step) {
    if (random.one_in(3)) {
      SegmentId id = table_.take(0);
      if (id) {
        auto bytes = static_cast<std::uint32_t>(random.below(kSegmentBytes));
        bool good = !random.one_in(5000);
        table_.gained(id, good ? bytes : 0);
        table_.close(id, bytes, good);
        if (good && bytes > 0) live[id.value] = bytes;
      }
    } else if (!live.empty()) {
      auto it = std::next(live.begin(), static_cast<std::ptrdiff_t>(random.below(live.size())));
      std::uint32_t bytes =
          random.one_in(2) ? it->second : static_cast<std::uint32_t>(random.below(it->second + 1));
      table_.lost({it->first}, bytes);
      it->second -= bytes;
      EXPECT_EQ(table_[{it->first}].live_bytes, it->second);
      if (it->second == 0) live.erase(it);
    }
    if (random.one_in(20)) table_.hold_up_to(random.one_in(2) ? 0 : table_.sequence() - random.below(3));
    if (random.one_in(10)) {
      if (SegmentId dirty = table_.take_dirty(0)) table_.give_back(dirty);
    }
    if (step % 64 == 0) table_.validate();
  }
}

}  // namespace
}  // namespace coldpress::swap
