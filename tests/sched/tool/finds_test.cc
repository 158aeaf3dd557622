// The tool finds what it is for: each program here has one well-known mistake.
#include <gtest/gtest.h>

#include "sched/explore/explore.h"
#include "sync/mutex.h"

namespace coldpress::testing {
namespace {

Report depth_first(void (*body)(Run&), std::uint32_t bound) {
  return explore({.name = "planted", .body = body}, {.bound = bound});
}

// A list of free slots, popped by comparing its head alone: right until the head comes back with another
// next.
void aba_free_list(Run& run) {
  constexpr int kSlots = 3;
  struct {
    sync::Atomic<int> head{0};
    sync::Atomic<int> next[kSlots] = {1, 2, -1};
    int taken[kSlots] = {};
    int pop() {
      int top = head.load();
      for (;;) {
        if (top < 0) return -1;
        int after = next[top].load();
        if (head.compare_exchange_strong(top, after, sync::kAcqRel, sync::kAcquire)) break;
      }
      MUST(++taken[top] == 1);
      return top;
    }
    void push(int slot) {
      int top = head.load();
      --taken[slot];
      do next[slot].store(top);
      while (!head.compare_exchange_strong(top, slot, sync::kAcqRel, sync::kAcquire));
    }
  } list;
  run.task("slow", [&] {
    list.pop();
    list.pop();
  });
  run.task("fast", [&] {
    int first = list.pop(), second = list.pop();
    if (first >= 0) list.push(first);
    if (second >= 0) list.push(second);
  });
  run.go();
}

TEST(Finds, AbaFreeListAtBoundTwoOnly) {
  Report at_one = depth_first(aba_free_list, 1);
  EXPECT_FALSE(at_one.failed) << at_one.failure;
  EXPECT_TRUE(at_one.complete);
  Report at_two = depth_first(aba_free_list, 2);
  ASSERT_TRUE(at_two.failed);
  EXPECT_NE(at_two.failure.find("taken"), std::string::npos) << at_two.failure;
}

// Looks, then sleeps; the wake-up comes in between.
void missed_wake_up(Run& run) {
  sync::Mutex mutex;
  bool ready = false;
  sync::Atomic<std::uint32_t> word{0};
  run.task("sleeper", [&] {
    mutex.lock();
    bool go = ready;
    mutex.unlock();
    if (!go) sync::futex_wait(&word, 0);
  });
  run.task("waker", [&] {
    {
      sync::MutexLock lock(mutex);
      ready = true;
    }
    sync::futex_wake(&word, 1);
  });
  run.go();
}

TEST(Finds, AMissedWakeUp) {
  Report report = depth_first(missed_wake_up, 1);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("deadlock"), std::string::npos) << report.failure;
  EXPECT_NE(report.failure.find("sleeper"), std::string::npos) << report.failure;
}

void philosophers(Run& run) {
  constexpr int kSeats = 3;
  static sync::Mutex forks[kSeats];
  for (int seat = 0; seat < kSeats; ++seat) {
    run.task("philosopher", [seat] {
      sync::MutexLock left(forks[seat]);
      sync::MutexLock right(forks[(seat + 1) % kSeats]);
    });
  }
  run.go();
}

TEST(Finds, DiningPhilosophers) {
  Report report = depth_first(philosophers, 2);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("waits for a lock"), std::string::npos) << report.failure;
}

// Two polite tasks, each taking its wish back for the other's.
void livelock(Run& run) {
  sync::Atomic<int> wishes[2] = {0, 0};
  for (int self = 0; self < 2; ++self) {
    run.task("polite", [&wishes, self] {
      for (;;) {
        wishes[self].store(1);
        if (wishes[1 - self].load() == 0) break;
        wishes[self].store(0);
        while (wishes[1 - self].load() != 0) continue;
      }
      wishes[self].store(0);
    });
  }
  run.go();
}

TEST(Finds, ALivelock) {
  EXPECT_FALSE(depth_first(livelock, 0).failed);
  Report report = depth_first(livelock, 1);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("livelock"), std::string::npos) << report.failure;
}

