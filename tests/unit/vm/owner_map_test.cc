#include "vm/owner_map.h"

#include <gtest/gtest.h>

#include <vector>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::vm {
namespace {

constexpr std::uint64_t kPages = 64;
PageRange range(std::uint64_t begin, std::uint64_t end) { return {{begin}, {end}}; }

TEST(OwnerMap, NothingBelongsToAnybodyAtFirst) {
  testing::HeapMemory memory;
  OwnerMap map;
  ASSERT_TRUE(map.init(memory, 16));
  EXPECT_TRUE(map.empty());
  EXPECT_EQ(map.at({5}), memgroup::kProcess);
  EXPECT_TRUE(map.at_or_after({0}).range.empty());
}

TEST(OwnerMap, AgainstAnArray) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    testing::Random random(seed);
    testing::HeapMemory memory;
    OwnerMap map;
    ASSERT_TRUE(map.init(memory, 256));
    std::vector<memgroup::AccountId> expected(kPages, memgroup::kProcess);
    for (int step = 0; step < 300; ++step) {
      std::uint64_t begin = random.below(kPages), end = begin + 1 + random.below(kPages - begin);
      auto account = static_cast<memgroup::AccountId>(random.below(4));
      auto from = static_cast<memgroup::AccountId>(1 + random.below(3));
      switch (random.below(8)) {
        case 0:
          map.replace(from, account);
          for (auto& at : expected) at = at == from ? account : at;
          break;
        case 1:
        case 2:
          map.remove(range(begin, end));
          std::fill(expected.begin() + begin, expected.begin() + end, memgroup::kProcess);
          break;
        default:
          ASSERT_TRUE(map.set(range(begin, end), account));
          std::fill(expected.begin() + begin, expected.begin() + end, account);
      }
      PageIndex last{0};
      for (OwnerMap::Part part; !(part = map.at_or_after(last)).range.empty(); last = part.range.end) {
        ASSERT_LE(last.value, part.range.begin.value);
        ASSERT_NE(part.account, memgroup::kProcess);
      }
      for (std::uint64_t page = 0; page < kPages; ++page) {
        ASSERT_EQ(map.at({page}), expected[page]) << "seed " << seed << " step " << step << " page " << page;
      }
    }
  }
}

TEST(OwnerMap, AFullTableForgetsAndSaysSo) {
  testing::HeapMemory memory;
  OwnerMap map;
  ASSERT_TRUE(map.init(memory, 2));
  ASSERT_TRUE(map.set(range(0, 10), 1));
  ASSERT_TRUE(map.set(range(20, 30), 2));
  EXPECT_FALSE(map.set(range(40, 50), 3));
  EXPECT_EQ(map.at({45}), memgroup::kProcess);
  EXPECT_EQ(map.at({5}), 1);
  map.remove(range(3, 4));
  EXPECT_EQ(map.at({2}), 1);
  EXPECT_EQ(map.at({5}), memgroup::kProcess) << "the upper part is the process's";
  EXPECT_EQ(map.at({25}), 2);
}

}  // namespace
}  // namespace coldpress::vm
