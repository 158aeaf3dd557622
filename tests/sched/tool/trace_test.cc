// A trace is for a reader: objects have their names, values are old and new, a circle is shown once, and the
// failure says how to have it again.
#include "sched/explore/trace.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sched/explore/explore.h"
#include "sync/mutex.h"

namespace coldpress::testing {
namespace {

Report depth_first(void (*body)(Run&), std::uint32_t bound) {
  return explore({.name = "traced", .body = body}, {.bound = bound});
}

std::vector<std::string> lines_with(const std::string& text, const std::string& part) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at < text.size();) {
    std::size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    if (line.find(part) != std::string::npos) found.push_back(line);
    at = end + 1;
  }
  return found;
}

void named(Run& run) {
  struct Pair {
    sync::Atomic<std::uint64_t> key{0}, value{0};
  };
  sync::Mutex mutex;
  sync::Atomic<std::uint32_t> unnamed{0};
  sync::Atomic<std::uint32_t> slots[3] = {0, 5, 6};
  Pair pairs[2], whole;
  sync::name_object(mutex, "layout");
  sync::name_each(slots, 3, "slot", 100);
  sync::name_each(&pairs[0].value, 2, "value", 0, sizeof(Pair));
  sync::name_object(whole, "whole");
  run.task("only", [&] {
    sync::MutexLock lock(mutex);
    slots[1].fetch_add(3);
    slots[2].exchange(9);
    pairs[1].value.store(1);
    pairs[1].key.store(1);
    whole.value.store(1);
    unnamed.store(2);
    MUST(unnamed.load() == 0);
  });
  run.go();
}

TEST(Names, AreInTheTrace) {
  Report report = depth_first(named, 0);
  ASSERT_TRUE(report.failed);
  // Operation, object and values, one after the other.
  for (auto [operation, object, values] : {std::tuple{"lock", "layout", "trace_test.cc:"},
                                           {"update", "slot 101", "5 -> 8"},
                                           {"exchange", "slot 102", "6 -> 9"},
                                           {"store", "value 1", "0 -> 1"},
                                           {"store", "whole+8", "0 -> 1"},
                                           {"store", "atomic 2", "0 -> 2"},
                                           {"store", "atomic 1", "0 -> 1"}}) {
    auto lines = lines_with(report.trace, object);
    ASSERT_EQ(lines.size(), object == std::string("atomic 2") ? 2u : 1u) << object << "\n" << report.trace;
    std::size_t at = lines[0].find(operation);
    ASSERT_NE(at, std::string::npos) << lines[0];
    EXPECT_LT(at, lines[0].find(object));
    EXPECT_LT(lines[0].find(object), lines[0].find(values)) << lines[0];
    EXPECT_NE(lines[0].find(values), std::string::npos) << lines[0];
  }
}

void holds(Run& run) {
  sync::Atomic<int> word{0};
  sync::name_object(word, "word");
  run.task("only", [&] { word.store(1); });
  run.go();
}

TEST(Names, OfAReplayThatHolds) {
  Report report = explore({.name = "holds", .body = holds}, {.kind = Search::Kind::kReplay, .replay = "-"});
  EXPECT_FALSE(report.failed) << report.failure;
  EXPECT_EQ(lines_with(report.trace, "store     word").size(), 1u) << report.trace;
}

// The second execution fails. What was named in the first has no name in it.
void named_once(Run& run) {
  static int executions;
  sync::Atomic<int> word{0};
  if (++executions % 2 == 1) sync::name_object(word, "stale");
  run.task("only", [&] { word.store(1); });
  run.go();
  MUST(executions % 2 == 1);
}

TEST(Names, AreForgotten) {
  Report report =
      explore({.name = "named_once", .body = named_once}, {.kind = Search::Kind::kReplay, .replay = "-"});
  ASSERT_TRUE(report.failed);
  EXPECT_EQ(report.trace.find("stale"), std::string::npos) << report.trace;
}

void deadlock(Run& run) {
  sync::Event event;
  sync::Mutex mutex;
  sync::name_object(event, "gate changed");
  sync::name_object(mutex, "layout");
  run.task("sleeper", [&] {
    sync::MutexLock lock(mutex);
    event.wait(event.ticket());
  });
  run.task("other", [&] { sync::MutexLock lock(mutex); });
  run.go();
}

TEST(Names, AreInADeadlock) {
  Report report = depth_first(deadlock, 0);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("sleeper sleeps, gate changed, at "), std::string::npos) << report.failure;
  EXPECT_NE(report.failure.find("other waits for a lock, layout, at trace_test.cc:"), std::string::npos)
      << report.failure;
}

TEST(Cycles, OfSequences) {
  struct Case {
    std::vector<std::uint64_t> elements;
    std::size_t begin, length, times;
  };
  for (const Case& one :
       std::vector<Case>{{{}, 0, 0, 0},
                         {{1}, 0, 0, 0},
                         {{1, 2, 3}, 0, 0, 0},
                         {{7, 1, 2, 1, 2, 1, 2}, 1, 2, 3},
                         {{7, 8, 1, 1, 1}, 2, 1, 3},
                         {{9, 1, 2, 2, 1, 2, 2, 1, 2, 2}, 1, 3, 3},  // not the two at the end
                         {{1, 2, 3, 1, 2, 3, 1}, 1, 3, 2}}) {        // ends within one
    Cycle cycle = find_cycle(one.elements);
    EXPECT_EQ(cycle.length, one.length);
    EXPECT_EQ(cycle.times, one.times);
    EXPECT_EQ(cycle.begin, one.begin);
  }
}

