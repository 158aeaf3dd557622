#include "zswap/zswap.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <thread>
#include <vector>

#include "codec/page_content.h"
#include "support/heap_memory.h"
#include "unit/contents.h"
#include "unit/zswap/owned_worker.h"

namespace coldpress::zswap {
namespace {

using testing::Content;
using testing::HeapMemory;
using testing::make_page;
using testing::Page;
using testing::Random;

constexpr swap::Entry kOwner{{7}, 3};

class ZswapTest : public ::testing::Test {
 protected:
  void SetUp() override {
    group_.init(16384, &stats_);
    ASSERT_TRUE(zswap_.init(memory_, group_, 64 << 20, 10000));
  }
  StoreResult store(const Page& page, std::uint32_t& payload) {
    return zswap_.store(lz4_.worker, page.data(), kOwner, false, &payload);
  }
  // The page of an entry; a page of 0xee bytes when it is damaged.
  Page load(std::uint32_t entry) {
    Page page;
    if (zswap_.load(lz4_.worker, entry, page.data()) == LoadResult::kDamaged) page.fill(std::byte{0xee});
    return page;
  }

  HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  Zswap zswap_;
  OwnedWorker lz4_;
};

TEST_F(ZswapTest, StoredPagesLoadAgainUntilDropped) {
  std::map<std::uint32_t, Page> stored;
  for (Content content : testing::kCompressible) {
    for (std::uint64_t seed = 0; seed < 5; ++seed) {
      Page page = make_page(content, seed);
      std::uint32_t entry = 0;
      ASSERT_EQ(store(page, entry), StoreResult::kCompressed);
      ASSERT_TRUE(stored.emplace(entry, page).second);
    }
  }
  EXPECT_EQ(stats_.stored_pages.load(), stored.size());
  EXPECT_EQ(stats_.zswpout.load(), stored.size());
  EXPECT_LT(stats_.stored_bytes.load(), stored.size() * kPageBytes);
  for (int round = 0; round < 2; ++round) {
    for (const auto& [entry, page] : stored) ASSERT_EQ(load(entry), page);
  }
  for (const auto& [entry, page] : stored) zswap_.drop(entry);
  EXPECT_EQ(stats_.stored_pages.load(), 0u);
  EXPECT_EQ(stats_.stored_bytes.load(), 0u);
  EXPECT_EQ(zswap_.pool().pages(), 0u);
  group_.uncharge(zswap_.pool().trim(true));
  EXPECT_EQ(group_.usage(), 0) << "everything charged was uncharged";
  zswap_.pool().validate();
}

TEST_F(ZswapTest, ThePoolIsChargedToTheGroup) {
  std::vector<std::uint32_t> entries;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    std::uint32_t entry = 0;
    ASSERT_EQ(store(make_page(Content::kHalfRandom, seed), entry), StoreResult::kCompressed);
    entries.push_back(entry);
  }
  EXPECT_GT(group_.usage(), 0);
  EXPECT_EQ(group_.usage(), static_cast<std::int64_t>(zswap_.pool().pages()));
}

TEST_F(ZswapTest, SameFilledPagesTakeNoMemory) {
  for (std::uint64_t word :
       {std::uint64_t{0}, std::uint64_t{1}, ~std::uint64_t{0}, std::uint64_t{0xabcdef}}) {
    Page page, back;
    codec::fill_page(page.data(), word);
    std::uint32_t pattern = 1000, again = 2000;
    ASSERT_EQ(store(page, pattern), StoreResult::kSame);
    ASSERT_EQ(store(page, again), StoreResult::kSame);
    EXPECT_EQ(pattern, again) << "one pattern, one index";
    EXPECT_EQ(zswap_.is_zero(pattern), word == 0);
    zswap_.load_same(pattern, back.data());
    EXPECT_EQ(back, page);
  }
  EXPECT_EQ(zswap_.pool().pages(), 0u);
  EXPECT_EQ(stats_.swpout_zero.load(), 8u);
  EXPECT_EQ(stats_.same_filled_pages.load(), 8u);
  EXPECT_EQ(stats_.zswpout.load(), 0u);
}

TEST_F(ZswapTest, MorePatternsThanItsTableHoldsAreCompressed) {
  int same = 0, compressed = 0;
  for (std::uint64_t word = 1; word <= 200; ++word) {
    Page page, back;
    codec::fill_page(page.data(), word * 0x0101010101);
    std::uint32_t payload = 0;
    StoreResult result = store(page, payload);
    if (result == StoreResult::kSame) {
      ++same;
      zswap_.load_same(payload, back.data());
    } else {
      ASSERT_EQ(result, StoreResult::kCompressed);
      ++compressed;
      back = load(payload);
    }
    ASSERT_EQ(back, page) << word;
  }
  EXPECT_GT(same, 0);
  EXPECT_GT(compressed, 0);
}

TEST_F(ZswapTest, IncompressiblePagesAreLeftAlone) {
  std::uint32_t payload = 0;
  EXPECT_EQ(store(make_page(Content::kRandom, 1), payload), StoreResult::kIncompressible);
  EXPECT_EQ(stats_.reject_compress_poor.load(), 1u);
  EXPECT_EQ(stats_.stored_pages.load(), 0u);
  EXPECT_EQ(zswap_.pool().stats().objects, 0u);
}

TEST_F(ZswapTest, EveryCodecsEntriesAreReadByEveryWorker) {
  OwnedWorker zstd({codec::Kind::kZstd, 3});
  Page page = make_page(Content::kText, 8);
  std::uint32_t by_lz4 = 0, by_zstd = 0;
  ASSERT_EQ(store(page, by_lz4), StoreResult::kCompressed);
  ASSERT_EQ(zswap_.store(zstd.worker, page.data(), kOwner, false, &by_zstd), StoreResult::kCompressed);
  Page back;
  ASSERT_EQ(zswap_.load(zstd.worker, by_lz4, back.data()), LoadResult::kLoaded);
  EXPECT_EQ(back, page);
  ASSERT_EQ(zswap_.load(lz4_.worker, by_zstd, back.data()), LoadResult::kLoaded);
  EXPECT_EQ(back, page);
}

// One bit in every byte of the object, one after the other: wrong bytes must never come back.
void flip_every_byte(Zswap& zswap, Worker& worker, memgroup::Stats& stats, const Page& page) {
  std::uint32_t entry = 0;
  std::uint64_t bytes_before = stats.stored_bytes.load();
  ASSERT_EQ(zswap.store(worker, page.data(), kOwner, false, &entry), StoreResult::kCompressed);
  std::uint64_t length = stats.stored_bytes.load() - bytes_before;
  std::uint64_t damaged = 0;
  for (std::uint64_t at = 0; at < length; ++at) {
    std::byte bit{static_cast<unsigned char>(1u << (at % 8))};
    zswap.entry_bytes(entry)[at] ^= bit;
    Page back;
    if (zswap.load(worker, entry, back.data()) == LoadResult::kDamaged) {
      ++damaged;
    } else {
      ASSERT_EQ(back, page) << "wrong bytes after damage at " << at;
    }
    zswap.entry_bytes(entry)[at] ^= bit;
  }
  // Some flips change nothing: a match may as well lie a period further back.
  EXPECT_GE(damaged * 5, length * 4);
  Page back;
  ASSERT_EQ(zswap.load(worker, entry, back.data()), LoadResult::kLoaded) << "a failed load changes nothing";
  EXPECT_EQ(back, page);
  zswap.drop(entry);
}

TEST_F(ZswapTest, DamageIsDetected) {
  OwnedWorker zstd({codec::Kind::kZstd, 1});
  for (Content content : testing::kCompressible) {
    flip_every_byte(zswap_, lz4_.worker, stats_, make_page(content, 3));
    flip_every_byte(zswap_, zstd.worker, stats_, make_page(content, 4));
  }
}

TEST_F(ZswapTest, SaysWhenThePoolIsFull) {
  memgroup::Stats stats;
  memgroup::Group group;
  group.init(16384, &stats);
  HeapMemory memory;
  Zswap small;
  ASSERT_TRUE(small.init(memory, group, 64 * kPageBytes, 10000));
  std::map<std::uint32_t, std::uint64_t> stored;
  StoreResult result = StoreResult::kCompressed;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    std::uint32_t entry = 0;
    result = small.store(lz4_.worker, make_page(Content::kHalfRandom, seed).data(), kOwner, false, &entry);
    if (result != StoreResult::kCompressed) break;
    stored.emplace(entry, seed);
  }
  EXPECT_EQ(result, StoreResult::kNoMemory);
  EXPECT_EQ(stats.reject_alloc_fail.load(), 1u);
  EXPECT_EQ(stats.stored_pages.load(), stored.size());
  for (auto [entry, seed] : stored) {
    Page back;
    ASSERT_EQ(small.load(lz4_.worker, entry, back.data()), LoadResult::kLoaded);
    ASSERT_EQ(back, make_page(Content::kHalfRandom, seed));
    small.drop(entry);
  }
  std::uint32_t entry = 0;
  EXPECT_EQ(small.store(lz4_.worker, make_page(Content::kHalfRandom, 1).data(), kOwner, false, &entry),
            StoreResult::kCompressed);
}

