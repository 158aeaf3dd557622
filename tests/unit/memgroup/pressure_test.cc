#include "memgroup/pressure.h"

#include <gtest/gtest.h>

#include <cmath>

namespace coldpress::memgroup {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kStart = 100 * kSecond;

class PressureTest : public ::testing::Test {
 protected:
  void SetUp() override { update(kStart, 2); }
  // `lost` of each second for so many seconds, as one wait.
  void lose(std::int64_t seconds, double lost, int threads) {
    for (std::int64_t i = 0; i < seconds; ++i) {
      for (int t = 0; t < threads; ++t) pressure_.begin(now_);
      auto wait = static_cast<std::int64_t>(lost * kSecond);
      for (int t = 0; t < threads; ++t) pressure_.end(now_ + wait);
      now_ += kSecond;
      if (pressure_.due(now_)) update(now_, 2);
    }
  }
  void update(std::int64_t now, std::uint32_t threads) {
    pressure_.update(now, threads);
    pressure_.tell(stats_);
  }
  Pressure pressure_;
  Stats stats_;
  std::int64_t now_ = kStart;
};

TEST_F(PressureTest, NothingIsLostAtFirst) {
  lose(20, 0, 1);
  EXPECT_EQ(stats_.some_total_us.load(), 0u);
  EXPECT_EQ(stats_.some_avg10.load(), 0u);
}

TEST_F(PressureTest, AveragesComeUpAsFastAsTheirWindows) {
  lose(10, 0.5, 1);
  auto expected = [](double seconds) { return 5000 * (1 - std::exp(-10 / seconds)); };
  EXPECT_NEAR(static_cast<double>(stats_.some_avg10.load()), expected(10), 5);
  EXPECT_NEAR(static_cast<double>(stats_.some_avg60.load()), expected(60), 5);
  EXPECT_NEAR(static_cast<double>(stats_.some_avg300.load()), expected(300), 5);
  EXPECT_EQ(stats_.some_total_us.load(), 5'000'000u);
  lose(300, 0.5, 1);
  EXPECT_NEAR(static_cast<double>(stats_.some_avg10.load()), 5000, 5);
  lose(100, 0, 1);
  EXPECT_LE(stats_.some_avg10.load(), 1u);
  EXPECT_GT(stats_.some_avg300.load(), 1000u);
}

TEST_F(PressureTest, FullIsWhenAllWait) {
  lose(10, 0.25, 1);
  EXPECT_EQ(stats_.full_total_us.load(), 0u);
  lose(10, 0.25, 2);
  EXPECT_EQ(stats_.full_total_us.load(), 2'500'000u);
  EXPECT_EQ(stats_.some_total_us.load(), 5'000'000u);
}

TEST_F(PressureTest, OverlappingWaitsCountOnce) {
  pressure_.begin(now_);
  pressure_.begin(now_ + kSecond / 4);
  pressure_.end(now_ + kSecond / 2);
  pressure_.end(now_ + kSecond);
  update(now_ + 2 * kSecond, 2);
  EXPECT_EQ(stats_.some_total_us.load(), 1'000'000u);
  EXPECT_EQ(stats_.full_total_us.load(), 250'000u);
}

TEST_F(PressureTest, AWaitThatGoesOnCountsAlready) {
  pressure_.begin(now_);
  update(now_ + 2 * kSecond, 0);
  EXPECT_EQ(stats_.some_total_us.load(), 2'000'000u);
  pressure_.end(now_ + 3 * kSecond);
  update(now_ + 4 * kSecond, 0);
  EXPECT_EQ(stats_.some_total_us.load(), 3'000'000u);
  EXPECT_EQ(stats_.full_total_us.load(), 0u) << "first not all of them, then nobody knows how many there are";
}

// The engine slept, or the machine did.
TEST_F(PressureTest, MissedPeriods) {
  lose(60, 1, 1);
  update(now_ + 3600 * kSecond, 2);
  EXPECT_EQ(stats_.some_avg10.load(), 0u);
  EXPECT_EQ(stats_.some_avg300.load(), 0u);
  update(now_, 2);  // back in time: not asked
  EXPECT_EQ(stats_.some_total_us.load(), 60'000'000u);
}

}  // namespace
}  // namespace coldpress::memgroup
