// Readahead: what runs upwards comes in runs, what jumps does not, and nothing that changed meanwhile is
// believed.
#include <gtest/gtest.h>

#include "space_world.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

constexpr std::uint64_t kPages = 800;

class ReadaheadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    world_.map_range({World::kBase, World::kBase + kPages}, true);
    for (std::uint64_t i = 0; i < kPages; ++i) {
      ASSERT_TRUE(world_.write_page(World::kBase + i, make_content(ContentKind::kCompressible, i + 1)));
    }
    page_out();
  }
  void TearDown() override {
    if (!world_.broken()) world_.close();
  }
  void page_out() {
    world_.space().page_out({World::kBase, World::kBase + kPages}, world_.worker());
    world_.stats().pgmajfault.store(0);
    world_.stats().swap_ra.store(0);
    world_.stats().swap_ra_hit.store(0);
  }
  std::uint64_t value(sync::Atomic<std::uint64_t>& counter) { return counter.load(); }

  World world_{{.seed = 5, .limit_pages = 5000}};
};

TEST_F(ReadaheadTest, UpwardReadsComeInRuns) {
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
  EXPECT_LT(value(world_.stats().pgmajfault), kPages / 8);
  EXPECT_EQ(value(world_.stats().swap_ra) + value(world_.stats().pgmajfault), kPages);
  EXPECT_GT(value(world_.stats().swap_ra_hit) * 10, value(world_.stats().swap_ra) * 8);
}

TEST_F(ReadaheadTest, SoDoSameFilledPages) {
  for (std::uint64_t i = 0; i < kPages; ++i) {
    constexpr ContentKind kKinds[] = {ContentKind::kZero, ContentKind::kSame, ContentKind::kCompressible};
    ContentKind kind = kKinds[i % 3];
    ASSERT_TRUE(world_.write_page(World::kBase + i, make_content(kind, i)));
  }
  page_out();
  std::uint64_t faults = value(world_.stats().pgfault);
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
  EXPECT_LT(value(world_.stats().pgfault) - faults, kPages / 8);
}

TEST_F(ReadaheadTest, ThreeStreamsDoNotDisturbEachOther) {
  for (std::uint64_t i = 0; i < kPages / 4; ++i) {
    for (std::uint64_t stream = 0; stream < 3; ++stream) {
      ASSERT_TRUE(world_.check_page(World::kBase + stream * (kPages / 3) + i));
    }
  }
  EXPECT_LT(value(world_.stats().pgmajfault), 3 * kPages / 4 / 8);
}

TEST_F(ReadaheadTest, JumpsBringOnePageEach) {
  Random random(2);
  std::uint64_t jumps = 0;
  for (; jumps < 300; ++jumps) ASSERT_TRUE(world_.check_page(World::kBase + random.below(kPages / 3) * 3));
  EXPECT_EQ(value(world_.stats().swap_ra), 0u);
}

TEST_F(ReadaheadTest, DownwardReadsAreNotGuessed) {
  for (std::uint64_t i = kPages; i-- > 0;) ASSERT_TRUE(world_.check_page(World::kBase + i));
  EXPECT_EQ(value(world_.stats().swap_ra), 0u);
}

TEST(ReadaheadFromADevice, UpwardReadsComeInRunsAndJumpsDoNot) {
  World world({.seed = 5, .limit_pages = 5000, .device_bytes = 8 << 20});
  world.allow_steps(1000000);
  PageRange all{World::kBase, World::kBase + kPages};
  world.map_range(all, true);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(world.write_page(all.begin + i, make_content(ContentKind::kCompressible, i + 1)));
  }
  auto to_device = [&] {
    world.space().page_out(all, world.worker());
    for (int i = 0; i < 50; ++i)
      world.space().write_back(vm::Space::WritebackNeed::kLastResort, world.worker());
    ASSERT_TRUE(world.space().finish_writes(1'000'000'000));
    ASSERT_EQ(world.space().zswap().pool().stats().objects, 0u);
    world.stats().pgmajfault.store(0);
    world.stats().pswpin.store(0);
    world.stats().swap_ra.store(0);
  };
  to_device();
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world.check_page(all.begin + i));
  EXPECT_EQ(world.stats().pswpin.load(), kPages);
  EXPECT_LT(world.stats().pgmajfault.load(), kPages / 8);
  EXPECT_EQ(world.stats().swap_ra.load() + world.stats().pgmajfault.load(), kPages);
  to_device();
  for (std::uint64_t i = kPages; i-- > 0;) ASSERT_TRUE(world.check_page(all.begin + i));
  EXPECT_EQ(world.stats().swap_ra.load(), 0u);
  world.close();
}

