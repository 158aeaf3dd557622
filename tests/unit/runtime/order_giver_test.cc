#include "runtime/order_giver.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace coldpress::runtime {
namespace {

const struct : OrderWatch {
} never;
const struct : OrderWatch {
  bool ended() const override { return true; }
} at_once;

// Follows orders as the monitor does, until it is told the last one.
class Follower {
 public:
  explicit Follower(ControlPage& page) : page_(page), thread_([this] { run(); }) {}
  ~Follower() { thread_.join(); }

 private:
  void run() {
    for (bool last = false; !last; std::this_thread::yield()) {
      auto turn = ControlPage::Turn::of(page_.turn.load());
      if (turn.state != ControlPage::kPosted || !page_.pass(turn, turn.in(ControlPage::kRunning))) continue;
      last = page_.order == Order::kReclaim;
      bool good = page_.argument != 13;
      std::string answer = good ? "" : std::string("not ") + page_.text;
      std::memcpy(page_.answer, answer.c_str(), answer.size() + 1);
      page_.good = good ? 1 : 0;
      page_.pass(turn.in(ControlPage::kRunning), turn.in(ControlPage::kDone));
    }
  }

  ControlPage& page_;
  std::thread thread_;
};

class OrderGiverTest : public ::testing::Test {
 protected:
  Given give(Order order, const char* text, std::uint64_t argument, const OrderWatch& watch = never) {
    answer_ = Text();
    return give_order(page_, order, text, argument, 60, watch, answer_);
  }
  ControlPage page_{};
  Text answer_;
};

TEST_F(OrderGiverTest, IsToldWhatBecameOfIt) {
  Follower follower(page_);
  EXPECT_EQ(give(Order::kSet, "limit", 1), Given::kFollowed);
  EXPECT_EQ(answer_.view(), "");
  EXPECT_EQ(give(Order::kSet, "that", 13), Given::kRefused);
  EXPECT_EQ(answer_.view(), "not that");
  EXPECT_EQ(give(Order::kReclaim, "", 1), Given::kFollowed);
  EXPECT_EQ(ControlPage::Turn::of(page_.turn.load()).state, ControlPage::kIdle) << "for the next one";
}

TEST_F(OrderGiverTest, ManyTakeTurns) {
  Follower follower(page_);
  std::vector<std::thread> givers;
  for (int i = 0; i < 4; ++i) {
    givers.emplace_back([&, i] {
      for (int n = 0; n < 5; ++n) {
        bool refused = (i + n) % 2 == 0;
        Text answer;
        std::string text = std::to_string(i) + "." + std::to_string(n);
        Given given = give_order(page_, Order::kSwapOn, text, refused ? 13 : 0, 60, never, answer);
        EXPECT_EQ(given, refused ? Given::kRefused : Given::kFollowed);
        EXPECT_EQ(answer.view(), refused ? "not " + text : "") << "the answer to another's order";
      }
    });
  }
  for (auto& giver : givers) giver.join();
  EXPECT_EQ(give(Order::kReclaim, "", 0), Given::kFollowed);
}

TEST_F(OrderGiverTest, TakesThePlaceOfAToolThatHasDied) {
  constexpr std::uint32_t kNobody = 0x3fffffff;  // above any process id
  page_.turn.store(ControlPage::Turn{ControlPage::kDone, 7, kNobody}.word());
  Follower follower(page_);
  EXPECT_EQ(give(Order::kReclaim, "", 0), Given::kFollowed);
}

// A monitor that is at one order until that is cancelled.
class Busy {
 public:
  explicit Busy(ControlPage& page) : page_(page), thread_([this] { run(); }) {}
  ~Busy() { thread_.join(); }

 private:
  void run() {
    for (;; std::this_thread::yield()) {
      auto turn = ControlPage::Turn::of(page_.turn.load());
      if (turn.state == ControlPage::kPosted) page_.pass(turn, turn.in(ControlPage::kRunning));
      if (turn.state != ControlPage::kCancelled) continue;
      std::strcpy(page_.answer, "interrupted");
      page_.good = 0;
      page_.pass(turn, turn.in(ControlPage::kDone));
      return;
    }
  }

  ControlPage& page_;
  std::thread thread_;
};

TEST_F(OrderGiverTest, StopsWhatIsNotWantedAnyMore) {
  struct : OrderWatch {
    bool cancelled() const override {
      return ControlPage::Turn::of(page->turn.load()).state == ControlPage::kRunning;
    }
    ControlPage* page = nullptr;
  } when_it_runs;
  when_it_runs.page = &page_;
  Busy busy(page_);
  EXPECT_EQ(give(Order::kSwapOff, "ram", 0, when_it_runs), Given::kRefused);
  EXPECT_EQ(answer_.view(), "interrupted");
  EXPECT_EQ(ControlPage::Turn::of(page_.turn.load()).state, ControlPage::kIdle) << "for the next one";
}

TEST_F(OrderGiverTest, CancelsWhatRunsForAToolThatHasDied) {
  constexpr std::uint32_t kNobody = 0x3fffffff;
  page_.turn.store(ControlPage::Turn{ControlPage::kRunning, 7, kNobody}.word());
  Busy busy(page_);
  Follower follower(page_);
  EXPECT_EQ(give(Order::kReclaim, "", 0), Given::kFollowed);
}

TEST_F(OrderGiverTest, RefusesWhatDoesNotFit) {
  std::string text(sizeof page_.text, 'x');
  EXPECT_EQ(give(Order::kSet, text.c_str(), 1), Given::kRefused);
  EXPECT_EQ(answer_.view(), "that is too long");
  EXPECT_EQ(ControlPage::Turn::of(page_.turn.load()).state, ControlPage::kIdle) << "nothing was posted";
}

TEST_F(OrderGiverTest, SeesThatNobodyIsThereAnyMore) {
  EXPECT_EQ(give(Order::kSet, "limit", 1, at_once), Given::kEnded);
}

}  // namespace
}  // namespace coldpress::runtime
