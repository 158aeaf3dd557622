#include "vm/turns.h"

#include <gtest/gtest.h>

namespace coldpress::vm {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

TEST(Turns, OneClaimsUntilTheBackgroundSleepsAgain) {
  Turns turns;
  EXPECT_TRUE(turns.claim());
  EXPECT_FALSE(turns.claim()) << "it is about to wake";
  turns.set_background_awake(true);
  EXPECT_FALSE(turns.claim());
  turns.set_background_awake(false);
  EXPECT_TRUE(turns.claim());
}

TEST(Turns, OftenIsFourInAMillisecond) {
  Turns turns;
  std::int64_t now = 10 * kMillisecond;
  EXPECT_FALSE(turns.faults_often(0, now));
  EXPECT_TRUE(turns.faults_often(5, now += kMillisecond));
  EXPECT_TRUE(turns.faults_often(5, now + kMillisecond / 4)) << "not looked at again so soon";
  EXPECT_FALSE(turns.faults_often(8, now += kMillisecond));
  EXPECT_FALSE(turns.faults_often(1000, now += 1000 * kMillisecond)) << "over a second";
}

}  // namespace
}  // namespace coldpress::vm