TEST_F(ReadaheadTest, ADamagedNeighbourEndsARunAndGivesSigbusItself) {
  PageIndex damaged = World::kBase + 300;
  ASSERT_TRUE(world_.corrupt_one(damaged));
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
}

TEST_F(ReadaheadTest, WhatIsThereIsPassedOver) {
  for (std::uint64_t i = kPages; i-- > 0;) {
    if (i % 4 != 0 && i % 7 != 0) continue;
    ASSERT_TRUE(world_.write_page(World::kBase + i, make_content(ContentKind::kIncompressible, i)));
  }
  EXPECT_EQ(value(world_.stats().swap_ra), 0u);
  world_.stats().pgmajfault.store(0);
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
  EXPECT_LT(value(world_.stats().pgmajfault), kPages / 8);
}

TEST_F(ReadaheadTest, AStreamEndsWhereMuchIsThere) {
  for (std::uint64_t i = 380; i < 400; ++i)
    ASSERT_TRUE(world_.write_page(World::kBase + i, make_content(ContentKind::kIncompressible, i)));
  page_out();  // these stay
  for (std::uint64_t i = 0; i < 380; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
  std::uint64_t faults = value(world_.stats().pgmajfault);
  ASSERT_TRUE(world_.check_page(World::kBase + 400));
  EXPECT_EQ(value(world_.stats().pgmajfault), faults + 1);
  ASSERT_TRUE(world_.check_page(World::kBase + 401));
  EXPECT_EQ(value(world_.stats().pgmajfault), faults + 2) << "it came along with what was 20 pages away";
}

TEST_F(ReadaheadTest, WhatRestsInAFrameDoesNotEndAStream) {
  for (std::uint64_t i = kPages; i > 0; i -= 8) ASSERT_TRUE(world_.check_page(World::kBase + (i - 3)));
  while (capture_next(world_.space()) > 0) {
  }
  for (int tries = 0; tries < 4; ++tries) capture_next(world_.space());
  world_.stats().pgmajfault.store(0);
  world_.stats().swap_cache_hit.store(0);
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
  EXPECT_GT(value(world_.stats().swap_cache_hit), kPages / 16);
  EXPECT_LT(value(world_.stats().pgmajfault), kPages / 8);
}

TEST_F(ReadaheadTest, WhatCameInRunsAndWasNotWrittenToGoesOutByItsCopy) {
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
  EXPECT_GT(world_.space().zswap().kept_copies(), kPages * 7 / 8);
  for (std::uint64_t i = 0; i < kPages; i += 5)
    ASSERT_TRUE(world_.write_page(World::kBase + i, make_content(ContentKind::kCompressible, kPages + i)));
  page_out();
  EXPECT_GT(value(world_.stats().zswpout_kept), kPages * 5 / 8);
  EXPECT_EQ(world_.space().zswap().kept_copies(), 0u);
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
}

TEST_F(ReadaheadTest, WhatIsReadForWritingIsNotKept) {
  for (std::uint64_t i = 0; i < kPages; ++i)
    ASSERT_TRUE(world_.write_page(World::kBase + i, make_content(ContentKind::kCompressible, i)));
  EXPECT_EQ(world_.space().zswap().kept_copies(), 0u);
}

// Where reclaim can not make room now, and has not given up.
TEST_F(ReadaheadTest, AboveTheLimitPagesComeOneByOne) {
  PageRange fresh{World::kBase + 1000, World::kBase + 1200};
  world_.map_range(fresh, true);
  world_.keep_usage(true);
  world_.allow_steps_of_faults(0);
  auto pass = [&](std::int64_t over) {
    for (std::uint64_t i = 0; i < 200; ++i) {
      world_.group().set_usage(static_cast<std::uint64_t>(world_.group().limit() + over));
      ASSERT_TRUE(world_.check_page(World::kBase + i));
      ASSERT_TRUE(world_.check_page(fresh.begin + i));
    }
  };
  std::uint64_t faults = value(world_.stats().pgfault);
  pass(10000);
  EXPECT_EQ(value(world_.stats().swap_ra), 0u);
  EXPECT_EQ(value(world_.stats().pgfault) - faults, 400u);
  world_.allow_steps(1000000);
  page_out();
  pass(-1);
  EXPECT_GT(value(world_.stats().swap_ra), 150u);
  world_.keep_usage(false);
  world_.refresh_usage();
}

TEST_F(ReadaheadTest, CopiesGoWithTheRange) {
  for (std::uint64_t i = 0; i < kPages; ++i) ASSERT_TRUE(world_.check_page(World::kBase + i));
  ASSERT_GT(world_.space().zswap().kept_copies(), 0u);
  world_.space().forget({World::kBase, World::kBase + kPages});
  EXPECT_EQ(world_.space().zswap().kept_copies(), 0u);
  EXPECT_EQ(world_.space().zswap().pool().stats().objects, 0u);
}

// Its time is up from the beginning: with progress that ends it, without it is found out that there is none.
TEST(Reclaim, ForAMomentKnowsWhetherAnythingGoes) {
  constexpr std::int64_t kLongAgo = 1;
  World world({.seed = 5, .limit_pages = 5000});
  PageRange all{World::kBase, World::kBase + kPages};
  world.map_range(all, true);
  for (std::uint64_t i = 0; i < kPages; ++i)
    ASSERT_TRUE(world.write_page(all.begin + i, make_content(ContentKind::kCompressible, i + 1)));
  EXPECT_TRUE(world.space().reclaim_to(0, world.worker(), kLongAgo));
  EXPECT_GT(world.stats().stored_pages.load(), 0u);
  EXPECT_LT(world.stats().stored_pages.load(), kPages / 2) << "not for longer than a moment";
  ASSERT_TRUE(world.space().set_pinned(all, true));
  for (int tries = 0; tries < 100 && world.space().reclaim_to(0, world.worker(), kLongAgo); ++tries) {
  }
  EXPECT_FALSE(world.space().reclaim_to(0, world.worker(), kLongAgo));
  ASSERT_TRUE(world.space().set_pinned(all, false));
  world.close();
}

// A page on probation goes with its neighbours, by the same call; one that is known to be used does not.
TEST(Capture, RunsAreNotBrokenByWhatIsDueNextTurn) {
  World world({.seed = 5, .limit_pages = 1000});
  PageRange all{World::kBase, World::kBase + kPages};
  world.map_range(all, true);
  for (std::uint64_t i = 0; i < kPages; ++i)
    ASSERT_TRUE(world.write_page(all.begin + i, make_content(ContentKind::kCompressible, i + 1)));
  world.space().page_out(all, world.worker());
  auto bring = [&](auto&& which) {
    for (std::uint64_t i = 32; i-- > 0;) {
      if (!which(i)) continue;
      ASSERT_TRUE(world.check_page(all.begin + i));
    }
  };
  bring([](std::uint64_t i) { return i % 3 == 0; });
  ASSERT_EQ(capture_next(world.space()), 0u) << "all are new";
  bring([](std::uint64_t i) { return i % 3 != 0 && i != 20; });
  // This one comes back a moment after it has left.
  PageIndex used = all.begin + 20;
  for (int times = 0; times < 3; ++times) {
    ASSERT_TRUE(world.check_page(used));
    world.space().page_out({used, used + 1}, world.worker());
  }
  ASSERT_TRUE(world.check_page(used));
  ASSERT_GE(capture_next(world.space()), 31u);
  for (std::uint64_t i = 0; i < 32; ++i)
    EXPECT_EQ(owner_of(world.space(), all.begin + i).has_value(), i != 20) << i;
  world.close();
}

// MADV_DONTNEED drops its pages after its message: those that the hand meets in between are not charged for
// ever.
TEST(Usage, WhatIsDroppedLateDoesNotCount) {
  World world({.seed = 5, .limit_pages = 50000, .counted = true});
  constexpr PageRange range{World::kBase, World::kBase + 200};
  world.map_range(range, true);
  for (PageIndex page = range.begin; page < range.end; page = page + 1)
    ASSERT_TRUE(world.write_page(page, make_content(ContentKind::kIncompressible, page.value)));
  auto resident = [&] { return world.group().usage(); };
  std::int64_t before = resident();
  os::ChangeId change = world.sim().begin_remove(range);
  while (world.space().pages().get(range.begin).payer() != 0) {
    world.sim().advance(change);
    world.take_one_message();
  }
  while (capture_next(world.space()) > 0) {
  }
  EXPECT_EQ(resident(), before) << "they are there still";
  while (!world.sim().advance(change)) {
  }
  EXPECT_EQ(resident(), before) << "and nobody tells";
  world.space().give_back_rest();
  EXPECT_EQ(resident(), before - static_cast<std::int64_t>(range.pages()));
}

}  // namespace
}  // namespace coldpress::testing
