#include "sync/futex.h"

#include <gtest/gtest.h>

#include <thread>

namespace coldpress::sync {
namespace {

TEST(Futex, DoesNotSleepWhenTheWordHasChanged) {
  Atomic<std::uint32_t> word{5};
  futex_wait(&word, 4);  // would sleep for ever
  SUCCEED();
}

TEST(Futex, ReturnsWhenTimeIsUp) {
  Atomic<std::uint32_t> word{5};
  futex_wait(&word, 5, 1000000);
  futex_wait(&word, 5, 0);
  EXPECT_EQ(word.load(), 5u);
}

TEST(Futex, WakesASleeper) {
  Atomic<std::uint32_t> word{0};
  std::thread sleeper([&] {
    while (word.load() == 0) futex_wait(&word, 0);
  });
  word.store(1);
  futex_wake(&word, 1);
  sleeper.join();
}

TEST(Futex, WakesAllSleepers) {
  Atomic<std::uint32_t> word{0};
  std::thread sleepers[4];
  for (auto& sleeper : sleepers) {
    sleeper = std::thread([&] {
      while (word.load() == 0) futex_wait(&word, 0);
    });
  }
  word.store(1);
  futex_wake(&word, 1 << 30);
  for (auto& sleeper : sleepers) sleeper.join();
}

TEST(Futex, LeavesErrnoAlone) {
  Atomic<std::uint32_t> word{5};
  errno = 1234;
  futex_wait(&word, 4);
  futex_wait(&word, 5, 1000);
  futex_wake(&word, 1);
  sleep_ns(1);
  EXPECT_EQ(errno, 1234);
}

TEST(Clock, NeverGoesBack) {
  std::int64_t last = now_ns();
  EXPECT_GT(last, 0);
  for (int i = 0; i < 1000; ++i) {
    std::int64_t now = now_ns();
    ASSERT_GE(now, last);
    last = now;
  }
}

TEST(Clock, SleepTakesAtLeastAsLongAsAsked) {
  std::int64_t before = now_ns();
  sleep_ns(2000000);
  EXPECT_GE(now_ns() - before, 2000000);
}

}  // namespace
}  // namespace coldpress::sync