TEST_F(ZswapTest, SaysWhenItsTableIsFullAndGivesTheObjectBack) {
  HeapMemory memory;
  Zswap small;
  ASSERT_TRUE(small.init(memory, group_, 64 << 20, 5));
  Page page = make_page(Content::kText, 1);
  std::uint32_t entries[4], more = 0;
  for (auto& entry : entries)
    ASSERT_EQ(small.store(lz4_.worker, page.data(), kOwner, false, &entry), StoreResult::kCompressed);
  EXPECT_EQ(small.store(lz4_.worker, page.data(), kOwner, false, &more), StoreResult::kNoMemory);
  EXPECT_EQ(small.pool().stats().objects, 4u);
  small.drop(entries[2]);
  EXPECT_EQ(small.store(lz4_.worker, page.data(), kOwner, false, &more), StoreResult::kCompressed);
  EXPECT_EQ(more, entries[2]);
}

TEST_F(ZswapTest, WhatDoesNotCompressIsKeptRawWhereItMayGoToADevice) {
  Page page = make_page(Content::kRandom, 1);
  std::uint32_t entry = 0;
  ASSERT_EQ(zswap_.store(lz4_.worker, page.data(), kOwner, true, &entry), StoreResult::kCompressed);
  EXPECT_EQ(zswap_.with_content(entry, [](const swap::Content& content) { return content.length; }),
            kPageBytes);
  EXPECT_EQ(load(entry), page);
  zswap_.entry_bytes(entry)[77] ^= std::byte{1};
  EXPECT_NE(load(entry), page) << "raw bytes are checked too";
}

