#include "base/check.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "base/log.h"

namespace coldpress {
namespace {

void print_line(std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

TEST(Check, PassesWithoutEffect) {
  int evaluated = 0;
  COLDPRESS_CHECK(++evaluated == 1);
  EXPECT_EQ(evaluated, 1);
}

TEST(CheckDeathTest, ReportsExpressionAndPlaceThenStops) {
  EXPECT_DEATH(
      {
        set_message_sink(&print_line);
        COLDPRESS_CHECK(1 + 1 == 3);
      },
      "internal check failed: 1 \\+ 1 == 3 \\(.*check_test.cc:[0-9]+\\)");
}

TEST(CheckDeathTest, StopsWithoutASink) {
  EXPECT_DEATH(
      {
        set_message_sink(nullptr);
        COLDPRESS_CHECK(false);
      },
      "");
}

}  // namespace
}  // namespace coldpress
