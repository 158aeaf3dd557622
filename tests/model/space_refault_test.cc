// What a load tells reclaim: how far the captures have come since the page left, and what follows from that.
#include <gtest/gtest.h>

#include "space_world.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

constexpr std::uint64_t kLimit = 640;
constexpr std::uint64_t kUnit = kLimit / 64 + 1;  // captures in a 64th
constexpr PageIndex kPage = World::kBase;
constexpr PageRange kOthers{World::kBase + 8, World::kBase + 8 + 700};

class RefaultWorld {
 public:
  RefaultWorld() : world_({.seed = 5, .limit_pages = kLimit}) {
    world_.keep_usage(true);
    world_.map_range({kPage, kPage + 1}, true);
    world_.map_range(kOthers, true);
    write(kPage);
    for (PageIndex page = kOthers.begin; page < kOthers.end; page = page + 1) write(page);
  }
  ~RefaultWorld() { world_.close(); }

  // The page leaves, `captures` others do, and it comes back.
  void out_and_back(std::uint64_t captures) {
    world_.allow_steps(1000000);
    calm();
    ASSERT_EQ(space().page_out({kPage, kPage + 1}, world_.worker()), 1u);
    for (PageIndex page = kOthers.end; page > kOthers.begin;) {  // downwards: each by itself
      page = {page.value - 1};
      calm();
      ASSERT_TRUE(world_.check_page(page));
    }
    PageRange leaving{kOthers.begin, kOthers.begin + captures};
    ASSERT_EQ(space().page_out(leaving, world_.worker()), captures);
    std::uint64_t before = stats().workingset_refault.load();
    ASSERT_TRUE(world_.check_page(kPage));
    EXPECT_EQ(stats().workingset_refault.load(), before + 1);
  }
  vm::PageWord word() { return space().pages().get(kPage); }
  // Turns of the hand until the page is out, with nothing else there to take; 0: it stays.
  unsigned turns_until_out() {
    calm();
    space().page_out(kOthers, world_.worker());
    for (unsigned turn = 1; turn < 100; ++turn) {
      capture_next(space());
      if (word().is_out()) return turn;
    }
    return 0;
  }
  World& world() { return world_; }
  vm::Space& space() { return world_.space(); }
  memgroup::Stats& stats() { return world_.stats(); }

 private:
  void calm() { world_.group().set_usage(0); }  // nothing goes but what the test sends away
  void write(PageIndex page) {
    calm();
    ASSERT_TRUE(world_.write_page(page, make_content(ContentKind::kCompressible, page.value)));
  }
  World world_;
};

// 40/64 of the limit is the border (docs/reclaim.md).
TEST(SpaceRefault, WhatComesBackSoonIsAMistakeAndWhatComesLateIsNot) {
  for (auto [sixtyfourths, soon] : {std::pair{1, true}, {20, true}, {39, true}, {42, false}, {60, false}}) {
    RefaultWorld w;
    std::uint64_t before = w.stats().workingset_activate.load();
    w.out_and_back(static_cast<std::uint64_t>(sixtyfourths) * kUnit);
    EXPECT_EQ(w.word().backoff(), soon ? 1u : 0u) << sixtyfourths;
    EXPECT_EQ(w.word().skip(), 1u);
    // Of the others each has come back at once.
    EXPECT_GE(w.stats().workingset_activate.load() - before, soon ? 1u : 0u);
  }
}

TEST(SpaceRefault, EachReturnDoublesTheTurnsAndALateOneTakesOneBack) {
  RefaultWorld w;
  for (unsigned returns = 1; returns <= vm::PageWord::kMaxBackoff + 2; ++returns) {
    w.out_and_back(2 * kUnit);
    unsigned backoff = std::min(returns, vm::PageWord::kMaxBackoff);
    ASSERT_EQ(w.word().backoff(), backoff);
    ASSERT_EQ(w.word().skip(), (1u << backoff) - 1);
  }
  for (unsigned backoff = vm::PageWord::kMaxBackoff; backoff-- > 0;) {
    w.out_and_back(50 * kUnit);
    ASSERT_EQ(w.word().backoff(), backoff);
    ASSERT_EQ(w.word().skip(), 1u);
  }
  w.out_and_back(50 * kUnit);
  EXPECT_EQ(w.word().backoff(), 0u);
}

TEST(SpaceRefault, TheHandPassesOverWhatCameBackOften) {
  unsigned seldom = 0, often = 0;
  {
    RefaultWorld w;
    w.out_and_back(50 * kUnit);
    seldom = w.turns_until_out();
  }
  RefaultWorld w;
  for (int returns = 0; returns < 4; ++returns) w.out_and_back(2 * kUnit);
  ASSERT_EQ(w.word().skip(), 15u);
  often = w.turns_until_out();
  EXPECT_GT(seldom, 0u);
  EXPECT_GE(often, seldom + 10) << "15 turns are passed over, not one";
  EXPECT_LE(often, seldom + 20);
}

}  // namespace
}  // namespace coldpress::testing
