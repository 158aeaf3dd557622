#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "support/heap_memory.h"
#include "unit/random.h"
#include "zspool/zspool.h"

namespace coldpress::zspool {
namespace {

using testing::HeapMemory;
using testing::Random;

constexpr std::uint32_t kAll = ~std::uint32_t{0};

struct Marked {
  Handle handle;
  std::size_t bytes = 0;
  std::uint64_t mark = 0;

  // First and last bytes, and a middle: enough to tell it from all others.
  void write(std::byte* data) const {
    for (std::size_t i = 0; i < bytes; i += i < 16 || i + 16 > bytes ? 1 : 64) {
      data[i] = static_cast<std::byte>(mark >> i % 8 * 8);
    }
  }
  bool holds(const std::byte* data) const {
    for (std::size_t i = 0; i < bytes; i += i < 16 || i + 16 > bytes ? 1 : 64) {
      if (data[i] != static_cast<std::byte>(mark >> i % 8 * 8)) return false;
    }
    return true;
  }
};

class CompactionTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(pool_.init(memory_, std::uint64_t{512} << 20)); }
  Marked make(std::size_t bytes) {
    Marked object{pool_.allocate(bytes), bytes, ++marks_ * 0x9e3779b97f4a7c15};
    EXPECT_TRUE(object.handle);
    Pinned pinned(pool_, object.handle);
    object.write(pinned.data());
    return object;
  }
  void check(const std::vector<Marked>& objects) {
    for (const Marked& object : objects) {
      Pinned pinned(pool_, object.handle);
      ASSERT_TRUE(object.holds(pinned.data()));
    }
  }

  HeapMemory memory_;
  ZsPool pool_;
  std::uint64_t marks_ = 0;
};

TEST_F(CompactionTest, PacksWhatSparseZspagesHold) {
  std::vector<Marked> objects;
  for (int i = 0; i < 4000; ++i) objects.push_back(make(700));
  std::uint64_t full = pool_.pages();
  std::vector<Marked> kept;
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (i % 10 == 0) {
      kept.push_back(objects[i]);
    } else {
      pool_.free(objects[i].handle, 700);
    }
  }
  EXPECT_EQ(pool_.pages(), full) << "a zspage was left empty: this proves nothing";
  std::uint64_t promised = pool_.compactable_pages();
  EXPECT_EQ(pool_.compact(kAll), promised);
  EXPECT_EQ(pool_.pages(), full - promised);
  EXPECT_LT(pool_.pages(), full / 9);
  EXPECT_EQ(pool_.compact(kAll), 0u) << "nothing is left to do";
  check(kept);
  pool_.validate();
  for (const Marked& object : kept) pool_.free(object.handle, 700);
  EXPECT_EQ(pool_.pages(), 0u);
}

TEST_F(CompactionTest, APinnedObjectStaysAndNobodyWaitsForIt) {
  std::vector<Marked> objects;
  for (int i = 0; i < 1000; ++i) objects.push_back(make(1500));
  Marked used = objects[500];
  std::byte* where = pool_.pin(used.handle);
  for (const Marked& object : objects) {
    if (object.handle != used.handle && object.mark % 8 != 0) pool_.free(object.handle, 1500);
  }
  pool_.compact(kAll);
  EXPECT_EQ(pool_.data(used.handle), where);
  EXPECT_TRUE(used.holds(where));
  pool_.unpin(used.handle);
  pool_.validate();
}

TEST_F(CompactionTest, ABudgetIsKeptAndTheNextCallGoesOn) {
  std::vector<Marked> objects;
  for (std::size_t i = 0; i < 6000; ++i) objects.push_back(make(200 + i % 40 * 60));
  for (std::size_t i = 0; i < objects.size(); ++i) {
    if (i / 40 % 5 != 0) pool_.free(objects[i].handle, objects[i].bytes);
  }
  std::uint64_t goal = pool_.pages() - pool_.compactable_pages();
  int calls = 0;
  while (pool_.compactable_pages() > 0 && calls < 100000) {
    pool_.compact(7);
    ++calls;
  }
  EXPECT_GT(calls, 10);
  EXPECT_LE(pool_.pages(), goal);
  pool_.validate();
}

TEST_F(CompactionTest, StatisticsOfTheClassesAddUp) {
  Random random(3);
  std::vector<Marked> objects;
  for (int i = 0; i < 5000; ++i) objects.push_back(make(random.between(1, kPageBytes)));
  for (std::size_t i = 0; i < objects.size(); i += 3) pool_.free(objects[i].handle, objects[i].bytes);
  std::uint64_t pages = 0, in_use = 0, freeable = 0;
  for (std::size_t index = 0; index < ZsPool::class_count(); ++index) {
    ClassStats stats = pool_.class_stats(index);
    pages += stats.zspages * stats.shape.pages;
    in_use += stats.objects;
    freeable += stats.freeable;
    EXPECT_EQ(stats.objects + stats.room, stats.zspages * stats.shape.objects);
    std::uint64_t listed = 0;
    for (std::uint64_t count : stats.by_tenth) listed += count;
    EXPECT_EQ(listed, stats.zspages);
  }
  EXPECT_EQ(pages, pool_.pages());
  EXPECT_EQ(in_use, pool_.stats().objects);
  EXPECT_EQ(freeable, pool_.compactable_pages());
}

