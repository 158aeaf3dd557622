// What may happen for no reason does: sleepers wake, weak exchanges fail. Who does not look again is found,
// and who does is not; and each surprise is paid for.
#include <gtest/gtest.h>

#include "sched/explore/explore.h"
#include "sync/mutex.h"

namespace coldpress::testing {
namespace {

Report depth_first(void (*body)(Run&), std::uint32_t bound, std::uint32_t surprises) {
  return explore({.name = "surprised", .body = body}, {.bound = bound, .surprises = surprises});
}

Report by_chance(void (*body)(Run&), Search::Kind kind) {
  return explore({.name = "surprised", .body = body}, {.kind = kind, .executions = 5000});
}

// kAgain: looks once more when it wakes.
template <bool kAgain>
void sleeper(Run& run) {
  sync::Atomic<std::uint32_t> ready{0};
  run.task("sleeper", [&] {
    if (ready.load() == 0) sync::futex_wait(&ready, 0);
    while (kAgain && ready.load() == 0) sync::futex_wait(&ready, 0);
    MUST(ready.load() == 1);
  });
  run.task("waker", [&] {
    ready.store(1);
    sync::futex_wake(&ready, 1);
  });
  run.go();
}

TEST(Surprises, AWakeUpForNothing) {
  Report without = depth_first(sleeper<false>, 2, 0);
  EXPECT_FALSE(without.failed) << without.failure;
  EXPECT_TRUE(without.complete);
  Report with = depth_first(sleeper<false>, 0, 1);
  ASSERT_TRUE(with.failed);
  EXPECT_NE(with.failure.find("ready.load() == 1"), std::string::npos) << with.failure;
  EXPECT_NE(with.trace.find("nothing"), std::string::npos) << with.trace;
  Report looks_again = depth_first(sleeper<true>, 2, 3);
  EXPECT_FALSE(looks_again.failed) << looks_again.failure << looks_again.trace;
  EXPECT_TRUE(looks_again.complete);
}

TEST(Surprises, AWakeUpForNothingByChance) {
  for (auto kind : {Search::Kind::kRandom, Search::Kind::kPriorities}) {
    EXPECT_TRUE(by_chance(sleeper<false>, kind).failed);
    EXPECT_FALSE(by_chance(sleeper<true>, kind).failed);
  }
}

template <bool kAgain>
void watcher(Run& run) {
  sync::Event event;
  sync::Atomic<bool> done{false};
  run.task("watcher", [&] {
    do {
      std::uint32_t ticket = event.ticket();
      if (!done.load()) event.wait(ticket);
    } while (kAgain && !done.load());
    MUST(done.load());
  });
  run.task("signaller", [&] {
    done.store(true);
    event.signal();
  });
  run.go();
}

TEST(Surprises, AnEvent) {
  EXPECT_FALSE(depth_first(watcher<false>, 2, 0).failed);
  EXPECT_TRUE(depth_first(watcher<false>, 0, 1).failed);
  EXPECT_FALSE(depth_first(watcher<true>, 2, 2).failed);
}

// While everybody else waits for the clock.
void idle(Run& run) {
  sync::Atomic<std::uint32_t> word{0};
  bool idle = false;
  run.task("sleeper", [&] {
    sync::futex_wait(&word, 0);
    MUST(!idle);
  });
  run.task("timer", [&] {
    idle = true;
    sync::sleep_ns(1000);
    idle = false;
    word.store(1);
    sync::futex_wake(&word, 1);
  });
  run.go();
}

TEST(Surprises, WhileTimePasses) {
  EXPECT_FALSE(depth_first(idle, 2, 0).failed);
  EXPECT_TRUE(depth_first(idle, 0, 1).failed);
}

void forgotten(Run& run) {
  sync::Atomic<std::uint32_t> word{0};
  run.task("sleeper", [&] { sync::futex_wait(&word, 0); });
  run.go();
}

TEST(Surprises, DoNotEndADeadlock) {
  for (std::uint32_t surprises : {0u, 2u}) {
    Report report = depth_first(forgotten, 2, surprises);
    ASSERT_TRUE(report.failed);
    EXPECT_NE(report.failure.find("deadlock"), std::string::npos) << report.failure;
  }
  // On no way.
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Search search{.kind = Search::Kind::kRandom, .executions = 1, .seed = seed};
    EXPECT_TRUE(explore({.name = "forgotten", .body = forgotten}, search).failed);
  }
}

template <bool kAgain>
void weak_adder(Run& run) {
  sync::Atomic<int> word{0};
  run.task("adder", [&] {
    int before = word.load();
    while (!word.compare_exchange_weak(before, before + 1, sync::kAcqRel, sync::kAcquire) && kAgain) continue;
  });
  run.go();
  MUST(word.load() == 1);
}

TEST(Surprises, AWeakExchangeFails) {
  EXPECT_FALSE(depth_first(weak_adder<false>, 2, 0).failed);
  Report with = depth_first(weak_adder<false>, 0, 1);
  ASSERT_TRUE(with.failed);
  EXPECT_NE(with.trace.find("fails for nothing"), std::string::npos) << with.trace;
  EXPECT_FALSE(depth_first(weak_adder<true>, 0, 5).failed);
  EXPECT_TRUE(by_chance(weak_adder<false>, Search::Kind::kRandom).failed);
  EXPECT_TRUE(by_chance(weak_adder<false>, Search::Kind::kPriorities).failed);
}

// Of `kExchanges` any may fail. Those that find another value do anyway: that is no choice.
template <int kExchanges>
void exchanges(Run& run) {
  sync::Atomic<int> word{0};
  run.task("only", [&] {
    for (int i = 0; i < kExchanges; ++i) {
      int same = word.load(), other = same + 1;
      (void)word.compare_exchange_weak(same, same, sync::kAcqRel, sync::kAcquire);
      (void)word.compare_exchange_weak(other, 7, sync::kAcqRel, sync::kAcquire);
    }
  });
  run.go();
}

TEST(Surprises, EachIsPaidFor) {
  EXPECT_EQ(depth_first(exchanges<5>, 3, 0).executions, 1u);
  EXPECT_EQ(depth_first(exchanges<5>, 0, 1).executions, 1u + 5u);
  EXPECT_EQ(depth_first(exchanges<5>, 0, 2).executions, 1u + 5u + 10u);
  EXPECT_EQ(depth_first(exchanges<5>, 0, 9).executions, 32u);
}

// A surprise is no preemption: where nobody sleeps there is none, and the bound holds as without.
void independent(Run& run) {
  sync::Atomic<int> words[2];
  for (int task = 0; task < 2; ++task) {
    run.task("task", [&words, task] {
      for (int i = 0; i < 10; ++i) words[task].store(i);
    });
  }
  run.go();
}

TEST(Surprises, AreNoPreemptions) {
  EXPECT_EQ(depth_first(independent, 1, 0).executions, 20u);
  EXPECT_EQ(depth_first(independent, 1, 3).executions, 20u);
}

}  // namespace
}  // namespace coldpress::testing
