// A failure can be had again: by its text, step for step, with a trace that a reader can follow. And a
// process that dies in an execution has told its choices.
#include <gtest/gtest.h>

#include "base/check.h"
#include "sched/explore/explore.h"
#include "sched/explore/strategies.h"
#include "sync/mutex.h"

namespace coldpress::testing {
namespace {

void lost_update(Run& run) {
  sync::Atomic<int> word{0};
  for (const char* name : {"first", "second"}) {
    run.task(name, [&] { word.store(word.load() + 1); });
  }
  run.go();
  MUST(word.load() == 2);
}

Scenario kLostUpdate() { return {.name = "lost_update", .body = lost_update}; }

TEST(Replay, FailsAgain) {
  Report found = explore(kLostUpdate(), {.bound = 1});
  ASSERT_TRUE(found.failed);
  Report again = explore(kLostUpdate(), {.kind = Search::Kind::kReplay, .replay = found.replay});
  ASSERT_TRUE(again.failed);
  EXPECT_EQ(again.failure, found.failure);
  EXPECT_EQ(again.replay, found.replay);
  EXPECT_EQ(again.executions, 0u) << "the first one failed";
}

TEST(Replay, ShowsTheSteps) {
  Report found = explore(kLostUpdate(), {.bound = 1});
  ASSERT_TRUE(found.failed);
  for (const char* expected : {"first", "second", "load", "store", "0 -> 1", "replay_test.cc:", "!"}) {
    EXPECT_NE(found.trace.find(expected), std::string::npos) << expected << " is not in\n" << found.trace;
  }
}

TEST(Replay, OfNothingIsAFailure) {
  for (const char* text : {"", "1", "1:", "a:b", "1:0", "1:1,", "1:300"}) {
    Report report = explore(kLostUpdate(), {.kind = Search::Kind::kReplay, .replay = text});
    EXPECT_TRUE(report.failed && report.failure.find("no replay text") != std::string::npos) << text;
  }
  Report other = explore(kLostUpdate(), {.kind = Search::Kind::kReplay, .replay = "0:7"});
  EXPECT_TRUE(other.failed && other.failure.find("another program") != std::string::npos) << other.failure;
}

TEST(Replay, TextAndBack) {
  for (const std::vector<std::uint8_t>& choices :
       {std::vector<std::uint8_t>{}, {1}, {0, 0, 3}, {0, 1, 0, 0, 2}}) {
    std::vector<std::uint8_t> back;
    EXPECT_TRUE(parse_choices(choices_text(choices), back));
    EXPECT_EQ(back, choices);
  }
}

void checked(Run& run) {
  sync::Atomic<int> word{0};
  run.task("first", [&] { word.store(1); });
  run.task("second", [&] { COLDPRESS_CHECK(word.load() == 0); });
  run.go();
}

TEST(Replay, ACheckOfTheEngineThatFails) {
  Report found = explore({.name = "checked", .body = checked}, {.bound = 0});
  ASSERT_TRUE(found.failed);
  EXPECT_NE(found.failure.find("word.load() == 0"), std::string::npos) << found.failure;
  EXPECT_NE(found.trace.find("second"), std::string::npos) << found.trace;
}

void wild(Run& run) {
  sync::Atomic<int> word{0};
  run.task("only", [&] {
    word.store(1);
    volatile std::uintptr_t nowhere = 8;
    *reinterpret_cast<volatile int*>(nowhere) = 1;
  });
  run.go();
}

TEST(Replay, ACrash) {
  Report found = explore({.name = "wild", .body = wild}, {.bound = 0});
  ASSERT_TRUE(found.failed);
  EXPECT_NE(found.failure.find("status"), std::string::npos) << found.failure;
  EXPECT_NE(found.trace.find("store"), std::string::npos) << found.trace;
}

void marked(Run& run) {
  run.task("only", [] { sync::mark("here"); });
  run.go();
}

TEST(Replay, MarksAreTold) {
  Report report = explore({.name = "marked", .body = marked}, {.bound = 0});
  EXPECT_EQ(report.marks, std::vector<std::string>{"here"});
}

}  // namespace
}  // namespace coldpress::testing
