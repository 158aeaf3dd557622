#include "swap/slot_clusters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <thread>
#include <vector>

#include "support/heap_memory.h"

namespace coldpress::swap {
namespace {

using testing::HeapMemory;

constexpr std::uint64_t kAll = ~std::uint64_t{0};

TEST(SlotClusters, GivesNothingBeforeThereIsACluster) {
  HeapMemory memory;
  SlotClusters clusters;
  ASSERT_TRUE(clusters.init(memory, 1000));
  std::uint32_t first;
  EXPECT_EQ(clusters.take(1, &first), 0u);
}

TEST(SlotClusters, TakesTheLowestOfOneCluster) {
  HeapMemory memory;
  SlotClusters clusters;
  ASSERT_TRUE(clusters.init(memory, 1000));
  ASSERT_TRUE(clusters.add(kAll & ~std::uint64_t{1}));
  std::uint32_t first;
  EXPECT_EQ(clusters.take(3, &first), 14u);
  EXPECT_EQ(first, 0u);
  EXPECT_EQ(clusters.take(100, &first), kAll & ~std::uint64_t{15});
  EXPECT_EQ(clusters.take(1, &first), 0u);
  ASSERT_TRUE(clusters.add(kAll));
  EXPECT_EQ(clusters.take(2, &first), 3u);
  EXPECT_EQ(first, 64u);
  EXPECT_EQ(clusters.take(100, &first), kAll & ~std::uint64_t{3});
  clusters.give_back(64 + 5);
  clusters.give_back(9);
  std::uint32_t found[2];
  for (std::uint32_t& slot : found) {
    std::uint64_t mask = clusters.take(1, &first);
    ASSERT_NE(mask, 0u);
    slot = first + static_cast<std::uint32_t>(std::countr_zero(mask));
  }
  EXPECT_EQ(std::min(found[0], found[1]), 9u);
  EXPECT_EQ(std::max(found[0], found[1]), 69u);
  EXPECT_EQ(clusters.take(1, &first), 0u);
}

TEST(SlotClusters, FindsRoomInManyClusters) {
  constexpr std::uint32_t kClusters = 200;
  HeapMemory memory;
  SlotClusters clusters;
  ASSERT_TRUE(clusters.init(memory, kClusters * SlotClusters::kSlots));
  std::uint32_t first;
  for (std::uint32_t i = 0; i < kClusters; ++i) {
    ASSERT_TRUE(clusters.add(kAll));
    EXPECT_EQ(clusters.take(64, &first), kAll);
  }
  EXPECT_FALSE(clusters.add(kAll)) << "full";
  for (std::uint32_t slot : {5u, 64 * 63 + 7u, 64 * 64u, 64 * 199 + 63u}) {
    clusters.give_back(slot);
    ASSERT_EQ(clusters.take(64, &first), std::uint64_t{1} << slot % 64) << slot;
    EXPECT_EQ(first, slot / 64 * 64);
  }
  EXPECT_EQ(clusters.take(1, &first), 0u);
}

// Every slot is somebody's, once; none is forgotten.
TEST(SlotClusters, ThreadsTakeAndGiveBack) {
  constexpr std::uint32_t kClusters = 3, kThreads = 4, kRounds = 20000;
  HeapMemory memory;
  SlotClusters clusters;
  ASSERT_TRUE(clusters.init(memory, kClusters * SlotClusters::kSlots));
  for (std::uint32_t i = 0; i < kClusters; ++i) ASSERT_TRUE(clusters.add(kAll));
  std::vector<sync::Atomic<int>> owners(kClusters * SlotClusters::kSlots);
  std::vector<std::thread> threads;
  for (std::uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (std::uint32_t round = 0; round < kRounds; ++round) {
        std::uint32_t first;
        std::uint64_t mask = clusters.take(1 + (round + t) % 32, &first);
        for (std::uint64_t m = mask; m != 0; m &= m - 1) {
          EXPECT_EQ(owners[first + static_cast<unsigned>(std::countr_zero(m))].fetch_add(1), 0);
        }
        for (std::uint64_t m = mask; m != 0; m &= m - 1) {
          std::uint32_t slot = first + static_cast<unsigned>(std::countr_zero(m));
          owners[slot].fetch_sub(1);
          clusters.give_back(slot);
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  std::uint32_t found = 0, first;
  while (std::uint64_t mask = clusters.take(64, &first)) found += static_cast<unsigned>(std::popcount(mask));
  EXPECT_EQ(found, kClusters * SlotClusters::kSlots);
}

}  // namespace
}  // namespace coldpress::swap
