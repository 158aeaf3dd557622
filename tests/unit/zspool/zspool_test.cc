#include "zspool/zspool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <thread>
#include <vector>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::zspool {
namespace {

using testing::HeapMemory;
using testing::Random;

// An object with a content that tells it from all others.
struct Object {
  Handle handle;
  std::size_t bytes = 0;
  std::uint64_t seed = 0;

  void write(ZsPool& pool) const {
    Random random(seed);
    std::byte* data = pool.data(handle);
    for (std::size_t i = 0; i < bytes; ++i) data[i] = static_cast<std::byte>(random.next());
  }
  bool holds(ZsPool& pool) const {
    Random random(seed);
    const std::byte* data = pool.data(handle);
    for (std::size_t i = 0; i < bytes; ++i) {
      if (data[i] != static_cast<std::byte>(random.next())) return false;
    }
    return true;
  }
};

// With the header that the pool puts before it.
const SizeClass& shape_of(std::size_t bytes) {
  return kSizeClasses.classes[kSizeClasses.index_for(bytes + 4)];
}

class ZsPoolTest : public ::testing::Test {
 protected:
  HeapMemory memory_;
  ZsPool pool_;
};

TEST_F(ZsPoolTest, ObjectsOfEverySizeKeepTheirBytes) {
  ASSERT_TRUE(pool_.init(memory_, 64 << 20));
  std::vector<Object> objects;
  std::uint64_t asked = 0;
  for (std::size_t bytes = 1; bytes <= kPageBytes; bytes += bytes < 64 ? 1 : 13) {
    objects.push_back({pool_.allocate(bytes), bytes, bytes});
    ASSERT_TRUE(objects.back().handle);
    objects.back().write(pool_);
    asked += bytes;
  }
  for (const Object& object : objects) ASSERT_TRUE(object.holds(pool_)) << object.bytes;
  EXPECT_EQ(pool_.stats().objects, objects.size());
  EXPECT_EQ(pool_.stats().object_bytes, asked);
  EXPECT_GE(pool_.pages() * kPageBytes, asked);
  pool_.validate();
  for (const Object& object : objects) pool_.free(object.handle, object.bytes);
  pool_.validate();
  EXPECT_EQ(pool_.pages(), 0u);
  EXPECT_EQ(pool_.stats().objects, 0u);
  EXPECT_EQ(pool_.stats().object_bytes, 0u);
}

TEST_F(ZsPoolTest, AgreesWithAMap) {
  ASSERT_TRUE(pool_.init(memory_, 64 << 20));
  std::map<std::uint32_t, Object> model;
  Random random(11);
  std::uint64_t seed = 0;
  for (int step = 0; step < 40000; ++step) {
    // Phases of growth and of drain, so that zspages fill, empty and return.
    bool grow = random.below(100) < (step / 5000 % 2 == 0 ? 65u : 35u);
    if (grow || model.empty()) {
      std::size_t bytes = random.one_in(3) ? random.between(1, kPageBytes) : random.between(200, 1500);
      Object object{pool_.allocate(bytes), bytes, ++seed};
      ASSERT_TRUE(object.handle);
      ASSERT_TRUE(model.emplace(object.handle.value, object).second) << "a handle was given out twice";
      object.write(pool_);
    } else {
      auto at = model.lower_bound(static_cast<std::uint32_t>(random.below(model.rbegin()->first + 1)));
      ASSERT_TRUE(at->second.holds(pool_));
      pool_.free(at->second.handle, at->second.bytes);
      model.erase(at);
    }
    if (step % 2000 == 0) {
      pool_.validate();
      ASSERT_EQ(pool_.stats().objects, model.size());
      for (const auto& [value, object] : model) ASSERT_TRUE(object.holds(pool_));
    }
  }
  for (const auto& [value, object] : model) {
    ASSERT_TRUE(object.holds(pool_));
    pool_.free(object.handle, object.bytes);
  }
  pool_.validate();
  EXPECT_EQ(pool_.pages(), 0u);
}

TEST_F(ZsPoolTest, AZspageWithoutObjectsGivesItsMemoryBackWhenTrimmed) {
  ASSERT_TRUE(pool_.init(memory_, 1 << 20));
  Handle handle = pool_.allocate(3000);
  std::size_t zspage_bytes = pool_.pages() * kPageBytes;
  EXPECT_GT(zspage_bytes, 0u);
  std::memset(pool_.data(handle), 1, 3000);
  pool_.free(handle, 3000);
  EXPECT_EQ(pool_.pages(), 0u);
  EXPECT_EQ(pool_.trim(true) * kPageBytes, zspage_bytes);
  EXPECT_EQ(memory_.discarded(), zspage_bytes) << "its pages went back to the machine";
}

TEST_F(ZsPoolTest, SparseZspagesDrainBecauseDenseOnesFillFirst) {
  ASSERT_TRUE(pool_.init(memory_, 16 << 20));
  constexpr std::size_t kBytes = 1024;
  const SizeClass& shape = shape_of(kBytes);
  std::vector<Handle> first, second;
  for (int i = 0; i < shape.objects; ++i) first.push_back(pool_.allocate(kBytes));
  for (int i = 0; i < shape.objects; ++i) second.push_back(pool_.allocate(kBytes));
  ASSERT_EQ(pool_.pages(), 2u * shape.pages);
  // The first keeps one object, the second misses one: the next one must go to the second.
  for (int i = 1; i < shape.objects; ++i) pool_.free(first[static_cast<std::size_t>(i)], kBytes);
  pool_.free(second.back(), kBytes);
  ASSERT_TRUE(pool_.allocate(kBytes));
  pool_.free(first[0], kBytes);
  EXPECT_EQ(pool_.pages(), shape.pages) << "the sparse zspage was left to drain";
  pool_.validate();
}

TEST_F(ZsPoolTest, SaysWhenItsRoomIsUsedUp) {
  ASSERT_TRUE(pool_.init(memory_, 64 * kPageBytes));
  for (int round = 0; round < 3; ++round) {
    std::vector<Object> objects;
    for (;;) {
      Object object{pool_.allocate(2000), 2000, objects.size()};
      if (!object.handle) break;
      object.write(pool_);
      objects.push_back(object);
      ASSERT_LT(objects.size(), 1000u);
    }
    EXPECT_GE(objects.size(), 64u) << "most of the room was used";
    EXPECT_LE(pool_.pages(), 64u);
    pool_.validate();
    for (const Object& object : objects) {
      ASSERT_TRUE(object.holds(pool_));
      pool_.free(object.handle, object.bytes);
    }
    EXPECT_EQ(pool_.pages(), 0u);
    EXPECT_EQ(pool_.stats().objects, 0u);
  }
}

TEST_F(ZsPoolTest, RunsOutOfMemoryWithoutLosingAHandle) {
  ASSERT_TRUE(pool_.init(memory_, std::uint64_t{1} << 30));
  Object kept{pool_.allocate(500), 500, 1};
  kept.write(pool_);
  memory_.set_commit_limit(memory_.committed());
  std::vector<Handle> more;
  while (Handle handle = pool_.allocate(4096)) more.push_back(handle);
  std::uint64_t objects = pool_.stats().objects;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(pool_.allocate(4096));
  EXPECT_EQ(pool_.stats().objects, objects);
  EXPECT_TRUE(kept.holds(pool_));
  pool_.validate();
  memory_.set_commit_limit(SIZE_MAX);
  EXPECT_TRUE(pool_.allocate(4096)) << "memory is there again";
}

// Where every object lies, and how full the zspages are.
std::vector<std::uint64_t> picture(ZsPool& pool, const std::vector<Object>& objects) {
  std::vector<std::uint64_t> all;
  for (const Object& object : objects)
    all.push_back(reinterpret_cast<std::uint64_t>(pool.data(object.handle)));
  for (std::size_t index = 0; index < ZsPool::class_count(); ++index) {
    ClassStats stats = pool.class_stats(index);
    all.insert(all.end(), std::begin(stats.by_tenth), std::end(stats.by_tenth));
  }
  return all;
}

// Kernel lists, first mail: a list that told of use raced with use.
TEST_F(ZsPoolTest, ReadingAndWritingChangesNoList) {
  ASSERT_TRUE(pool_.init(memory_, 4 << 20));
  std::vector<Object> objects;
  for (std::uint64_t i = 0; i < 500; ++i) {
    objects.push_back({pool_.allocate(100 + i * 5), 100 + i * 5, i});
  }
  auto before = picture(pool_, objects);
  for (const Object& object : objects) {
    Pinned pinned(pool_, object.handle);
    object.write(pool_);
    ASSERT_TRUE(object.holds(pool_));
  }
  EXPECT_EQ(picture(pool_, objects), before);
  pool_.validate();
}

TEST_F(ZsPoolTest, ThreadsKeepTheirObjectsApart) {
  ASSERT_TRUE(pool_.init(memory_, 256 << 20));
  constexpr int kThreads = 4;
  sync::Atomic<int> damaged{0};
  auto work = [&](std::uint64_t id) {
    Random random(id);
    std::vector<Object> objects;
    for (int step = 0; step < 8000; ++step) {
      if (objects.empty() || random.below(100) < 52) {
        std::size_t bytes = random.between(32, 700);
        Object object{pool_.allocate(bytes), bytes, id << 32 | static_cast<std::uint64_t>(step)};
        object.write(pool_);
        objects.push_back(object);
      } else {
        std::swap(objects[random.below(objects.size())], objects.back());
        if (!objects.back().holds(pool_)) damaged.fetch_add(1);
        pool_.free(objects.back().handle, objects.back().bytes);
        objects.pop_back();
      }
    }
    for (const Object& object : objects) {
      if (!object.holds(pool_)) damaged.fetch_add(1);
      pool_.free(object.handle, object.bytes);
    }
  };
  std::vector<std::thread> threads;
  for (std::uint64_t i = 1; i <= kThreads; ++i) threads.emplace_back(work, i);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(damaged.load(), 0);
  pool_.validate();
  EXPECT_EQ(pool_.pages(), 0u);
  EXPECT_EQ(pool_.stats().objects, 0u);
  EXPECT_EQ(pool_.stats().object_bytes, 0u);
  EXPECT_GT(pool_.metadata_pages(), 0u);
}

TEST_F(ZsPoolTest, FreeingUnderAnotherSizeIsCaught) {
  ASSERT_TRUE(pool_.init(memory_, 1 << 20));
  Handle handle = pool_.allocate(100);
  EXPECT_DEATH(pool_.free(handle, 2000), "");
}

}  // namespace
}  // namespace coldpress::zspool
