#include "memgroup/group.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace coldpress::memgroup {
namespace {

constexpr std::uint64_t kMiB = 256;  // pages

TEST(Group, MarksLieInOrderBelowTheLimit) {
  for (std::uint64_t limit = 8 * kMiB; limit <= 1024 * 1024 * kMiB; limit = limit * 3 / 2) {
    Stats stats;
    Group group;
    group.init(limit, &stats);
    ASSERT_EQ(group.limit(), static_cast<std::int64_t>(limit));
    ASSERT_LT(group.high(), group.limit()) << limit;
    ASSERT_LT(group.low(), group.high()) << limit;
    ASSERT_GT(group.low(), 0) << limit;
    // What the reserve takes from the program stays small.
    ASSERT_GE(group.low() * 10, group.limit() * 7) << limit;
  }
}

TEST(Group, SaysItsLimitInTheStatistics) {
  Stats stats;
  Group group;
  group.init(512 * kMiB, &stats);
  EXPECT_EQ(stats.limit_bytes.load(), std::uint64_t{512} << 20);
  EXPECT_EQ(&group.stats(), &stats);
}

TEST(Group, UsageFollowsChargeAndUncharge) {
  Stats stats;
  Group group;
  group.init(64 * kMiB, &stats);
  EXPECT_EQ(group.usage(), 0);
  group.set_usage(100);
  group.charge(20);
  group.uncharge(50);
  EXPECT_EQ(group.usage(), 70);
  // Between two ticks more can be uncharged than was charged; that must not wrap.
  group.uncharge(100);
  EXPECT_EQ(group.usage(), -30);
  EXPECT_LT(group.usage(), group.low());
}

TEST(Group, NoChargeIsLostBetweenThreads) {
  Stats stats;
  Group group;
  group.init(64 * kMiB, &stats);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 10000; ++n) {
        group.charge(3);
        group.uncharge(2);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(group.usage(), 40000);
}

}  // namespace
}  // namespace coldpress::memgroup
