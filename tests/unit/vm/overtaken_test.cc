#include "vm/overtaken.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::vm {
namespace {

using testing::HeapMemory;
using testing::Random;

class OvertakenTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(overtaken_.init(memory_, 1000)); }
  static PageRange range(std::uint64_t begin, std::uint64_t end) { return {{begin}, {end}}; }
  static PageWord word(std::uint32_t slot) { return PageWord::entry({{slot}, 1}, 0, 0); }
  void open(PageRange where, bool may_move) {
    overtaken_.next_move();
    ASSERT_TRUE(overtaken_.add(where, may_move));
  }

  HeapMemory memory_;
  Overtaken overtaken_;
};

TEST_F(OvertakenTest, FindsTheOldestAndWhereItsAnswerEnds) {
  open(range(10, 20), true);
  open(range(15, 30), false);
  Overtaken::Found found = overtaken_.oldest(range(0, 100));
  EXPECT_FALSE(found.any);
  EXPECT_EQ(found.range, range(0, 10));
  found = overtaken_.oldest(range(12, 100));
  EXPECT_TRUE(found.any && found.may_move);
  EXPECT_EQ(found.range, range(12, 20));
  found = overtaken_.oldest(range(20, 100));
  EXPECT_TRUE(found.any && !found.may_move);
  EXPECT_EQ(found.range, range(20, 30));
  // A newer record ends where an older one begins.
  open(range(2, 40), true);
  found = overtaken_.oldest(range(5, 100));
  EXPECT_TRUE(found.any);
  EXPECT_EQ(found.range, range(5, 10));
}

TEST_F(OvertakenTest, HandsOutTheWordsOfOneRecordOnly) {
  open(range(10, 20), true);
  ASSERT_TRUE(overtaken_.keep({12}, word(1)));
  std::uint32_t first = overtaken_.oldest(range(12, 13)).number;
  open(range(10, 20), true);
  ASSERT_TRUE(overtaken_.keep({12}, word(2)) && overtaken_.keep({15}, word(3)));
  std::vector<std::uint32_t> slots;
  auto receive = [&](PageIndex, PageWord taken) { slots.push_back(taken.entry().slot.value); };
  overtaken_.take_words(first, range(0, 100), receive);
  EXPECT_EQ(slots, std::vector<std::uint32_t>{1});
  overtaken_.take_words(first, range(0, 100), receive);
  EXPECT_EQ(slots.size(), 1u);
  overtaken_.clear(receive);
  EXPECT_EQ(slots, (std::vector<std::uint32_t>{1, 2, 3}));
  EXPECT_TRUE(overtaken_.empty());
}

TEST_F(OvertakenTest, RemembersWhatHadArrived) {
  open(range(10, 20), true);
  std::uint32_t first = overtaken_.oldest(range(10, 11)).number;
  ASSERT_TRUE(overtaken_.add_arrival(range(50, 60)));
  overtaken_.next_move();
  ASSERT_TRUE(overtaken_.add_arrival(range(70, 80)));
  EXPECT_TRUE(overtaken_.arrived_then(first, {50}));
  EXPECT_FALSE(overtaken_.arrived_then(first, {60}));
  EXPECT_FALSE(overtaken_.arrived_then(first, {70}));
}

// Against one list of records for each page.
TEST_F(OvertakenTest, BehavesAsAListForEachPage) {
  constexpr std::uint64_t kPages = 64;
  struct Record {
    std::uint32_t number;
    bool may_move;
  };
  Random random(7);
  std::vector<Record> lists[kPages];
  std::uint32_t number = 0;
  for (int step = 0; step < 4000; ++step) {
    std::uint64_t begin = random.below(kPages), end = begin + 1 + random.below(kPages - begin);
    Overtaken::Found found = overtaken_.oldest(range(begin, end));
    // The answer must hold for all of its range.
    for (std::uint64_t page = begin; page < found.range.end.value; ++page) {
      ASSERT_EQ(found.any, !lists[page].empty()) << "page " << page << " in step " << step;
      if (!found.any) continue;
      ASSERT_EQ(found.number, lists[page].front().number);
      ASSERT_EQ(found.may_move, lists[page].front().may_move);
    }
    if (random.one_in(3)) {
      bool may_move = random.one_in(2);
      open(range(begin, end), may_move);
      ++number;
      for (std::uint64_t page = begin; page < end; ++page) lists[page].push_back({number, may_move});
    } else if (found.any) {
      bool moves = random.one_in(2);
      if (moves) {
        overtaken_.has_moved(found.number, found.range);
      } else {
        overtaken_.close(found.number, found.range);
      }
      for (std::uint64_t page = found.range.begin.value; page < found.range.end.value; ++page) {
        if (moves) {
          lists[page].front().may_move = false;
        } else {
          lists[page].erase(lists[page].begin());
        }
      }
    }
  }
}

}  // namespace
}  // namespace coldpress::vm
