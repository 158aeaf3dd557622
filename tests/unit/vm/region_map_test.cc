#include "vm/region_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::vm {
namespace {

using testing::HeapMemory;
using testing::Random;

class RegionMapTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(map_.init(memory_, 1000)); }
  static PageRange range(std::uint64_t begin, std::uint64_t end) { return {{begin}, {end}}; }

  HeapMemory memory_;
  RegionMap map_;
};

// The regions that a bitmap describes.
std::vector<PageRange> regions_of(const std::vector<bool>& pages) {
  std::vector<PageRange> regions;
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (!pages[i]) continue;
    if (i > 0 && pages[i - 1]) {
      regions.back().end = {i + 1};
    } else {
      regions.push_back({{i}, {i + 1}});
    }
  }
  return regions;
}

TEST_F(RegionMapTest, NeighboursThatTouchAreOne) {
  ASSERT_TRUE(map_.add(range(10, 20)));
  ASSERT_TRUE(map_.add(range(30, 40)));
  EXPECT_EQ(map_.count(), 2u);
  ASSERT_TRUE(map_.add(range(20, 30)));
  ASSERT_EQ(map_.count(), 1u);
  EXPECT_EQ(map_[0], range(10, 40));
  EXPECT_EQ(map_.total_pages(), 30u);
}

TEST_F(RegionMapTest, RemoveSplits) {
  ASSERT_TRUE(map_.add(range(10, 40)));
  map_.remove(range(20, 30));
  ASSERT_EQ(map_.count(), 2u);
  EXPECT_EQ(map_[0], range(10, 20));
  EXPECT_EQ(map_[1], range(30, 40));
  EXPECT_TRUE(map_.contains(range(10, 20)));
  EXPECT_FALSE(map_.contains(range(19, 21)));
  EXPECT_FALSE(map_.contains(range(15, 35)));
}

TEST_F(RegionMapTest, EmptyRangesDoNothing) {
  ASSERT_TRUE(map_.add(range(5, 5)));
  EXPECT_EQ(map_.count(), 0u);
  ASSERT_TRUE(map_.add(range(1, 9)));
  ASSERT_TRUE(map_.add(range(5, 5)));
  EXPECT_EQ(map_.count(), 1u);
  EXPECT_FALSE(map_.contains(range(5, 5)));
}

// Fails: remove() of an empty range inside a region cuts it into two that touch.
TEST_F(RegionMapTest, RemovingNothingSplitsNothing) {
  ASSERT_TRUE(map_.add(range(1, 9)));
  map_.remove(range(5, 5));
  EXPECT_EQ(map_.count(), 1u);
  EXPECT_TRUE(map_.contains(range(1, 9)));
}

TEST_F(RegionMapTest, AgreesWithABitmap) {
  constexpr std::uint64_t kPages = 300;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Random random(seed);
    std::vector<bool> model(kPages);
    map_.clear();
    for (int step = 0; step < 500; ++step) {
      std::uint64_t begin = random.below(kPages);
      std::uint64_t most = std::min<std::uint64_t>(kPages - begin, step % 3 == 0 ? 60 : 8);
      std::uint64_t end = begin + random.between(1, most);
      bool add = random.one_in(2);
      if (add) {
        ASSERT_TRUE(map_.add(range(begin, end)));
      } else {
        map_.remove(range(begin, end));
      }
      for (std::uint64_t page = begin; page < end; ++page) model[page] = add;

      std::vector<PageRange> expected = regions_of(model);
      ASSERT_EQ(map_.count(), expected.size());
      std::uint64_t total = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(map_[i], expected[i]);
        total += expected[i].pages();
      }
      ASSERT_EQ(map_.total_pages(), total);

      PageIndex page{random.below(kPages + 5)};
      PageRange found{};
      for (PageRange region : expected) {
        if (page < region.end) {
          found = region;
          break;
        }
      }
      ASSERT_EQ(map_.at_or_after(page), found);
      std::uint64_t from = random.below(kPages), to = from + random.below(kPages - from + 1);
      bool all = from < to;
      for (std::uint64_t i = from; i < to; ++i) all = all && model[i];
      ASSERT_EQ(map_.contains(range(from, to)), all);
    }
  }
}

TEST_F(RegionMapTest, AFullTableRefusesAndChangesNothing) {
  HeapMemory memory;
  RegionMap small;
  ASSERT_TRUE(small.init(memory, 3));
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_TRUE(small.add(range(i * 10, i * 10 + 5)));
  EXPECT_FALSE(small.add(range(100, 110)));
  ASSERT_EQ(small.count(), 3u);
  EXPECT_EQ(small[2], range(20, 25));
  EXPECT_TRUE(small.add(range(5, 10))) << "this one melts two together";
  EXPECT_EQ(small.count(), 2u);
  EXPECT_EQ(small[0], range(0, 15));
}

TEST_F(RegionMapTest, AFullTableLosesTheUpperPartOfASplit) {
  HeapMemory memory;
  RegionMap small;
  ASSERT_TRUE(small.init(memory, 1));
  ASSERT_TRUE(small.add(range(0, 30)));
  small.remove(range(10, 20));
  ASSERT_EQ(small.count(), 1u);
  EXPECT_EQ(small[0], range(0, 10)) << "never more than was asked to stay";
}

}  // namespace
}  // namespace coldpress::vm
