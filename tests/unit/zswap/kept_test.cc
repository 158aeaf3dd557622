// Zswap's kept copies: they serve only what is the same, byte by byte, and nothing of them is lost or counted
// twice.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "support/heap_memory.h"
#include "unit/contents.h"
#include "unit/zswap/owned_worker.h"
#include "zswap/zswap.h"

namespace coldpress::zswap {
namespace {

using testing::Content;
using testing::make_page;
using testing::Page;
using testing::Random;

constexpr swap::Entry kBefore{{7}, 3}, kLater{{8}, 4};
constexpr PageIndex kPage{1000};

class KeptTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_.init(16384, &stats_);
    ASSERT_TRUE(zswap_.init(memory_, group_, 64 << 20, 10000));
  }
  void TearDown() override {
    while (zswap_.drop_kept()) {
    }
    zswap_.validate();
    zswap_.pool().validate();
    EXPECT_EQ(zswap_.pool().stats().objects, stats_.stored_pages.load());
    EXPECT_EQ(zswap_.pool().stats().object_bytes, stats_.stored_bytes.load());
  }
  std::uint32_t stored(const Page& page) {
    std::uint32_t entry = 0;
    EXPECT_EQ(zswap_.store(own_.worker, page.data(), kBefore, true, &entry), StoreResult::kCompressed);
    return entry;
  }
  bool stored_kept(const Page& page, PageIndex at, std::uint32_t* entry) {
    return zswap_.store_kept(own_.worker, page.data(), at, kLater, entry);
  }

  testing::HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  Zswap zswap_;
  OwnedWorker own_;
};

TEST_F(KeptTest, TheSameBytesAreServedByTheCopy) {
  Page page = make_page(Content::kText, 1);
  std::uint32_t entry = stored(page), again = 0;
  ASSERT_TRUE(zswap_.keep(entry, kPage));
  EXPECT_EQ(stats_.stored_pages.load(), 0u);
  EXPECT_EQ(stats_.stored_bytes.load(), 0u);
  EXPECT_EQ(zswap_.kept_copies(), 1u);
  EXPECT_EQ(zswap_.kept_bytes(), zswap_.pool().stats().object_bytes);
  Zswap::Victim victim;
  EXPECT_FALSE(zswap_.next_victim(&victim)) << "nobody writes back what is only kept";
  EXPECT_EQ(zswap_.list(0, {&victim, 1}), 0u);

  ASSERT_TRUE(stored_kept(page, kPage, &again));
  EXPECT_EQ(zswap_.kept_bytes(), 0u);
  EXPECT_EQ(stats_.stored_pages.load(), 1u);
  EXPECT_EQ(stats_.zswpout.load(), 2u);
  EXPECT_EQ(stats_.zswpout_kept.load(), 1u);
  Page back;
  ASSERT_EQ(zswap_.load(own_.worker, again, back.data()), LoadResult::kLoaded);
  EXPECT_EQ(back, page);
  ASSERT_TRUE(zswap_.next_victim(&victim));
  EXPECT_EQ(victim.entry, again);
  EXPECT_EQ(victim.owner, kLater) << "its owner is the new one";
  zswap_.drop(again);
  EXPECT_EQ(zswap_.pool().stats().objects, 0u);
}

TEST_F(KeptTest, OtherBytesAreNotAndTheCopyGoes) {
  Page page = make_page(Content::kText, 1);
  std::uint32_t again = 0;
  for (std::size_t at : {std::size_t{0}, std::size_t{1234}, kPageBytes - 1}) {
    ASSERT_TRUE(zswap_.keep(stored(page), kPage));
    Page changed = page;
    changed[at] ^= std::byte{1};
    EXPECT_FALSE(stored_kept(changed, kPage, &again));
    EXPECT_EQ(zswap_.pool().stats().objects, 0u);
    EXPECT_FALSE(stored_kept(page, kPage, &again)) << "a store attempt leaves no older copy";
  }
}

// What the checksum does not tell, the comparison does: the copy's own bytes are not what was stored.
TEST_F(KeptTest, ADamagedCopyDoesNotServe) {
  Page page = make_page(Content::kText, 1);
  std::uint32_t entry = stored(page), again = 0;
  ASSERT_TRUE(zswap_.keep(entry, kPage));
  std::size_t bytes = zswap_.kept_bytes();
  for (std::size_t i = 0; i < bytes; ++i) zswap_.entry_bytes(entry)[i] ^= std::byte{0x5a};
  EXPECT_FALSE(stored_kept(page, kPage, &again));
  EXPECT_EQ(stats_.zswpout_kept.load(), 0u);
}

TEST_F(KeptTest, AnotherPageHasNoCopy) {
  Page page = make_page(Content::kText, 1);
  ASSERT_TRUE(zswap_.keep(stored(page), kPage));
  std::uint32_t again = 0;
  EXPECT_FALSE(stored_kept(page, kPage + 1, &again));
  EXPECT_EQ(zswap_.kept_copies(), 1u);
  ASSERT_TRUE(stored_kept(page, kPage, &again));
  zswap_.drop(again);
}