// What lz4 made of 32,737 pages of CPython, redis-server, a C++ compiler and perl (bench/dump_pages): the
// size below which each 64th of them is.
constexpr std::uint16_t kRealSizes[] = {
    31,   228,  229,  231,  260,  450,  569,  650,  709,  758,  801,  834,  859,  872,  889,  917,  945,
    972,  989,  1005, 1030, 1050, 1064, 1073, 1079, 1085, 1090, 1096, 1103, 1114, 1127, 1149, 1179, 1216,
    1253, 1288, 1325, 1360, 1396, 1430, 1464, 1494, 1519, 1539, 1550, 1561, 1576, 1599, 1620, 1641, 1668,
    1697, 1729, 1771, 1811, 1856, 1898, 1939, 1971, 1999, 2021, 2045, 2066, 2108, 3257};

std::size_t real_size(Random& random) {
  std::size_t i = random.below(std::size(kRealSizes) - 1);
  return random.between(kRealSizes[i], kRealSizes[i + 1]);
}

TEST_F(CompactionTest, AMillionStoresAndFreesLeaveLittleWaste) {
  Random random(8);
  std::vector<Marked> objects;
  for (int step = 0; step < 1'000'000; ++step) {
    // Up and down, as programs grow and shrink.
    std::size_t wanted = step / 100'000 % 2 == 0 ? 60'000 : 25'000;
    if (objects.size() < wanted ? !random.one_in(4) : random.one_in(4)) {
      objects.push_back(make(real_size(random)));
    } else if (!objects.empty()) {
      std::swap(objects[random.below(objects.size())], objects.back());
      pool_.free(objects.back().handle, objects.back().bytes);
      objects.pop_back();
    }
  }
  pool_.compact(kAll);
  pool_.trim(true);
  // All that the machine has given: what is kept for new zspages, too.
  double over =
      static_cast<double>(pool_.held_pages() * kPageBytes) / static_cast<double>(pool_.stats().object_bytes);
  EXPECT_LE(over, 1.06) << objects.size() << " objects";
  RecordProperty("over", std::to_string(over));
  check(objects);
  pool_.validate();
}

TEST_F(CompactionTest, GoesOnBesideReadersWritersAndFrees) {
  std::atomic<bool> stop{false};
  std::atomic<int> damaged{0};
  std::thread compactor([&] {
    while (!stop) pool_.compact(64);
  });
  std::vector<std::thread> users;
  for (std::uint64_t id = 1; id <= 3; ++id) {
    users.emplace_back([&, id] {
      Random random(id);
      std::vector<Marked> objects;
      for (int step = 0; step < 60000; ++step) {
        std::uint64_t roll = random.below(10);
        if (objects.size() < 300 && roll < 4) {
          std::size_t bytes = 100 + random.below(8) * 300;
          Marked object{pool_.allocate(bytes), bytes, random.next()};
          Pinned pinned(pool_, object.handle);
          object.write(pinned.data());
          objects.push_back(object);
        } else if (!objects.empty()) {
          Marked& object = objects[random.below(objects.size())];
          {
            Pinned pinned(pool_, object.handle);
            if (!object.holds(pinned.data())) damaged.fetch_add(1);
            if (roll < 6) {
              object.mark = random.next();
              object.write(pinned.data());
            }
          }
          if (roll >= 6) {
            pool_.free(object.handle, object.bytes);
            object = objects.back();
            objects.pop_back();
          }
        }
      }
      for (const Marked& object : objects) pool_.free(object.handle, object.bytes);
    });
  }
  for (auto& user : users) user.join();
  stop = true;
  compactor.join();
  EXPECT_EQ(damaged.load(), 0);
  EXPECT_EQ(pool_.pages(), 0u);
  pool_.validate();
}

TEST_F(CompactionTest, LongRunsAreDividedWhenNoOthersAreLeft) {
  HeapMemory memory;
  ZsPool small;
  ASSERT_TRUE(small.init(memory, 64 * kPageBytes));
  // Fill the room with the longest zspages there are, and give them back.
  std::size_t longest = 0;
  for (std::size_t index = 0; index < kSizeClasses.count; ++index) {
    if (kSizeClasses.classes[index].pages == kMaxZspagePages)
      longest = kSizeClasses.classes[index].object_bytes - 4;
  }
  ASSERT_GT(longest, 0u);
  std::vector<Handle> handles;
  while (Handle handle = small.allocate(longest)) handles.push_back(handle);
  for (Handle handle : handles) small.free(handle, longest);
  EXPECT_EQ(small.pages(), 0u);
  std::size_t whole = 0;
  while (small.allocate(kPageBytes)) ++whole;
  EXPECT_GE(whole, 60u);
  small.validate();
}

}  // namespace
}  // namespace coldpress::zspool
