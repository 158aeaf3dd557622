#include "swap/frame_pool.h"

#include <gtest/gtest.h>

#include <bit>
#include <set>
#include <thread>
#include <vector>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::swap {
namespace {

using testing::HeapMemory;

class FramePoolTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(pool_.init(memory_, kGroups * kGroupFrames)); }
  // A group with its first `frames` frames captured, on no list.
  GroupId fill(std::uint32_t frames) {
    GroupId group = pool_.take_hole();
    EXPECT_TRUE(group);
    for (std::uint32_t i = 0; i < frames; ++i) pool_.captured(group.first() + i);
    return group;
  }
  // A group whose first `frames` frames hold memory that nobody owns, on the spent list.
  GroupId make_spent(std::uint32_t frames) {
    GroupId group = fill(frames);
    pool_.rest(group, 0);
    EXPECT_EQ(pool_.take_rested(0).value, group.value);
    for (std::uint32_t i = 0; i < frames; ++i) pool_.disowned(group.first() + i);
    pool_.retire(group);
    return group;
  }
  std::uint32_t holes() {
    std::vector<GroupId> taken;
    while (GroupId group = pool_.take_hole()) taken.push_back(group);
    for (GroupId group : taken) pool_.rest(group, 0);  // nothing captured: a hole again
    return static_cast<std::uint32_t>(taken.size());
  }

  static constexpr std::uint32_t kGroups = 4;
  // One group at most.
  static GroupId take_spent(FramePool& pool, std::uint32_t& populated) {
    std::span<std::uint32_t> masks(&populated, 1);
    return pool.take_spent(masks);
  }
  GroupId take_spent(std::uint32_t& populated) { return take_spent(pool_, populated); }

  HeapMemory memory_;
  FramePool pool_;
};

TEST_F(FramePoolTest, StartsWithHolesOnly) {
  EXPECT_EQ(holes(), kGroups);
  EXPECT_FALSE(pool_.take_rested(1 << 30));
  std::uint32_t populated = 0;
  EXPECT_FALSE(take_spent(populated));
  EXPECT_EQ(pool_.populated_frames() + pool_.owned_frames() + pool_.spent_frames(), 0u);
  EXPECT_GT(pool_.metadata_pages(), 0u);
}

TEST_F(FramePoolTest, GroupsHoldDisjointFrames) {
  std::set<std::uint32_t> firsts;
  for (std::uint32_t i = 0; i < kGroups; ++i) firsts.insert(pool_.take_hole().first().value);
  EXPECT_EQ(firsts, (std::set<std::uint32_t>{0, 32, 64, 96}));
  EXPECT_FALSE(pool_.take_hole());
}

TEST_F(FramePoolTest, TheOldestRestedGroupComesFirst) {
  GroupId old = fill(3), young = fill(1);
  pool_.rest(old, 100);
  pool_.rest(young, 200);
  EXPECT_FALSE(pool_.take_rested(99)) << "not rested long enough";
  EXPECT_EQ(pool_.take_rested(150).value, old.value);
  EXPECT_FALSE(pool_.take_rested(150));
  EXPECT_EQ(pool_.take_rested(200).value, young.value);
  EXPECT_FALSE(pool_.take_rested(1000));
}

TEST_F(FramePoolTest, BitsTellOfEachFrame) {
  GroupId group = fill(4);
  EXPECT_EQ(pool_.owned_mask(group), 0xfu);
  EXPECT_EQ(pool_.owned_frames(), 4u);
  EXPECT_EQ(pool_.populated_frames(), 4u);
  pool_.moved_away(group.first() + 1);
  EXPECT_EQ(pool_.owned_mask(group), 0xdu);
  EXPECT_EQ(pool_.populated_frames(), 3u);
  pool_.disowned(group.first());
  EXPECT_EQ(pool_.owned_mask(group), 0xcu);
  EXPECT_EQ(pool_.populated_frames(), 3u) << "its memory stays";
  EXPECT_EQ(pool_.owned_frames(), 2u);
}

TEST_F(FramePoolTest, TheOwnerOfAFrameIsRemembered) {
  FrameOwner owner{Owner::of({{77}, 5}, 9), {123456}};
  pool_.set_owner(FrameId{40}, owner);
  EXPECT_EQ(pool_.owner(FrameId{40}).entry, owner.entry);
  EXPECT_EQ(pool_.owner(FrameId{40}).page, owner.page);
  EXPECT_NE(pool_.owner(FrameId{41}).page, owner.page);
}

TEST_F(FramePoolTest, AGroupThatEmptiesWhileRestingIsAHoleAgain) {
  GroupId group = fill(2);
  pool_.rest(group, 0);
  pool_.moved_away(group.first());
  pool_.moved_away(group.first() + 1);
  GroupId taken = pool_.take_rested(0);
  ASSERT_EQ(taken.value, group.value);
  pool_.retire(taken);
  EXPECT_EQ(holes(), kGroups);
}

TEST_F(FramePoolTest, SpentGroupsAreTakenOnceOldestFirst) {
  GroupId old = make_spent(3), young = make_spent(1);
  EXPECT_EQ(pool_.spent_frames(), 4u);
  EXPECT_EQ(pool_.populated_frames(), 4u);
  EXPECT_EQ(holes(), kGroups - 2) << "their memory keeps them from the holes";
  std::uint32_t populated = 0;
  EXPECT_EQ(take_spent(populated).value, old.value);
  EXPECT_EQ(populated, 7u);
  EXPECT_EQ(take_spent(populated).value, young.value);
  EXPECT_EQ(populated, 1u);
  EXPECT_FALSE(take_spent(populated));
  EXPECT_EQ(pool_.spent_frames(), 0u);
  EXPECT_EQ(pool_.populated_frames(), 4u) << "until the release ends";
}