TEST_F(KeptTest, RawPagesAndWhatIsBeingWrittenAreNotKept) {
  std::uint32_t raw = stored(make_page(Content::kRandom, 1));
  EXPECT_FALSE(zswap_.keep(raw, kPage));
  zswap_.drop(raw);
  std::uint32_t entry = stored(make_page(Content::kText, 1));
  ASSERT_TRUE(zswap_.begin_writing(entry));
  EXPECT_FALSE(zswap_.keep(entry, kPage));
  zswap_.end_writing(entry);
  EXPECT_TRUE(zswap_.keep(entry, kPage));
}

TEST_F(KeptTest, SwitchedOffNothingIsServed) {
  Page page = make_page(Content::kText, 1);
  ASSERT_TRUE(zswap_.keep(stored(page), kPage));
  zswap_.set_enabled(false);
  std::uint32_t again = 0;
  EXPECT_FALSE(stored_kept(page, kPage, &again));
}

TEST_F(KeptTest, ForgottenByRange) {
  for (std::uint64_t i = 0; i < 300; ++i)
    ASSERT_TRUE(zswap_.keep(stored(make_page(Content::kText, i)), kPage + i));
  zswap_.forget_kept({kPage + 10, kPage + 210});
  EXPECT_EQ(zswap_.kept_copies(), 100u);
  std::uint32_t again = 0;
  EXPECT_FALSE(stored_kept(make_page(Content::kText, 209), kPage + 209, &again));
  ASSERT_TRUE(stored_kept(make_page(Content::kText, 210), kPage + 210, &again));
  zswap_.drop(again);
  zswap_.forget_kept({{0}, {std::uint64_t{1} << 35}});
  EXPECT_EQ(zswap_.kept_copies(), 0u);
  EXPECT_EQ(zswap_.kept_bytes(), 0u);
}

TEST_F(KeptTest, ALowerLimitLeavesRoomForFewer) {
  for (std::uint64_t i = 0; i < 300; ++i)
    ASSERT_TRUE(zswap_.keep(stored(make_page(Content::kText, i)), kPage + i));
  EXPECT_FALSE(zswap_.keeps_too_many());
  group_.set_limit(8 * zswap_.kept_bytes() / kPageBytes / 2);
  EXPECT_TRUE(zswap_.keeps_too_many());
  while (zswap_.keeps_too_many()) ASSERT_TRUE(zswap_.drop_kept());
  EXPECT_GT(zswap_.kept_copies(), 0u);
}

TEST_F(KeptTest, OldOnesGoInTwoTurns) {
  constexpr std::size_t kTurns = 10;
  for (std::uint64_t i = 0; i < 300; ++i)
    ASSERT_TRUE(zswap_.keep(stored(make_page(Content::kText, i)), kPage + i * 7));
  for (std::size_t i = 0; i < kTurns; ++i) zswap_.age_kept(kTurns);
  EXPECT_GT(zswap_.kept_copies(), 200u);
  for (std::size_t i = 0; i < kTurns; ++i) zswap_.age_kept(kTurns);
  EXPECT_EQ(zswap_.kept_copies(), 0u);
}

// Threads that store, keep and come back, over the same pages, while another sweeps.
TEST_F(KeptTest, ManyThreads) {
  sync::Atomic<int> wrong{0}, running{3};
  std::vector<std::thread> threads;
  for (std::uint64_t id = 0; id < 3; ++id) {
    threads.emplace_back([&, id] {
      OwnedWorker own;
      Random random(id);
      for (int i = 0; i < 1500; ++i) {
        PageIndex at = kPage + random.below(8);
        Page page = make_page(Content::kText, at.value + random.below(2) * 100), back;
        std::uint32_t entry = 0;
        if (!zswap_.store_kept(own.worker, page.data(), at, kBefore, &entry) &&
            zswap_.store(own.worker, page.data(), kBefore, false, &entry) != StoreResult::kCompressed)
          wrong.fetch_add(1);
        if (zswap_.load(own.worker, entry, back.data()) != LoadResult::kLoaded || back != page)
          wrong.fetch_add(1);
        if (!zswap_.keep(entry, at)) zswap_.drop(entry);
      }
      running.fetch_sub(1);
    });
  }
  threads.emplace_back([&] {
    for (int turn = 0; running.load() > 0; ++turn) {
      zswap_.age_kept(4);
      if (turn % 16 != 0) continue;
      zswap_.forget_kept({kPage + 3, kPage + 5});
      zswap_.drop_kept();
    }
  });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_GT(stats_.zswpout_kept.load(), 0u);
  EXPECT_EQ(stats_.stored_pages.load(), 0u);
}

}  // namespace
}  // namespace coldpress::zswap