TEST_F(ZswapTest, DisabledItKeepsPagesRawOrRefusesThem) {
  Page page = make_page(Content::kText, 1);
  std::uint32_t before = 0, entry = 0;
  ASSERT_EQ(store(page, before), StoreResult::kCompressed);
  zswap_.set_enabled(false);
  EXPECT_EQ(store(page, entry), StoreResult::kIncompressible);
  EXPECT_EQ(stats_.reject_compress_poor.load(), 0u) << "nobody tried";
  ASSERT_EQ(zswap_.store(lz4_.worker, page.data(), kOwner, true, &entry), StoreResult::kCompressed);
  EXPECT_EQ(zswap_.with_content(entry, [](const swap::Content& content) { return content.length; }),
            kPageBytes);
  EXPECT_EQ(load(entry), page);
  EXPECT_EQ(load(before), page) << "what was stored before loads";
  zswap_.set_enabled(true);
  EXPECT_EQ(store(page, entry), StoreResult::kCompressed);
  EXPECT_LT(zswap_.with_content(entry, [](const swap::Content& content) { return content.length; }),
            kPageBytes / 2);
}

TEST_F(ZswapTest, VictimsComeOldestFirstAndGoRound) {
  std::vector<std::uint32_t> entries(5);
  for (std::uint32_t i = 0; i < entries.size(); ++i) {
    ASSERT_EQ(zswap_.store(lz4_.worker, make_page(Content::kText, i).data(),
                           swap::Entry{{i + 1}, static_cast<std::uint16_t>(i)}, false, &entries[i]),
              StoreResult::kCompressed);
  }
  Zswap::Victim victim;
  for (int round = 0; round < 3; ++round) {
    for (std::uint32_t i = 0; i < entries.size(); ++i) {
      ASSERT_TRUE(zswap_.next_victim(&victim));
      EXPECT_EQ(victim.entry, entries[i]);
      EXPECT_EQ(victim.owner, (swap::Entry{{i + 1}, static_cast<std::uint16_t>(i)}));
    }
  }
  zswap_.drop(entries[1]);
  zswap_.drop(entries[4]);
  for (std::uint32_t i : {0u, 2u, 3u, 0u}) {
    ASSERT_TRUE(zswap_.next_victim(&victim));
    EXPECT_EQ(victim.entry, entries[i]);
  }
  // A new one has its second chance: the old ones go before it, although it is not the youngest any more.
  std::uint32_t fresh = 0;
  ASSERT_EQ(
      zswap_.store(lz4_.worker, make_page(Content::kText, 9).data(), swap::Entry{{9}, 9}, false, &fresh),
      StoreResult::kCompressed);
  for (std::uint32_t i : {2u, 3u, 0u, 2u}) {
    ASSERT_TRUE(zswap_.next_victim(&victim));
    EXPECT_EQ(victim.entry, entries[i]);
  }
  for (std::uint32_t i : {0u, 2u, 3u}) zswap_.drop(entries[i]);
  zswap_.drop(fresh);
  EXPECT_FALSE(zswap_.next_victim(&victim));
}