void polling(Run& run) {
  bool ready = false;
  run.task("poller", [&] {
    while (!ready) sync::sleep_ns(1000);
  });
  run.go();
}

TEST(Finds, PollingByTheClock) {
  Report report = depth_first(polling, 0);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("polls"), std::string::npos) << report.failure;
}

// What decides here is a counter that outlives the execution.
void uncontrolled(Run& run) {
  static int executions = 0;
  sync::Atomic<int> word{0};
  int stores = ++executions % 3 == 0 ? 1 : 2;
  for (int task = 0; task < 2; ++task) {
    run.task("task", [&] {
      for (int i = 0; i < stores; ++i) word.store(i);
    });
  }
  run.go();
}

TEST(Finds, UncontrolledNondeterminism) {
  Report report = depth_first(uncontrolled, 2);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("choose()"), std::string::npos) << report.failure;
}

// The same steps with another value: the schedule run twice tells.
void uncontrolled_value(Run& run) {
  static int executions = 0;
  sync::Atomic<int> word{0};
  int value = ++executions;
  run.task("task", [&] { word.store(value); });
  run.go();
}

TEST(Finds, UncontrolledNondeterminismOfAValue) {
  Report report = depth_first(uncontrolled_value, 2);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("the same choices did something else"), std::string::npos) << report.failure;
}

void lost_update(Run& run) {
  sync::Atomic<int> word{0};
  for (int task = 0; task < 2; ++task) {
    run.task("adder", [&] { word.store(word.load() + 1); });
  }
  run.go();
  MUST(word.load() == 2);
}

TEST(Finds, ALostUpdateByEveryStrategy) {
  Report first = depth_first(lost_update, 0);
  EXPECT_FALSE(first.failed) << first.failure;
  EXPECT_TRUE(depth_first(lost_update, 1).failed);
  Scenario scenario{.name = "lost_update", .body = lost_update};
  EXPECT_TRUE(explore(scenario, {.kind = Search::Kind::kRandom, .executions = 200}).failed);
  EXPECT_TRUE(explore(scenario, {.kind = Search::Kind::kPriorities, .executions = 200, .depth = 2}).failed);
  Report none = explore(scenario, {.kind = Search::Kind::kPriorities, .executions = 200, .depth = 1});
  EXPECT_FALSE(none.failed) << "one priority for each task and no change is no preemption";
}

// Only where the one task is interrupted between its two stores does the other come by.
void rare_way(Run& run) {
  sync::Atomic<int> word{0};
  run.task("writer", [&] {
    word.store(1);
    word.store(0);
  });
  run.task("reader", [&] {
    if (word.load() == 1) sync::mark("in between");
  });
  run.go();
}

TEST(Finds, AMarkThatNoExecutionCameBy) {
  Scenario scenario{.name = "rare_way", .body = rare_way, .marks = {"in between", "nowhere"}};
  using Marks = std::vector<std::string>;
  EXPECT_EQ(never_reached(scenario, explore(scenario, {.bound = 0}).marks), (Marks{"in between", "nowhere"}));
  EXPECT_EQ(never_reached(scenario, explore(scenario, {.bound = 1}).marks), Marks{"nowhere"});
}

// Which sleeper one wake-up reaches is a choice.
void one_for_two(Run& run) {
  sync::Atomic<std::uint32_t> word{0};
  sync::Atomic<int> slept{0};
  sync::Atomic<int> woken{-1};
  for (int task = 0; task < 2; ++task) {
    run.task("sleeper", [&, task] {
      slept.fetch_add(1);
      sync::futex_wait(&word, 0);
      if (woken.load(sync::kRelaxed) < 0) woken.store(task, sync::kRelaxed);
    });
  }
  run.task("waker", [&] {
    while (slept.load() < 2) sync::sleep_ns(1000);
    sync::futex_wake(&word, 1);
    sync::sleep_ns(1000);
    sync::futex_wake(&word, 1);
  });
  run.go();
  MUST(woken.load() == 0);
}

TEST(Finds, WhoIsWoken) {
  Report report = depth_first(one_for_two, 0);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("woken.load() == 0"), std::string::npos) << report.failure;
}

}  // namespace
}  // namespace coldpress::testing
