// The tool's tree of schedules is the right one: independent operations interleave in exactly as many ways as
// mathematics says, and as few as the bound on preemptions allows.
#include <gtest/gtest.h>

#include "sched/explore/explore.h"
#include "sync/mutex.h"

namespace coldpress::testing {
namespace {

template <int kTasks, int kOperations>
void independent(Run& run) {
  sync::Atomic<int> words[kTasks];
  for (int task = 0; task < kTasks; ++task) {
    run.task("task", [&words, task] {
      for (int i = 0; i < kOperations; ++i) words[task].store(i);
    });
  }
  run.go();
}

template <int kTasks, int kOperations>
std::uint64_t count(std::uint32_t bound) {
  Scenario scenario{.name = "independent", .body = independent<kTasks, kOperations>};
  Report report = explore(scenario, {.bound = bound});
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
  EXPECT_EQ(report.longest, static_cast<std::uint32_t>(kTasks * kOperations));
  return report.executions;
}

constexpr std::uint32_t kUnbounded = 1000;

TEST(Counts, AllInterleavingsOfTwo) {
  EXPECT_EQ((count<2, 5>(kUnbounded)), 252u);
  EXPECT_EQ((count<2, 8>(kUnbounded)), 12870u);
  EXPECT_EQ((count<2, 10>(kUnbounded)), 184756u);
}

TEST(Counts, AllInterleavingsOfThree) {
  EXPECT_EQ((count<3, 3>(kUnbounded)), 1680u);
  EXPECT_EQ((count<3, 4>(kUnbounded)), 34650u);
  EXPECT_EQ((count<3, 5>(kUnbounded)), 756756u);
}

// Two tasks of n operations: 2, 2n, and so on (a switch between operations, then it runs to its end).
TEST(Counts, WithinABound) {
  EXPECT_EQ((count<2, 10>(0)), 2u);
  EXPECT_EQ((count<2, 10>(1)), 20u);
  EXPECT_EQ((count<2, 10>(2)), 182u);
  EXPECT_EQ((count<2, 10>(3)), 830u);
  EXPECT_EQ((count<3, 10>(2)), 3300u);
  EXPECT_EQ((count<4, 10>(2)), 45600u);
}

// Sections under one lock are one step each.
void one_lock(Run& run) {
  sync::Mutex mutex;
  int inside = 0, sum = 0;
  for (int task = 0; task < 2; ++task) {
    run.task("task", [&] {
      for (int i = 0; i < 4; ++i) {
        sync::MutexLock lock(mutex);
        MUST(++inside == 1);
        ++sum;
        --inside;
      }
    });
  }
  run.go();
  MUST(sum == 8);
}

TEST(Counts, ALockedSectionIsOneStep) {
  Report report = explore({.name = "one_lock", .body = one_lock}, {.bound = kUnbounded});
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_EQ(report.executions, 70u);
}

}  // namespace
}  // namespace coldpress::testing
