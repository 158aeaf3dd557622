#include "vm/cpu_share.h"

#include <gtest/gtest.h>

#include "unit/random.h"

namespace coldpress::vm {
namespace {

using testing::Random;

TEST(CpuShare, IsNeverExceededForLong) {
  for (std::uint32_t percent : {1u, 7u, 20u, 50u}) {
    Random random(percent);
    CpuShare share;
    std::int64_t now = 5'000'000'000, used = 0, longest = 0;
    share.may(now, percent);
    std::int64_t begun = now;
    while (now - begun < 60'000'000'000) {
      now += static_cast<std::int64_t>(random.below(8'000'000));  // the task's turns do not come regularly
      while (share.may(now, percent)) {
        std::int64_t piece = static_cast<std::int64_t>(1 + random.below(400'000));
        now += piece;
        used += piece;
        longest = std::max(longest, piece);
        share.used(now);
      }
      ASSERT_LE(used, (now - begun) * percent / 100 + CpuShare::kMostNs + longest);
    }
    // And it is had, nearly, where the task comes by often enough to use it.
    EXPECT_GT(used, (now - begun) * std::min(percent, 10u) / 100 * 3 / 4) << percent;
  }
}

TEST(CpuShare, IdleTimeIsNotSavedUp) {
  CpuShare share;
  share.may(0, 20);
  ASSERT_TRUE(share.may(3'600'000'000'000, 20));
  share.used(3'600'000'000'000 + CpuShare::kMostNs);
  EXPECT_FALSE(share.may(3'600'000'000'000 + CpuShare::kMostNs, 20));
}

TEST(CpuShare, NothingIsNothing) {
  CpuShare share;
  share.may(0, 20);
  ASSERT_TRUE(share.may(1'000'000, 20));
  EXPECT_FALSE(share.may(2'000'000, 0));
  EXPECT_FALSE(share.may(2'000'000, 20)) << "nothing was saved up";
  EXPECT_TRUE(share.may(2'100'000, 20));
}

}  // namespace
}  // namespace coldpress::vm
