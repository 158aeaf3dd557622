#include "vm/load_marks.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>

namespace coldpress::vm {
namespace {

using Fate = LoadMarks::Fate;

PageWord entry(std::uint32_t slot) { return PageWord::entry({{slot}, 7}, 3, 100); }

TEST(LoadMarks, KeepsTheEntryUntilItIsTakenOff) {
  auto marks = std::make_unique<LoadMarks>();
  std::uint32_t a = marks->put({10}, entry(1)), b = marks->put({20}, entry(2));
  ASSERT_NE(a, b);
  EXPECT_EQ(marks->entry(a), entry(1));
  EXPECT_EQ(marks->entry(b), entry(2));
  EXPECT_EQ(marks->take_off(a), Fate::kStayed);
  EXPECT_EQ(marks->in_use(), 1u);
  EXPECT_EQ(marks->take_off(b), Fate::kStayed);
  EXPECT_EQ(marks->in_use(), 0u);
}

TEST(LoadMarks, TellsWhatBecameOfThePage) {
  auto marks = std::make_unique<LoadMarks>();
  std::uint32_t a = marks->put({10}, entry(1)), b = marks->put({20}, entry(2));
  marks->give_up(a);
  EXPECT_EQ(marks->page(b), PageIndex{20});
  marks->move(b, {21});
  EXPECT_EQ(marks->page(b), PageIndex{21});
  EXPECT_EQ(marks->take(b), entry(2));
  EXPECT_EQ(marks->take_off(a), Fate::kGivenUp);
  EXPECT_EQ(marks->take_off(b), Fate::kTaken);
  EXPECT_DEATH((void)marks->take_off(b), "") << "it is nobody's";
}

TEST(LoadMarks, AllCanBeInUseAndComeBack) {
  auto marks = std::make_unique<LoadMarks>();
  for (int round = 0; round < 2; ++round) {
    std::set<std::uint32_t> used;
    for (std::uint32_t i = 1; i < LoadMarks::kMarks; ++i)
      EXPECT_TRUE(used.insert(marks->put({i}, entry(i + 1))).second);
    EXPECT_LT(*used.rbegin(), LoadMarks::kMarks);
    EXPECT_EQ(marks->put({10}, entry(1)), LoadMarks::kNone);
    for (std::uint32_t mark : used) EXPECT_EQ(marks->take_off(mark), Fate::kStayed);
  }
}

TEST(LoadMarks, WhoWaitsForAnOldOneDoesNotWait) {
  auto marks = std::make_unique<LoadMarks>();
  std::uint32_t mark = marks->put({10}, entry(1));
  std::uint32_t ticket = marks->ticket(mark);
  EXPECT_EQ(marks->ticket(mark), ticket) << "of one load";
  (void)marks->take_off(mark);
  marks->wait(mark, ticket);
  while (marks->put({20}, entry(2)) != mark) continue;
  EXPECT_NE(marks->ticket(mark), ticket);
  marks->wait(mark, ticket);
}

TEST(LoadMarks, WhoWaitsDoesNotWaitForAPageThatIsGone) {
  auto marks = std::make_unique<LoadMarks>();
  std::uint32_t given_up = marks->put({10}, entry(1)), taken = marks->put({20}, entry(2));
  std::uint32_t first = marks->ticket(given_up), second = marks->ticket(taken);
  marks->give_up(given_up);
  marks->wait(given_up, first);
  (void)marks->take(taken);
  marks->wait(taken, second);
}

TEST(LoadMarks, StandsInThePageWordWithoutHints) {
  for (std::uint32_t mark : {1u, 2u, LoadMarks::kMarks - 1}) {
    PageWord word = PageWord::loading(mark);
    EXPECT_TRUE(word.is_loading() && word.is_out());
    EXPECT_FALSE(word.is_entry() || word.is_zapped() || word.is_poisoned());
    EXPECT_EQ(word.mark(), mark);
    EXPECT_EQ(word.payer(), 0u);
    EXPECT_NE(word.raw(), 0u);
  }
  EXPECT_TRUE(entry(1).is_out());
  EXPECT_FALSE(entry(1).is_loading());
  EXPECT_FALSE(PageWord::zapped().is_out());
}

}  // namespace
}  // namespace coldpress::vm
