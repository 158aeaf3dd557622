#include "vm/page_word.h"

#include <gtest/gtest.h>

#include "unit/random.h"

namespace coldpress::vm {
namespace {

TEST(PageWord, TheEmptyWordIsNativeWithoutHints) {
  PageWord word;
  EXPECT_EQ(word.raw(), 0u);
  EXPECT_FALSE(word.is_entry());
  EXPECT_FALSE(word.is_zapped());
  EXPECT_FALSE(word.is_poisoned());
  EXPECT_EQ(word.backoff(), 0u);
  EXPECT_EQ(word.skip(), 0u);
}

TEST(PageWord, NativeKeepsItsHints) {
  for (unsigned backoff = 0; backoff <= PageWord::kMaxBackoff; ++backoff) {
    for (unsigned skip = 0; skip <= PageWord::kMaxSkip; ++skip) {
      PageWord word = PageWord::native(backoff, skip);
      ASSERT_FALSE(word.is_entry());
      ASSERT_FALSE(word.is_zapped());
      ASSERT_FALSE(word.is_poisoned());
      ASSERT_EQ(word.backoff(), backoff);
      ASSERT_EQ(word.skip(), skip);
      ASSERT_EQ(PageWord::from_raw(word.raw()), word);
    }
  }
}

TEST(PageWord, AnEntryKeepsEverything) {
  testing::Random random(1);
  for (int i = 0; i < 10000; ++i) {
    swap::Entry entry{{static_cast<std::uint32_t>(random.next())}, static_cast<std::uint16_t>(random.next())};
    auto backoff = static_cast<unsigned>(random.below(PageWord::kMaxBackoff + 1));
    auto shadow = static_cast<std::uint32_t>(random.next());
    PageWord word = PageWord::entry(entry, backoff, shadow);
    ASSERT_TRUE(word.is_entry());
    ASSERT_FALSE(word.is_zapped());
    ASSERT_FALSE(word.is_poisoned());
    ASSERT_EQ(word.entry(), entry);
    ASSERT_EQ(word.backoff(), backoff);
    ASSERT_EQ(word.shadow(), shadow & PageWord::kShadowMask);
    ASSERT_EQ(PageWord::from_raw(word.raw()), word);
  }
}

TEST(PageWord, TheEndsOfAnEntryDoNotRunIntoEachOther) {
  PageWord slots = PageWord::entry({{~0u}, 0}, 0, 0);
  EXPECT_EQ(slots.entry().generation, 0u);
  EXPECT_EQ(slots.shadow(), 0u);
  EXPECT_EQ(slots.backoff(), 0u);
  PageWord generations = PageWord::entry({{0}, 0xffff}, 0, 0);
  EXPECT_EQ(generations.entry().slot.value, 0u);
  EXPECT_EQ(generations.shadow(), 0u);
  PageWord shadows = PageWord::entry({{0}, 0}, 0, ~0u);
  EXPECT_EQ(shadows.entry().generation, 0u);
  EXPECT_EQ(shadows.backoff(), 0u);
}

TEST(PageWord, ZappedAndPoisonedAreKindsOfTheirOwn) {
  EXPECT_TRUE(PageWord::zapped().is_zapped());
  EXPECT_FALSE(PageWord::zapped().is_poisoned());
  EXPECT_FALSE(PageWord::zapped().is_entry());
  EXPECT_TRUE(PageWord::poisoned().is_poisoned());
  EXPECT_FALSE(PageWord::poisoned().is_zapped());
  EXPECT_FALSE(PageWord::poisoned().is_entry());
  EXPECT_NE(PageWord::zapped(), PageWord());
}

TEST(PageWord, EachReturnTooSoonDoublesTheSkip) {
  PageWord word;
  unsigned last = 0;
  for (unsigned i = 1; i <= PageWord::kMaxBackoff; ++i) {
    word = activated(word.backoff());
    EXPECT_EQ(word.backoff(), i);
    EXPECT_EQ(word.skip(), 2 * last + 1);
    last = word.skip();
  }
  EXPECT_LE(last, PageWord::kMaxSkip);
  EXPECT_EQ(activated(word.backoff()), word) << "and then no more";
}

}  // namespace
}  // namespace coldpress::vm
