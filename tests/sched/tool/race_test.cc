// Under ThreadSanitizer: a data race is reported on whatever schedule it is met, although one OS thread runs
// all tasks; and what a lock, or the begin and the end of tasks, orders is not.
#include <gtest/gtest.h>

#include "os/sim/one_step.h"
#include "sched/explore/explore.h"
#include "sync/mutex.h"

namespace coldpress::testing {
namespace {

template <bool kLocked>
void two_increments(Run& run) {
  sync::Mutex mutex;
  static int number;
  number = 0;
  for (int task = 0; task < 2; ++task) {
    run.task("adder", [&] {
      if (kLocked) mutex.lock();
      ++number;
      if (kLocked) mutex.unlock();
    });
  }
  run.go();
  MUST(number == 2);
}

TEST(Races, APlantedOneIsReported) {
  EXPECT_TRUE(explore({.name = "two_increments", .body = two_increments<false>}, {.bound = 0}).failed);
}

TEST(Races, ALockedOneIsNot) {
  Report report = explore({.name = "two_increments", .body = two_increments<true>}, {.bound = 2});
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_TRUE(report.complete);
}

// Both call the machine: what it does is one step after the other, and orders nothing of the callers' own.
template <bool kWithin>
void two_calls(Run& run) {
  sync::Mutex machine;
  static int number;
  number = 0;
  for (int task = 0; task < 2; ++task) {
    run.task("caller", [&] {
      {
        os::OneStep step(machine);
        if (kWithin) ++number;
      }
      if (!kWithin) ++number;
      os::OneStep step(machine);
    });
  }
  run.go();
}

TEST(Races, CallsOfTheMachineOrderNothing) {
  EXPECT_TRUE(explore({.name = "two_calls", .body = two_calls<false>}, {.bound = 0}).failed);
}

TEST(Races, WhatTheMachineDoesIsNotLookedAt) {
  Report report = explore({.name = "two_calls", .body = two_calls<true>}, {.bound = 2});
  EXPECT_FALSE(report.failed) << report.failure;
}

template <bool kOrdered>
void hand_over(Run& run) {
  static int payload;
  payload = 0;
  sync::Atomic<int> ready{0};
  run.task("giver", [&] {
    payload = 1;
    ready.store(1, kOrdered ? sync::kRelease : sync::kRelaxed);
  });
  run.task("taker", [&] {
    if (ready.load(kOrdered ? sync::kAcquire : sync::kRelaxed) == 1) MUST(payload == 1);
  });
  run.go();
}

TEST(Races, ReleaseAndAcquireOrder) {
  Report report = explore({.name = "hand_over", .body = hand_over<true>}, {.bound = 2});
  EXPECT_FALSE(report.failed) << report.failure;
}

TEST(Races, RelaxedDoesNot) {
  EXPECT_TRUE(explore({.name = "hand_over", .body = hand_over<false>}, {.bound = 2}).failed);
}

}  // namespace
}  // namespace coldpress::testing
