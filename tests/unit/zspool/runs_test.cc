// Memory that zspages leave behind: kept for the next ones, within bounds.
#include <gtest/gtest.h>

#include <vector>

#include "support/heap_memory.h"
#include "zspool/zspool.h"

namespace coldpress::zspool {
namespace {

using testing::HeapMemory;

class RunsTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(pool_.init(memory_, 64 << 20)); }
  // Objects of a page each; what was taken from the machine for them.
  std::uint32_t fill(std::size_t count) {
    std::uint32_t all = 0, grown = 0;
    for (std::size_t i = 0; i < count; ++i) {
      objects_.push_back(pool_.allocate(kPageBytes, &grown));
      EXPECT_TRUE(objects_.back());
      all += grown;
    }
    return all;
  }
  // What was given back for them.
  std::uint32_t empty(std::size_t count) {
    std::uint32_t all = 0;
    for (std::size_t i = 0; i < count; ++i) {
      all += pool_.free(objects_.back(), kPageBytes);
      objects_.pop_back();
    }
    return all;
  }

  HeapMemory memory_;
  ZsPool pool_;
  std::vector<Handle> objects_;
};

TEST_F(RunsTest, WhatIsKeptIsUsedAgain) {
  EXPECT_EQ(fill(20), 20u);
  EXPECT_EQ(empty(15), 0u);
  EXPECT_EQ(pool_.kept_pages(), 15u);
  EXPECT_EQ(pool_.pages(), 5u) << "the pool's own are those with objects";
  EXPECT_EQ(memory_.discarded(), 0u);
  EXPECT_EQ(fill(18), 3u);
  EXPECT_EQ(pool_.kept_pages(), 0u);
  pool_.validate();
}

TEST_F(RunsTest, OneLengthIsNotUsedForAnother) {
  std::uint32_t grown = 0;
  Handle small = pool_.allocate(100, &grown);
  ASSERT_GT(grown, 0u);
  std::uint32_t length = grown;
  EXPECT_EQ(pool_.free(small, 100), 0u);
  EXPECT_EQ(pool_.kept_pages(), length);
  ASSERT_NE(length, 1u);
  EXPECT_EQ(fill(1), 1u);
  ASSERT_TRUE(pool_.allocate(100, &grown));
  EXPECT_EQ(grown, 0u);
}

TEST_F(RunsTest, MoreThanSoManyAreGivenBackManyAtOnce) {
  ASSERT_EQ(fill(5000), 5000u);
  std::uint32_t given = 0;
  for (int i = 0; i < 5000; ++i) {
    std::uint32_t now = empty(1);
    EXPECT_TRUE(now == 0 || now >= 16) << "each time that costs an interrupt: " << now;
    given += now;
    ASSERT_LE(pool_.kept_pages(), 32 + pool_.pages() / 64);
  }
  EXPECT_EQ(given + pool_.kept_pages(), 5000u);
  EXPECT_EQ(memory_.discarded(), std::size_t{given} * kPageBytes);
  EXPECT_GT(pool_.kept_pages(), 0u);
  EXPECT_EQ(fill(5000), given) << "what was given back is taken anew";
}

TEST_F(RunsTest, WhatIsNotWantedForATurnIsGivenBack) {
  fill(30);
  empty(30);
  EXPECT_EQ(pool_.trim(false), 0u) << "it may be wanted yet";
  fill(10);  // 20 were never touched
  empty(10);
  EXPECT_EQ(pool_.trim(false), 20u);
  EXPECT_EQ(pool_.kept_pages(), 10u);
  EXPECT_EQ(pool_.trim(false), 10u);
  EXPECT_EQ(pool_.trim(false), 0u);
  EXPECT_EQ(pool_.kept_pages(), 0u);
}

TEST_F(RunsTest, AllIsGivenBackWhenAsked) {
  fill(30);
  empty(25);
  EXPECT_EQ(pool_.trim(true), 25u);
  EXPECT_EQ(pool_.kept_pages(), 0u);
  EXPECT_EQ(pool_.trim(true), 0u);
  EXPECT_EQ(memory_.discarded(), 25 * kPageBytes);
  pool_.validate();
}

TEST_F(RunsTest, NothingIsChargedForWhatCouldNotBeHad) {
  fill(1);
  memory_.set_commit_limit(memory_.committed());
  std::uint32_t grown = 7;
  while (Handle handle = pool_.allocate(kPageBytes, &grown)) objects_.push_back(handle);
  EXPECT_GT(objects_.size(), 1u);
  EXPECT_EQ(grown, 0u);
}

TEST_F(RunsTest, WhatIsInUseOfOneLengthDoesNotKeepAnother) {
  fill(20);
  empty(20);
  auto other = [&] {  // a run of another length comes and goes
    std::uint32_t grown = 0;
    Handle handle = pool_.allocate(100, &grown);
    EXPECT_EQ(pool_.free(handle, 100), 0u);
    return grown;
  };
  std::uint32_t length = other();
  ASSERT_GT(length, 1u);
  pool_.trim(false);
  EXPECT_EQ(other(), 0u);
  EXPECT_EQ(pool_.trim(false), 20u);
  EXPECT_EQ(other(), 0u) << "it was wanted";
}

TEST_F(RunsTest, APartOfAKeptRunHasMemoryToo) {
  HeapMemory memory;
  ZsPool small;
  ASSERT_TRUE(small.init(memory, 64 * kPageBytes));
  std::vector<Handle> handles;
  std::uint32_t grown = 0, taken = 0;
  while (Handle handle = small.allocate(100, &grown)) {
    handles.push_back(handle);
    taken += grown;
  }
  std::uint32_t given = 0;
  for (Handle handle : handles) given += small.free(handle, 100);
  ASSERT_GT(small.kept_pages(), 8u);
  while (small.allocate(kPageBytes, &grown)) taken += grown;
  EXPECT_EQ(taken - given, small.held_pages());
  EXPECT_GE(small.pages(), 60u);
  small.validate();
}

}  // namespace
}  // namespace coldpress::zspool
