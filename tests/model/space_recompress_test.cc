// Recompression: what stays is packed harder, what was changed or damaged meanwhile is not mixed up.
#include <gtest/gtest.h>

#include "space_world.h"
#include "support/space_access.h"
#include "sync/futex.h"

namespace coldpress::testing {
namespace {

constexpr std::uint64_t kPages = 500;

class RecompressTest : public ::testing::Test {
 protected:
  void SetUp() override {
    constexpr codec::Choice kDense{codec::Kind::kZstd, 1};
    std::size_t bytes = codec::Codec::workspace_bytes(kDense);
    ASSERT_TRUE(dense_.init(kDense, memory_.allocate(bytes), bytes));
    world_.worker().store.dense = &dense_;
    world_.space().set_recompress_share(100);
    world_.space().set_recompress_turn(100'000'000);
    world_.map_range({World::kBase, World::kBase + kPages}, true);
    for (std::uint64_t i = 0; i < kPages; ++i) {
      ASSERT_TRUE(world_.write_page(World::kBase + i, make_content(ContentKind::kCompressible, i + 1)));
    }
    world_.space().page_out({World::kBase, World::kBase + kPages}, world_.worker());
  }
  void TearDown() override {
    if (!world_.broken()) world_.close();
  }
  // The hand goes round twice at least.
  void recompress() {
    for (int i = 0; i < 40; ++i) {
      world_.allow_steps(100000);
      world_.space().recompress_some(world_.worker());
      sync::sleep_ns(20'000'000);
    }
  }

  HeapMemory memory_;
  codec::Codec dense_;
  World world_{{.seed = 5, .limit_pages = 5000}};
};

TEST_F(RecompressTest, WhatStaysIsPackedHarderOnce) {
  std::uint64_t before = world_.stats().stored_bytes.load();
  recompress();
  memgroup::Stats& stats = world_.stats();
  EXPECT_GT(stats.recompressed_pages.load(), kPages / 4);
  EXPECT_LT(stats.stored_bytes.load(), before * 95 / 100);
  EXPECT_EQ(before - stats.stored_bytes.load(), stats.recompress_saved_bytes.load());
  EXPECT_EQ(world_.space().zswap().pool().stats().object_bytes, stats.stored_bytes.load());
  world_.check_structure();
  world_.verify_everything();
}

TEST_F(RecompressTest, DamageIsNeitherHiddenNorSpread) {
  ASSERT_TRUE(world_.corrupt_one(World::kBase + 7));
  recompress();
  world_.verify_everything();
}

TEST_F(RecompressTest, NoShareNoWork) {
  world_.space().set_recompress_share(0);
  recompress();
  EXPECT_EQ(world_.stats().recompressed_pages.load(), 0u);
}

// What comes back leaves holes all over the pool. Nobody asks for anything but room.
TEST(PoolTest, IsPackedWhenMemoryIsWanted) {
  constexpr std::uint64_t kMany = World::kPages;
  World w({.seed = 6, .limit_pages = 5000, .frame_count = 2048});
  w.allow_steps(1000000);
  w.map_range({World::kBase, World::kBase + kMany}, true);
  for (std::uint64_t i = 0; i < kMany; ++i) {
    ASSERT_TRUE(w.write_page(World::kBase + i, make_content(ContentKind::kCompressible, i % 7 + 1)));
  }
  w.space().page_out({World::kBase, World::kBase + kMany}, w.worker());
  for (std::uint64_t i = 0; i < kMany; ++i) {
    if (i % 8 != 0) {
      ASSERT_TRUE(w.check_page(World::kBase + i));
    }
  }
  ASSERT_EQ(w.stats().pool_compacted_pages.load(), 0u);
  std::uint64_t before = w.space().zswap().pool().pages();
  w.space().reclaim_to(w.group().usage() - 40, w.worker());
  EXPECT_GT(w.stats().pool_compacted_pages.load(), 30u) << before << " pages";
  w.check_structure();
  w.verify_everything();
}

}  // namespace
}  // namespace coldpress::testing
