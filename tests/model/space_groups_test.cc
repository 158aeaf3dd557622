// Memory groups on the simulated machine: who pays, and who has to give.
#include <gtest/gtest.h>

#include "space_group_world.h"

namespace coldpress::testing {
namespace {

TEST(SpaceGroups, WhatIsReadFirstIsPaidForToo) {
  GroupWorld w;
  AccountId id = w.open({});
  w.map(kFirst, id);
  for (PageIndex page = kFirst.begin; page < kFirst.end; page = page + 1)
    ASSERT_TRUE(w.world().check_page(page));
  EXPECT_EQ(w.usage(id), static_cast<std::int64_t>(kPages));
  EXPECT_EQ(w.world().group().usage(), static_cast<std::int64_t>(kPages));
}

TEST(SpaceGroups, WhatIsGivenUpIsNotPaidForAnyMore) {
  GroupWorld w;
  AccountId id = w.open({});
  w.map(kFirst, id);
  w.map(kSecond, kProcess);
  w.write(kFirst);
  w.write(kSecond);
  EXPECT_EQ(w.world().group().usage(), static_cast<std::int64_t>(2 * kPages));
  w.space().page_out({kFirst.begin, kFirst.begin + 50}, w.world().worker());
  w.unmap({kFirst.begin + 20, kFirst.begin + 120});
  EXPECT_LT(w.usage(id), static_cast<std::int64_t>(kPages - 100 + 1));
  w.unmap(kFirst);
  w.unmap(kSecond);
  EXPECT_FALSE(w.accounts()[id].charged());
  w.space().trim_pool(true);
  EXPECT_EQ(w.world().group().usage(), 0);
}

TEST(SpaceGroups, AGroupOverItsMaxGivesItsOwnPages) {
  GroupWorld w;
  AccountId small = w.open({.max = 60}), other = w.open({.max = 1000});
  w.map(kFirst, small);
  w.map(kSecond, other);
  w.map(kThird, kProcess);
  w.write(kSecond);
  w.write(kThird);
  for (int round = 0; round < 3; ++round) {
    w.write(kFirst);
    EXPECT_LE(w.usage(small), 60 + 1);
  }
  EXPECT_GT(w.out(kFirst), kPages / 2);
  EXPECT_EQ(w.out(kSecond), 0u);
  EXPECT_EQ(w.out(kThird), 0u);
  EXPECT_GT(w.accounts()[small].reached_max.load(), 0u);
  EXPECT_EQ(w.accounts()[other].reached_max.load(), 0u);
  EXPECT_EQ(w.accounts()[small].limit_exceeded.load(), 0u);
  EXPECT_LE(w.accounts()[small].peak.load(), 62);
  w.world().verify_everything();
}

// Pages come back soon by the group's measure, whatever the process's is.
TEST(SpaceGroups, AMaxIsHeldAgainstRandomAccess) {
  GroupWorld w;
  AccountId id = w.open({.max = 64});
  w.map(kFirst, id);
  w.write(kFirst);
  Random random(7);
  for (int i = 0; i < 4000; ++i) {
    w.world().allow_steps(1000);
    ASSERT_TRUE(w.world().check_page(kFirst.begin + random.below(kPages)));
    ASSERT_LE(w.usage(id), 66) << "touch " << i;
  }
  EXPECT_EQ(w.accounts()[id].limit_exceeded.load(), 0u);
}

TEST(SpaceGroups, NeighboursFillTheirOwn) {
  GroupWorld w;
  AccountId one = w.open({}), other = w.open({});
  PageRange next{kFirst.end, kFirst.end + 100};
  w.map(kFirst, one);
  w.map(next, other);
  w.write(kFirst);
  EXPECT_EQ(w.usage(one), static_cast<std::int64_t>(kPages));
  EXPECT_EQ(w.usage(other), 0) << "a stream of first touches ends where the group does";
  w.write(next);
  w.space().page_out({kFirst.begin, next.end}, w.world().worker());
  for (PageIndex page = kFirst.begin; page < kFirst.end; page = page + 1)
    ASSERT_TRUE(w.world().check_page(page));
  EXPECT_EQ(w.accounts()[other].zswpin.load(), 0u) << "and so does readahead";
}

TEST(SpaceGroups, WhatIsWrittenAfterMadvFreeIsCountedAgain) {
  GroupWorld w;
  AccountId id = w.open({});
  w.map(kFirst, id);
  w.write(kFirst);
  os::ChangeId change = w.world().sim().begin_remove(kFirst, true);
  while (!w.world().sim().advance(change)) w.world().take_one_message();
  EXPECT_EQ(w.usage(id), 0);
  for (PageIndex page = kFirst.begin; page < kFirst.end; page = page + 1) {
    std::uint64_t word = 7;
    ASSERT_EQ(w.world().sim().write(page, 0, &word, sizeof word), os::Access::kOk);
  }
  std::uint64_t before = w.world().sim().resident_pages();
  w.space().page_out(kFirst, w.world().worker());
  EXPECT_EQ(w.usage(id), static_cast<std::int64_t>(w.world().sim().resident_pages()));
  EXPECT_EQ(w.world().sim().resident_pages(), before) << "the kernel may drop them still";
}

TEST(SpaceGroups, TheMaxOfAParentIsThatOfItsChildren) {
  GroupWorld w;
  AccountId parent = w.open({.max = 150}), one = w.open({}, parent), two = w.open({}, parent);
  w.map(kFirst, one);
  w.map(kSecond, two);
  w.map(kThird, kProcess);
  w.write(kThird);
  w.write(kFirst);
  w.write(kSecond);
  EXPECT_LE(w.usage(parent), 151);
  EXPECT_EQ(w.usage(parent), w.usage(one) + w.usage(two) + (w.accounts()[parent].stored_bytes.load() >> 12) -
                                 (w.accounts()[one].stored_bytes.load() >> 12) -
                                 (w.accounts()[two].stored_bytes.load() >> 12));
  EXPECT_GT(w.out(kFirst), 0u);
  EXPECT_GT(w.out(kSecond), 0u);
  EXPECT_EQ(w.out(kThird), 0u);
}

TEST(SpaceGroups, HighIsHeldInTheBackground) {
  GroupWorld w;
  AccountId id = w.open({.high = 80});
  w.map(kFirst, id);
  w.write(kFirst);
  EXPECT_EQ(w.usage(id), static_cast<std::int64_t>(kPages));
  EXPECT_GT(w.accounts()[id].reached_high.load(), 0u);
  w.watch(id, 80);
  EXPECT_LE(w.usage(id), 80);
}

TEST(SpaceGroups, ALowerMaxTakesWhatIsOver) {
  GroupWorld w;
  AccountId id = w.open({});
  w.map(kFirst, id);
  w.write(kFirst);
  w.accounts().set_limits(id, {.max = 50});
  w.watch(id, 50);
  EXPECT_LE(w.usage(id), 50);
}

TEST(SpaceGroups, AMaxThatCanNotBeHeldIsSaid) {
  GroupWorld w;
  AccountId id = w.open({.max = 50});
  w.map(kFirst, id);
  w.write(kFirst, ContentKind::kIncompressible);
  EXPECT_GT(w.accounts()[id].limit_exceeded.load(), 0u);
  EXPECT_EQ(w.world().stats().limit_exceeded.load(), 0u) << "the process is not over its limit";
  w.world().verify_everything();
}

TEST(SpaceGroups, WithoutRoomInZswapPagesStay) {
  GroupWorld w;
  AccountId id = w.open({.max = 50, .zswap_max_bytes = 0});
  w.map(kFirst, id);
  w.write(kFirst);
  w.space().page_out(kFirst, w.world().worker());
  EXPECT_EQ(w.accounts()[id].stored.load(), 0);
  EXPECT_GT(w.accounts()[id].limit_exceeded.load(), 0u);
  EXPECT_GT(w.accounts()[id].reached_zswap_max.load(), 0u);
  EXPECT_EQ(w.accounts()[id].reached_swap_max.load(), 0u);
  EXPECT_EQ(w.world().stats().zswap_max_hit.load(), 0u) << "the process has no such limit";
}

TEST(SpaceGroups, WithoutRoomInZswapPagesGoOnToADevice) {
  GroupWorld w(8 << 20);
  AccountId id = w.open({.max = 50, .zswap_max_bytes = 0}), other = w.open({});
  w.map(kFirst, id);
  w.map(kSecond, other);
  w.write(kSecond);
  w.space().page_out(kSecond, w.world().worker());
  w.write(kFirst);
  w.look_often();
  EXPECT_EQ(w.accounts()[id].stored.load(), 0);
  EXPECT_GT(w.accounts()[id].swapped.load(), static_cast<std::int64_t>(kPages / 2));
  EXPECT_EQ(w.accounts()[other].swapped.load(), 0);
  EXPECT_GT(w.accounts()[id].zswpwb.load(), kPages / 2);
  w.world().verify_everything();
}

TEST(SpaceGroups, SwapoffBringsBackWhatTheGroupMayHave) {
  GroupWorld w(8 << 20);
  AccountId id = w.open({.max = 150, .zswap_max_bytes = 0});
  w.map(kFirst, id);
  w.write(kFirst);
  w.space().page_out(kFirst, w.world().worker());
  w.write_back(id);
  std::int64_t out = w.accounts()[id].swapped.load();
  ASSERT_GT(out, 0);
  ASSERT_EQ(w.accounts()[id].stored.load(), 0);
  // Of the two, the one that holds it goes while the other is there: what must not be compressed goes on to
  // that.
  std::size_t from = w.space().devices().records_on(0) > 0 ? 0 : 1;
  EXPECT_EQ(w.world().swap_off(from), vm::Space::SwapOff::kDone);
  w.look_often();
  EXPECT_EQ(w.accounts()[id].stored.load(), 0) << "nothing of it may stay compressed";
  EXPECT_GT(w.accounts()[id].swapped.load(), 0);
  EXPECT_EQ(w.world().swap_off(1 - from), vm::Space::SwapOff::kNoMemory);
  EXPECT_EQ(w.accounts()[id].stored.load(), 0) << "nothing of it may be compressed";
  EXPECT_GT(w.accounts()[id].swapped.load(), 0) << "so it stays where it is";
  w.accounts().set_limits(id, {.max = 200});
  for (std::size_t area : {0, 1}) {
    if (w.space().devices().records_on(area) == 0) continue;
    EXPECT_EQ(w.world().swap_off(area), vm::Space::SwapOff::kDone);
  }
  EXPECT_EQ(w.accounts()[id].swapped.load(), 0);
  EXPECT_GE(w.accounts()[id].peak.load(), w.usage(id));
  w.world().verify_everything();
}

TEST(SpaceGroups, SwapMaxHolds) {
  GroupWorld w(8 << 20);
  AccountId id = w.open({.swap_max = 30});
  w.map(kFirst, id);
  w.write(kFirst);
  w.space().page_out(kFirst, w.world().worker());
  w.write_back(id);
  EXPECT_EQ(w.accounts()[id].swapped.load(), 30);
  EXPECT_GT(w.accounts()[id].reached_swap_max.load(), 0u);
  EXPECT_EQ(w.accounts()[id].reached_zswap_max.load(), 0u);
}

TEST(SpaceGroups, AZeroAboveKeepsPagesFromDevices) {
  GroupWorld w(8 << 20);
  AccountId parent = w.open({.writeback = false}), id = w.open({}, parent), other = w.open({});
  w.map(kFirst, id);
  w.map(kSecond, other);
  w.write(kFirst);
  w.write(kSecond);
  w.space().page_out(kFirst, w.world().worker());
  w.space().page_out(kSecond, w.world().worker());
  w.write_back(kProcess);
  EXPECT_EQ(w.accounts()[id].swapped.load(), 0);
  EXPECT_GT(w.accounts()[other].swapped.load(), static_cast<std::int64_t>(kPages / 2));
}

TEST(SpaceGroups, ACloneIsPaidForByWhoTouchesIt) {
  GroupWorld w;
  AccountId one = w.open({}), two = w.open({});
  w.map(kFirst, one);
  w.write(kFirst);
  w.space().page_out(kFirst, w.world().worker());
  w.map(kSecond, two);
  ASSERT_TRUE(w.world().clone(kFirst, kSecond.begin));
  EXPECT_EQ(w.usage(two), 0) << "what is shared is its first owner's";
  PageContent read;
  ASSERT_EQ(w.world().sim().read(kSecond.begin, 0, read.data(), kPageBytes), os::Access::kOk);
  EXPECT_GT(w.usage(two), 0);
  w.unmap(kFirst);
  EXPECT_GT(w.accounts()[one].stored.load(), 0) << "until the last name is gone";
  w.unmap(kSecond);
  EXPECT_FALSE(w.accounts()[one].charged());
  EXPECT_FALSE(w.accounts()[two].charged());
}

TEST(SpaceGroups, ARangeTakesItsGroupAlong) {
  GroupWorld w;
  AccountId id = w.open({});
  w.map(kFirst, id);
  w.write({kFirst.begin, kFirst.begin + 100});
  os::ChangeId change = w.world().sim().begin_remap(kFirst, kThird.begin, false);
  while (!w.world().sim().advance(change)) w.world().take_one_message();
  std::int64_t before = w.usage(id);
  EXPECT_GE(before, 100);
  EXPECT_EQ(before, static_cast<std::int64_t>(w.world().sim().resident_pages()));
  PageContent read;
  ASSERT_EQ(w.world().sim().read(kThird.begin + 150, 0, read.data(), kPageBytes), os::Access::kOk);
  EXPECT_GT(w.usage(id), before);
}

TEST(SpaceGroups, WhatOutlivesAGroupBelongsToItsParent) {
  GroupWorld w;
  AccountId parent = w.open({}), id = w.open({}, parent);
  w.map(kFirst, id);
  w.write({kFirst.begin, kFirst.begin + 100});
  w.space().close_group(id);
  std::int64_t before = w.usage(id);
  w.write({kFirst.begin + 100, kFirst.end});
  EXPECT_EQ(w.usage(id), before);
  EXPECT_EQ(w.usage(parent), static_cast<std::int64_t>(kPages));
  w.unmap(kFirst);
  EXPECT_FALSE(w.accounts()[parent].charged());
}

TEST(SpaceGroups, WhatWasFilledWhileItWasGivenUpIsFoundOut) {
  GroupWorld w;
  AccountId id = w.open({});
  w.map(kFirst, id);
  w.write(kFirst);
  os::ChangeId change = w.world().sim().begin_remove(kFirst);
  // Its message is taken, and what it is about to drop is touched once more.
  while (!w.world().take_one_message() && !w.world().sim().advance(change)) {
  }
  for (PageIndex page = kFirst.begin; page < kFirst.end; page = page + 1) {
    PageContent read;
    ASSERT_EQ(w.world().sim().read(page, 0, read.data(), kPageBytes), os::Access::kOk);
  }
  while (!w.world().sim().advance(change)) w.world().take_one_message();
  w.space().page_out(kFirst, w.world().worker());
  EXPECT_EQ(w.usage(id), static_cast<std::int64_t>(w.world().sim().resident_pages()));
}

}  // namespace
}  // namespace coldpress::testing
