#include "vm/turns.h"

#include <gtest/gtest.h>

namespace coldpress::vm {
namespace {

constexpr std::int64_t kMillisecond = 1'000'000;

TEST(Turns, OneClaimsUntilTheBackgroundSleepsAgain) {
  Turns turns;
  EXPECT_TRUE(turns.claim());
  EXPECT_FALSE(turns.claim()) << "it is about to wake";
  sync::Event wake;
  std::uint32_t before = wake.ticket();
  wake.signal();
  bool asked = false;
  turns.sleep(wake, before, [&] {
    asked = true;
    EXPECT_TRUE(turns.claim()) << "the turn is given away before it is known how long";
    return std::int64_t{kMillisecond};
  });
  EXPECT_TRUE(asked);
  EXPECT_FALSE(turns.claim()) << "it is awake";
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
