#include "swap/share_counts.h"

#include <gtest/gtest.h>

#include <map>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::swap {
namespace {

using testing::HeapMemory;
using testing::Random;

TEST(ShareCounts, TakesMemoryWhenItIsNeededAndRefusesWithoutIt) {
  HeapMemory memory;
  ShareCounts counts;
  ASSERT_TRUE(counts.init(memory, 100));
  EXPECT_EQ(memory.committed(), 0u);
  memory.set_commit_limit(0);
  EXPECT_FALSE(counts.add({5}, 512));
  EXPECT_EQ(counts.slots(), 0u);
  memory.set_commit_limit(SIZE_MAX);
  EXPECT_TRUE(counts.add({5}, 512));
  EXPECT_EQ(counts.sum(), 512u);
  EXPECT_FALSE(counts.take({5}, 512));
  EXPECT_EQ(counts.slots(), 0u);
}

TEST(ShareCounts, HoldsAsManyAsItSaysAndNoMore) {
  HeapMemory memory;
  ShareCounts counts;
  ASSERT_TRUE(counts.init(memory, 100));
  std::uint32_t slot = 1;
  while (counts.add({slot}, 1)) ++slot;
  EXPECT_GE(slot - 1, 100u);
  EXPECT_TRUE(counts.add({1}, 1)) << "that one is there";
  while (--slot > 0) EXPECT_EQ(counts.take({slot}, 1), slot == 1);
  EXPECT_FALSE(counts.take({1}, 1));
  EXPECT_EQ(counts.sum(), 0u);
}

// Few homes for many slots: gaps are closed across each other and round the end.
TEST(ShareCounts, AgreesWithAMap) {
  HeapMemory memory;
  ShareCounts counts;
  ASSERT_TRUE(counts.init(memory, 30));
  std::map<std::uint32_t, std::uint32_t> expected;
  Random random(3);
  for (int step = 0; step < 200'000; ++step) {
    auto slot = static_cast<std::uint32_t>(1 + random.below(64));
    auto found = expected.find(slot);
    if (random.one_in(2)) {
      bool known = found != expected.end();
      ASSERT_EQ(counts.add({slot}, 512), known || expected.size() < 32);
      if (known || expected.size() < 32) expected[slot] += 512;
    } else if (found != expected.end()) {
      found->second -= 512;
      ASSERT_EQ(counts.take({slot}, 512), found->second > 0);
      if (found->second == 0) expected.erase(found);
    }
    ASSERT_EQ(counts.slots(), expected.size());
  }
  std::uint64_t sum = 0;
  for (auto [slot, count] : expected) sum += count;
  EXPECT_EQ(counts.sum(), sum);
}

TEST(ShareCountsDeathTest, WhatIsNotThereCanNotBeTaken) {
  HeapMemory memory;
  ShareCounts counts;
  ASSERT_TRUE(counts.init(memory, 10));
  ASSERT_TRUE(counts.add({5}, 1));
  EXPECT_DEATH((void)counts.take({6}, 1), "");
  EXPECT_DEATH((void)counts.take({5}, 2), "");
}

}  // namespace
}  // namespace coldpress::swap
