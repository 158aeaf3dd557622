#include "base/memory_source.h"

#include <gtest/gtest.h>

#include "support/heap_memory.h"

namespace coldpress {
namespace {

using testing::HeapMemory;

TEST(ReservedArray, ElementsStartAsZeroAndNeverMove) {
  HeapMemory memory;
  ReservedArray<std::uint64_t> array;
  ASSERT_TRUE(array.init(memory, 1 << 20));
  ASSERT_TRUE(array.grow_to(10));
  std::uint64_t* first = &array[0];
  array[9] = 99;
  ASSERT_TRUE(array.grow_to(1 << 20));
  EXPECT_EQ(&array[0], first);
  EXPECT_EQ(array[9], 99u);
  EXPECT_EQ(array[(1 << 20) - 1], 0u);
  array[(1 << 20) - 1] = 1;
}

TEST(ReservedArray, RefusesMoreThanItsCapacity) {
  HeapMemory memory;
  ReservedArray<std::uint32_t> array;
  ASSERT_TRUE(array.init(memory, 1000));
  EXPECT_EQ(array.capacity(), 1000u);
  EXPECT_FALSE(array.grow_to(1001));
  ASSERT_TRUE(array.grow_to(1000));
  array[999] = 5;
  EXPECT_TRUE(array.grow_to(1)) << "growing to less is no failure";
  EXPECT_EQ(array[999], 5u);
}

TEST(ReservedArray, ChangesNothingWhenMemoryHasRunOut) {
  HeapMemory memory;
  ReservedArray<std::byte> array;
  ASSERT_TRUE(array.init(memory, 64 << 20));
  ASSERT_TRUE(array.grow_to(1));
  array[0] = std::byte{7};
  std::size_t committed = memory.committed();
  memory.set_commit_limit(committed);
  EXPECT_FALSE(array.grow_to(32 << 20));
  EXPECT_EQ(memory.committed(), committed);
  EXPECT_EQ(array[0], std::byte{7});
  memory.set_commit_limit(SIZE_MAX);
  EXPECT_TRUE(array.grow_to(32 << 20));
  EXPECT_EQ(array[0], std::byte{7});
}

TEST(ReservedArray, SaysWhenThereIsNoAddressSpace) {
  HeapMemory memory;
  ReservedArray<std::byte> array;
  EXPECT_FALSE(array.init(memory, std::size_t{1} << 60));
}

}  // namespace
}  // namespace coldpress
