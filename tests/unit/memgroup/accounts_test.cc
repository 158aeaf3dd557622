#include "memgroup/accounts.h"

#include <gtest/gtest.h>

#include "support/heap_memory.h"

namespace coldpress::memgroup {
namespace {

class AccountsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(accounts_.init(memory_));
    EXPECT_FALSE(accounts_.any());
    parent_ = accounts_.open(kProcess, {});
    child_ = accounts_.open(parent_, {});
    other_ = accounts_.open(kProcess, {});
    ASSERT_NE(other_, kProcess);
    EXPECT_TRUE(accounts_.any());
  }
  testing::HeapMemory memory_;
  Accounts accounts_;
  AccountId parent_ = 0, child_ = 0, other_ = 0;
};

TEST_F(AccountsTest, ChargesGoUpTheTree) {
  accounts_.charge_resident(child_, 10);
  accounts_.charge_stored(child_, 2, 3 * 4096);
  accounts_.charge_swapped(child_, 4);
  accounts_.charge_resident(parent_, 5);
  EXPECT_EQ(accounts_[child_].usage(), 13);
  EXPECT_EQ(accounts_[parent_].usage(), 18);
  EXPECT_EQ(accounts_[parent_].swapped.load(), 4);
  EXPECT_FALSE(accounts_[other_].charged());
  accounts_.charge_resident(child_, -10);
  EXPECT_EQ(accounts_[parent_].usage(), 8);
  EXPECT_EQ(accounts_[parent_].peak.load(), 18);
  accounts_.count(child_, &Account::zswpin, 7);
  EXPECT_EQ(accounts_[parent_].zswpin.load(), 7u);
  EXPECT_EQ(accounts_[other_].zswpin.load(), 0u);
}

TEST_F(AccountsTest, TheProcessIsNotCharged) {
  accounts_.charge_resident(kProcess, 10);
  EXPECT_FALSE(accounts_[parent_].charged());
  EXPECT_EQ(accounts_.at_max(kProcess), kProcess);
}

TEST_F(AccountsTest, TheLimitsOfAllAboveHold) {
  accounts_.set_limits(parent_, {.max = 20, .high = 10, .swap_max = 3, .zswap_max_bytes = 8192});
  accounts_.charge_resident(child_, 10);
  EXPECT_EQ(accounts_.above_high(child_), kProcess);
  accounts_.charge_resident(child_, 1);
  EXPECT_EQ(accounts_.above_high(child_), parent_);
  EXPECT_EQ(accounts_.at_max(child_), kProcess);
  accounts_.charge_resident(child_, 9);
  EXPECT_EQ(accounts_.at_max(child_), parent_);
  EXPECT_FALSE(accounts_.swap_full(child_));
  accounts_.charge_swapped(child_, 3);
  EXPECT_TRUE(accounts_.swap_full(child_));
  EXPECT_FALSE(accounts_.swap_full(other_));
  accounts_.charge_stored(child_, 1, 8191);
  EXPECT_FALSE(accounts_.zswap_full(child_));
  accounts_.charge_stored(child_, 1, 1);
  EXPECT_TRUE(accounts_.zswap_full(child_));
  EXPECT_EQ(accounts_.limits(parent_).zswap_max_bytes, 8192);
}

TEST_F(AccountsTest, AnyZeroAboveForbidsWriteback) {
  EXPECT_TRUE(accounts_.writes_back(child_));
  accounts_.set_limits(parent_, {.writeback = false});
  EXPECT_FALSE(accounts_.writes_back(child_));
  EXPECT_TRUE(accounts_.writes_back(other_));
}

TEST_F(AccountsTest, WhoIsWithinWhom) {
  EXPECT_TRUE(accounts_.within(child_, parent_));
  EXPECT_TRUE(accounts_.within(child_, kProcess));
  EXPECT_TRUE(accounts_.within(child_, child_));
  EXPECT_FALSE(accounts_.within(parent_, child_));
  EXPECT_FALSE(accounts_.within(kProcess, parent_));
  EXPECT_FALSE(accounts_.within(child_, other_));
}

TEST_F(AccountsTest, ANumberIsGivenAgainWhenNothingIsCharged) {
  accounts_.charge_resident(child_, 1);
  accounts_.close(child_);
  accounts_.close(parent_);
  EXPECT_FALSE(accounts_.is_open(child_));
  AccountId fresh = accounts_.open(kProcess, {});
  EXPECT_NE(fresh, child_) << "something is charged to it";
  EXPECT_NE(fresh, parent_) << "what is below it is charged to it, too";
  accounts_.charge_resident(child_, -1);
  EXPECT_EQ(accounts_.open(kProcess, {}), child_) << "the parent's child counts until then";
  EXPECT_EQ(accounts_.open(kProcess, {}), parent_);
  EXPECT_EQ(accounts_[child_].parent, kProcess);
  EXPECT_EQ(accounts_[child_].peak.load(), 0) << "as new";
}

TEST_F(AccountsTest, ThereIsAnEnd) {
  std::size_t more = 0;
  while (accounts_.open(kProcess, {}) != kProcess) ++more;
  EXPECT_EQ(more + 4, kMaxAccounts);
}

TEST_F(AccountsTest, WaitingCountsAllTheWayUp) {
  std::int64_t now = sync::now_ns();
  for (AccountId id : {parent_, child_, other_}) accounts_[id].pressure.update(now - Pressure::kPeriodNs, 0);
  {
    WaitingFor waits(accounts_, child_);
    WaitingFor nobody(accounts_, kProcess);
    sync::sleep_ns(2'000'000);
  }
  for (AccountId id : {parent_, child_, other_}) accounts_[id].pressure.update(sync::now_ns(), 0);
  EXPECT_GE(accounts_[child_].pressure.told().some.total_us, 2000u);
  EXPECT_GE(accounts_[parent_].pressure.told().some.total_us, 2000u);
  EXPECT_EQ(accounts_[other_].pressure.told().some.total_us, 0u);
}

}  // namespace
}  // namespace coldpress::memgroup