// Waits for a word that nobody changes, and tells what it has seen in another.
void spins(Run& run) {
  sync::Atomic<std::uint32_t> word{0}, seen{0};
  sync::name_object(word, "word");
  sync::name_object(seen, "seen");
  run.task("first", [&] { seen.store(100); });
  run.task("spinner", [&] {
    while (word.load() == 0) seen.fetch_add(1);
  });
  run.go();
}

TEST(Cycles, AreShownOnce) {
  Report report = depth_first(spins, 0);
  ASSERT_TRUE(report.failed);
  EXPECT_NE(report.failure.find("livelock"), std::string::npos) << report.failure;
  auto head = lines_with(report.trace, "times the same 2 steps");
  ASSERT_EQ(head.size(), 1u) << report.trace;
  EXPECT_GT(std::atoi(head[0].c_str()), 9990) << head[0];
  std::string circle = report.trace.substr(report.trace.find(head[0]));
  EXPECT_EQ(lines_with(circle, "load ").size(), 1u) << circle;
  EXPECT_EQ(lines_with(circle, "update ").size(), 1u) << circle;
  EXPECT_EQ(lines_with(report.trace, "64 -> ").size() + lines_with(report.trace, "0 -> 64").size(), 2u)
      << "what came before is shown, too\n"
      << report.trace;
}

void polls(Run& run) {
  bool ready = false;
  run.task("poller", [&] {
    while (!ready) sync::sleep_ns(1000);
  });
  run.go();
}

TEST(Cycles, OfPolling) {
  Report report = depth_first(polls, 0);
  ASSERT_TRUE(report.failed);
  EXPECT_EQ(lines_with(report.trace, "times the same 2 steps").size(), 1u) << report.trace;
}

// Two that spin, in an order that chance decides. One of them is enough, and then it is a circle.
void two_spin(Run& run) {
  sync::Atomic<std::uint32_t> words[2] = {0, 0};
  for (int task = 0; task < 2; ++task) {
    run.task(task == 0 ? "one" : "two", [&words, task] {
      while (words[task].load() == 0) continue;
    });
  }
  run.go();
}

TEST(Cycles, FoundByChance) {
  Report report =
      explore({.name = "two_spin", .body = two_spin}, {.kind = Search::Kind::kRandom, .executions = 1});
  ASSERT_TRUE(report.failed);
  EXPECT_EQ(lines_with(report.trace, "times the same step").size(), 1u) << report.trace;
  EXPECT_LT(report.replay.size(), 20u) << report.replay;
}

void lost_update(Run& run) {
  sync::Atomic<int> word{0};
  for (int task = 0; task < 3; ++task) {
    run.task("adder", [&] {
      for (int i = 0; i < 10; ++i) word.store(word.load() + 1);
    });
  }
  run.go();
  MUST(word.load() == 30);
}

TEST(Failures, SayHowToHaveThemAgain) {
  Scenario scenario{.name = "lost_update", .body = lost_update};
  Search first{.bound = 1, .surprises = 2};
  Report report = explore(scenario, first);
  ASSERT_TRUE(report.failed);
  std::string text = failure_text("./program", scenario, first, "a_mutant", report);
  std::string command =
      "again: ./program --scenario lost_update --mutant a_mutant --replay '" + report.replay + "'\n";
  for (const std::string& part : {std::string("lost_update"), std::string("bound 1"),
                                  std::string("surprises 2"), report.failure, report.trace, command}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  }
  Search second{.kind = Search::Kind::kRandom, .executions = 100, .seed = 77};
  text = failure_text("./program", scenario, second, "", explore(scenario, second));
  EXPECT_NE(text.find("at random, seed 77"), std::string::npos) << text;
  EXPECT_EQ(text.find("mutant"), std::string::npos) << text;
  second.kind = Search::Kind::kPriorities;
  text = failure_text("./program", scenario, second, "", explore(scenario, second));
  EXPECT_NE(text.find("by priorities, depth 5, seed 77"), std::string::npos) << text;
}

// Chance makes some twenty switches; one in the middle of an addition is enough.
TEST(Failures, OfChanceAreShortened) {
  Scenario scenario{.name = "lost_update", .body = lost_update};
  Report report = explore(scenario, {.kind = Search::Kind::kRandom, .executions = 100, .seed = 5});
  ASSERT_TRUE(report.failed);
  EXPECT_LE(std::count(report.replay.begin(), report.replay.end(), ':'), 2) << report.replay;
  Report again = explore(scenario, {.kind = Search::Kind::kReplay, .replay = report.replay});
  EXPECT_EQ(again.failure, report.failure);
}

}  // namespace
}  // namespace coldpress::testing