TEST_F(FramePoolTest, NeighboursThatAreSpentAreTakenTogether) {
  GroupId first = make_spent(3), second = make_spent(1), between = fill(1), fourth = make_spent(2);
  ASSERT_EQ(second.value, first.value + 1);
  ASSERT_EQ(fourth.value, first.value + 3);
  std::uint32_t room[3] = {9, 9, 9};
  std::span<std::uint32_t> masks = room;
  EXPECT_EQ(pool_.take_spent(masks).value, first.value);
  ASSERT_EQ(masks.size(), 2u);
  EXPECT_EQ(masks[0], 7u);
  EXPECT_EQ(masks[1], 1u);
  EXPECT_EQ(room[2], 9u);
  EXPECT_EQ(pool_.spent_frames(), 2u);
  masks = room;
  EXPECT_EQ(pool_.take_spent(masks).value, fourth.value);
  EXPECT_EQ(masks.size(), 1u);
  masks = room;
  EXPECT_FALSE(pool_.take_spent(masks));
  pool_.end_release(first, 7);
  pool_.end_release(second, 1);
  pool_.end_release(fourth, 3);
  EXPECT_EQ(holes(), kGroups - 1);
  (void)between;
}

TEST_F(FramePoolTest, NoMoreAreTakenThanThereAre) {
  while (holes() > 0) make_spent(1);
  std::uint32_t room[kGroups + 5];
  std::span<std::uint32_t> masks = room;
  EXPECT_EQ(pool_.take_spent(masks).value, 1u);
  EXPECT_EQ(masks.size(), kGroups);
}

TEST_F(FramePoolTest, ReleaseMakesHoles) {
  GroupId group = make_spent(5);
  std::uint32_t populated = 0;
  ASSERT_EQ(take_spent(populated).value, group.value);
  EXPECT_EQ(populated, 0x1fu);
  EXPECT_EQ(pool_.spent_frames(), 0u);
  EXPECT_FALSE(take_spent(populated)) << "one release at a time";
  EXPECT_EQ(holes(), kGroups - 1) << "not a hole before it is done";
  pool_.end_release(group, 0x1f);
  EXPECT_EQ(pool_.populated_frames(), 0u);
  EXPECT_EQ(holes(), kGroups);
}

TEST_F(FramePoolTest, WhatCouldNotBeReleasedStaysSpent) {
  GroupId group = make_spent(5);
  std::uint32_t populated = 0;
  ASSERT_TRUE(take_spent(populated));
  pool_.end_release(group, 0x7);
  EXPECT_EQ(pool_.populated_frames(), 2u);
  EXPECT_EQ(pool_.spent_frames(), 2u);
  EXPECT_EQ(holes(), kGroups - 1);
  ASSERT_EQ(take_spent(populated).value, group.value) << "to be tried again";
  EXPECT_EQ(populated, 0x18u);
}

TEST_F(FramePoolTest, BreachesAreCaught) {
  GroupId group = fill(1);
  EXPECT_DEATH(pool_.disowned(group.first() + 1), "") << "nobody owned it";
  EXPECT_DEATH(pool_.retire(group), "") << "somebody still owns it";
}

TEST_F(FramePoolTest, LivesOfGroupsOnManyThreads) {
  HeapMemory memory;
  FramePool pool;
  constexpr std::uint32_t kMany = 16;
  ASSERT_TRUE(pool.init(memory, kMany * kGroupFrames));
  auto work = [&](std::uint64_t seed) {
    testing::Random random(seed);
    for (int i = 0; i < 4000; ++i) {
      if (GroupId group = pool.take_hole()) {
        auto frames = static_cast<std::uint32_t>(random.below(kGroupFrames + 1));
        for (std::uint32_t n = 0; n < frames; ++n) pool.captured(group.first() + n);
        pool.rest(group, 0);
      }
      if (GroupId group = pool.take_rested(0)) {
        for (std::uint32_t left = pool.owned_mask(group); left != 0; left &= left - 1) {
          FrameId frame = group.first() + static_cast<std::uint32_t>(std::countr_zero(left));
          random.one_in(2) ? pool.disowned(frame) : pool.moved_away(frame);
        }
        pool.retire(group);
      }
      std::uint32_t populated = 0;
      if (GroupId group = take_spent(pool, populated)) {
        pool.end_release(group, static_cast<std::uint32_t>(random.next()));
      }
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t id = 1; id <= 4; ++id) threads.emplace_back(work, id);
  for (auto& thread : threads) thread.join();
  // What is left goes home; then everything is a hole.
  while (GroupId group = pool.take_rested(0)) {
    for (std::uint32_t left = pool.owned_mask(group); left != 0; left &= left - 1) {
      pool.disowned(group.first() + static_cast<std::uint32_t>(std::countr_zero(left)));
    }
    pool.retire(group);
  }
  std::uint32_t populated = 0;
  EXPECT_EQ(pool.spent_frames(), pool.populated_frames());
  while (GroupId group = take_spent(pool, populated)) pool.end_release(group, populated);
  EXPECT_EQ(pool.populated_frames(), 0u);
  EXPECT_EQ(pool.owned_frames(), 0u);
  EXPECT_EQ(pool.spent_frames(), 0u);
  std::uint32_t count = 0;
  while (pool.take_hole()) ++count;
  EXPECT_EQ(count, kMany);
}

}  // namespace
}  // namespace coldpress::swap
