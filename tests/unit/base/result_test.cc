#include "base/result.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace coldpress {
namespace {

Result<std::unique_ptr<int>> make(bool good) {
  if (good) return std::make_unique<int>(42);
  return Error{Text() << "no " << 42 << " today"};
}

TEST(Result, HoldsAValue) {
  auto result = make(true);
  ASSERT_TRUE(result);
  EXPECT_EQ(*result.value(), 42);
}

TEST(Result, HoldsAnError) {
  auto result = make(false);
  ASSERT_FALSE(result);
  EXPECT_EQ(std::string(result.error().text.view()), "no 42 today");
}

TEST(Result, MovesWhatItHolds) {
  auto good = make(true);
  Result<std::unique_ptr<int>> moved = std::move(good);
  ASSERT_TRUE(moved);
  EXPECT_EQ(*moved.value(), 42);
  Result<std::unique_ptr<int>> error = make(false);
  Result<std::unique_ptr<int>> moved_error = std::move(error);
  ASSERT_FALSE(moved_error);
  EXPECT_EQ(moved_error.error().text.view(), "no 42 today");
}

TEST(Result, EndsItsValueOnce) {
  auto counted = std::make_shared<int>(1);
  {
    Result<std::shared_ptr<int>> first(counted);
    Result<std::shared_ptr<int>> second(std::move(first));
    EXPECT_EQ(counted.use_count(), 2);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(Result, StatusSaysDone) {
  Status status = Done{};
  EXPECT_TRUE(status);
}

TEST(ResultDeathTest, ValueOfAnErrorIsNotToBeHad) {
  EXPECT_DEATH(
      {
        auto result = make(false);
        result.value();
      },
      "");
  EXPECT_DEATH(
      {
        auto result = make(true);
        (void)result.error();
      },
      "");
}

}  // namespace
}  // namespace coldpress
