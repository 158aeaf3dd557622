#include "zswap/kept_copies.h"

#include <gtest/gtest.h>

#include <map>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::zswap {
namespace {

constexpr std::int64_t kLimit = 8192;  // pages
constexpr std::uint64_t kPlaces = 4096;

class KeptCopiesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(copies_.init(memory_, kLimit));
    ASSERT_EQ(copies_.places(), kPlaces);
  }
  testing::HeapMemory memory_;
  KeptCopies copies_;
};

TEST_F(KeptCopiesTest, TakeFindsWhatWasPutOnce) {
  EXPECT_EQ(copies_.take({7}), 0u);
  EXPECT_EQ(copies_.metadata_bytes(), 0u);
  EXPECT_EQ(copies_.put({7}, 70), 0u);
  EXPECT_EQ(copies_.take({8}), 0u);
  EXPECT_EQ(copies_.take({7 + kPlaces}), 0u) << "another page of the same place";
  EXPECT_EQ(copies_.count(), 1u);
  EXPECT_EQ(copies_.take({7}), 70u);
  EXPECT_EQ(copies_.take({7}), 0u);
  EXPECT_EQ(copies_.count(), 0u);
}

TEST_F(KeptCopiesTest, WhoComesSendsTheOtherAway) {
  EXPECT_EQ(copies_.put({7}, 70), 0u);
  EXPECT_EQ(copies_.put({7 + kPlaces}, 71), 70u);
  EXPECT_EQ(copies_.take({7}), 0u);
  EXPECT_EQ(copies_.take({7 + kPlaces}), 71u);
}

// Against a map, with pages up to the largest there can be.
TEST_F(KeptCopiesTest, BehavesAsAMapOfPlaces) {
  testing::Random random(3);
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint32_t>> model;  // by place: page, entry
  for (std::uint32_t entry = 1; entry < 50000; ++entry) {
    std::uint64_t page =
        random.below(2) == 0 ? random.below(2 * kPlaces) : (std::uint64_t{1} << 35) - 1 - entry;
    auto at = model.find(page % kPlaces);
    bool is_it = at != model.end() && at->second.first == page;
    if (random.below(3) == 0) {
      EXPECT_EQ(copies_.take({page}), is_it ? at->second.second : 0);
      if (is_it) model.erase(at);
    } else {
      EXPECT_EQ(copies_.put({page}, entry), at != model.end() ? at->second.second : 0);
      model[page % kPlaces] = {page, entry};
    }
    ASSERT_EQ(copies_.count(), model.size());
  }
}

TEST_F(KeptCopiesTest, ASweepTakesWhatItPassesTheSecondTime) {
  ASSERT_EQ(copies_.put({5}, 50), 0u);
  std::size_t places = kPlaces;
  EXPECT_EQ(copies_.sweep(places, false), 0u);
  EXPECT_EQ(places, 0u);
  ASSERT_EQ(copies_.put({6}, 60), 0u);
  places = kPlaces;
  EXPECT_EQ(copies_.sweep(places, false), 50u);
  EXPECT_EQ(copies_.sweep(places, false), 0u) << "the other is new";
  EXPECT_EQ(copies_.take({6}), 60u) << "passed by, and found as before";
}

TEST_F(KeptCopiesTest, ASweepOfAllTakesAnyAndNoMorePlacesThanItMay) {
  ASSERT_EQ(copies_.put({kPlaces - 1}, 50), 0u);
  std::size_t places = kPlaces - 1;
  EXPECT_EQ(copies_.sweep(places, true), 0u);
  places = 1;
  EXPECT_EQ(copies_.sweep(places, true), 50u);
  EXPECT_EQ(copies_.count(), 0u);
}

TEST_F(KeptCopiesTest, FewAreWantedWhileTheyDoNotServe) {
  auto wanted = [&] {
    int count = 0;
    for (int i = 0; i < 3200; ++i) count += copies_.wanted(1000, kLimit) ? 1 : 0;
    return count;
  };
  EXPECT_EQ(wanted(), 3200);
  for (int i = 0; i < 100; ++i) copies_.served(false);
  EXPECT_EQ(wanted(), 100);
  for (int i = 0; i < 100; ++i) copies_.served(i % 20 != 0);
  EXPECT_EQ(wanted(), 3200);
}

TEST_F(KeptCopiesTest, TheyTakeAnEighthOfTheLimit) {
  constexpr std::int64_t kMost = kLimit / 8 * static_cast<std::int64_t>(kPageBytes);
  copies_.add_bytes(kMost - 1000);
  EXPECT_TRUE(copies_.wanted(1000, kLimit));
  EXPECT_FALSE(copies_.wanted(1001, kLimit));
  EXPECT_FALSE(copies_.wanted(1000, kLimit - 8));
  copies_.add_bytes(-kMost + 1000);
  EXPECT_EQ(copies_.bytes(), 0u);
}

TEST(KeptCopiesWithoutMemory, GiveBackWhatIsPut) {
  testing::HeapMemory memory;
  KeptCopies copies;
  ASSERT_TRUE(copies.init(memory, kLimit));
  memory.set_commit_limit(0);
  EXPECT_EQ(copies.put({7}, 70), 70u);
  EXPECT_EQ(copies.take({7}), 0u);
  EXPECT_EQ(copies.count(), 0u);
}

}  // namespace
}  // namespace coldpress::zswap
