// Memory groups when others reclaim: the owner of a page pays, whoever takes it.
#include <gtest/gtest.h>

#include <algorithm>

#include "space_group_world.h"

namespace coldpress::testing {
namespace {

// Reclaim of the process takes from one group for another's needs: the owner's account has what is stored.
TEST(SpacePayers, WhatOthersReclaimIsTheOwnersStill) {
  GroupWorld w;
  AccountId idle = w.open({}), busy = w.open({});
  w.map(kFirst, idle);
  w.map(kSecond, busy);
  w.write(kFirst);
  w.space().make_old(kFirst);
  w.world().group().set_limit(kPages + 100);
  w.write(kSecond);
  std::uint64_t stored = w.world().stats().stored_pages.load();
  auto of_idle = static_cast<std::uint64_t>(w.accounts()[idle].stored.load());
  auto of_busy = static_cast<std::uint64_t>(w.accounts()[busy].stored.load());
  EXPECT_GT(stored, kPages / 3);
  EXPECT_GE(of_idle, stored * 3 / 4) << "charged to who reclaimed";
  EXPECT_EQ(of_idle + of_busy, stored);
  EXPECT_GE(w.out(kFirst), of_idle);
}

// Victims come from each group in turn, a few at a time, whoever has most of them or was first.
TEST(SpacePayers, WritebackGoesRoundTheGroups) {
  GroupWorld w(1 << 20);
  AccountId ids[] = {w.open({}), w.open({}), w.open({})};
  const PageRange ranges[] = {kFirst, kSecond, kThird};
  for (int i = 0; i < 3; ++i) {
    w.map(ranges[i], ids[i]);
    w.write(ranges[i], ContentKind::kIncompressible);
    w.space().page_out(ranges[i], w.world().worker());
  }
  for (int i = 0; i < 2; ++i) w.space().write_back(vm::Space::WritebackNeed::kLastResort, w.world().worker());
  w.finish_writes();
  std::int64_t least = kPages, most = 0;
  for (AccountId id : ids) {
    std::int64_t gone = w.accounts()[id].swapped.load();
    least = std::min(least, gone);
    most = std::max(most, gone);
  }
  EXPECT_GT(least, 0) << "one was passed over";
  EXPECT_LT(most, static_cast<std::int64_t>(kPages)) << "all of one went: this proves nothing";
  EXPECT_LE(most - least, 32) << "a turn";
}

}  // namespace
}  // namespace coldpress::testing