TEST_F(ZswapTest, AnEntryIsWrittenOnceAtATime) {
  std::uint32_t entry = 0;
  ASSERT_EQ(store(make_page(Content::kText, 1), entry), StoreResult::kCompressed);
  EXPECT_TRUE(zswap_.begin_writing(entry));
  EXPECT_FALSE(zswap_.begin_writing(entry));
  zswap_.end_writing(entry);
  EXPECT_TRUE(zswap_.begin_writing(entry));
}

TEST_F(ZswapTest, ContentThatWentAwayComesBackAsItWas) {
  Page page = make_page(Content::kText, 4);
  std::uint32_t entry = 0, again = 0;
  ASSERT_EQ(store(page, entry), StoreResult::kCompressed);
  std::vector<std::byte> kept;
  swap::Content content = zswap_.with_content(entry, [&](const swap::Content& in_pool) {
    kept.assign(in_pool.data, in_pool.data + in_pool.length);
    return in_pool;
  });
  content.data = kept.data();
  zswap_.drop(entry);
  Page back;
  ASSERT_EQ(zswap_.unpack(lz4_.worker, content, back.data()), LoadResult::kLoaded);
  EXPECT_EQ(back, page);
  ASSERT_TRUE(zswap_.put(content, kOwner, &again));
  EXPECT_EQ(load(again), page);
  kept[kept.size() / 2] ^= std::byte{1};
  LoadResult damaged = zswap_.unpack(lz4_.worker, content, back.data());
  EXPECT_TRUE(damaged == LoadResult::kDamaged || back == page);
}

TEST_F(ZswapTest, ManyThreadsStoreAndLoad) {
  sync::Atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (std::uint64_t id = 0; id < 4; ++id) {
    threads.emplace_back([&, id] {
      OwnedWorker own(id % 2 == 0 ? codec::Choice{} : codec::Choice{codec::Kind::kZstd, 1});
      Random random(id);
      std::vector<std::pair<std::uint32_t, Page>> mine;
      for (int i = 0; i < 600; ++i) {
        if (mine.size() < 20 || random.one_in(2)) {
          Page page = make_page(testing::kCompressible[random.below(6)], random.next());
          std::uint32_t entry = 0;
          if (zswap_.store(own.worker, page.data(), kOwner, false, &entry) != StoreResult::kCompressed)
            wrong.fetch_add(1);
          mine.emplace_back(entry, page);
        } else {
          std::swap(mine[random.below(mine.size())], mine.back());
          Page back;
          if (zswap_.load(own.worker, mine.back().first, back.data()) != LoadResult::kLoaded ||
              back != mine.back().second) {
            wrong.fetch_add(1);
          }
          zswap_.drop(mine.back().first);
          mine.pop_back();
        }
      }
      for (auto& [entry, page] : mine) zswap_.drop(entry);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0);
  EXPECT_EQ(stats_.stored_pages.load(), 0u);
  EXPECT_EQ(zswap_.pool().pages(), 0u);
  zswap_.pool().validate();
}

}  // namespace
}  // namespace coldpress::zswap
