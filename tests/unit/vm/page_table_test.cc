#include "vm/page_table.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <thread>

#include "support/heap_memory.h"
#include "unit/random.h"

namespace coldpress::vm {
namespace {

using testing::HeapMemory;
using testing::Random;

constexpr std::uint64_t kEndPage = std::uint64_t{1} << 36;  // 48 bits of address
constexpr std::uint64_t kLeaf = PageTable::kLeafPages;

// Pages as address spaces have them: clustered, with a few far apart and at the ends.
PageIndex some_page(Random& random) {
  constexpr std::uint64_t kBases[] = {0,           kLeaf - 1,    std::uint64_t{1} << 22, 0x555555554,
                                      0x7f0000000, kEndPage / 2, kEndPage - 4096};
  return {kBases[random.below(7)] + random.below(4096)};
}

TEST(PageTable, StartsWithoutLeaves) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 16));
  EXPECT_EQ(table.find({0}), nullptr);
  EXPECT_EQ(table.find({kEndPage - 1}), nullptr);
  EXPECT_EQ(table.get({12345}), PageWord());
  EXPECT_EQ(table.next_leaf({0}, {kEndPage}), PageIndex{kEndPage});
}

TEST(PageTable, FindsWhatIsOutNextWithinALeaf) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 16));
  PageIndex first{kLeaf * 7 + 100};
  EXPECT_EQ(table.next_out(first, 8), first) << "no leaf";
  auto put = [&](PageIndex page, PageWord word) { table.ensure(page)->store(word.raw()); };
  PageWord out = PageWord::entry({{5}, 1}, 0, 0);
  put(first, PageWord::native(0, 1));
  EXPECT_EQ(table.next_out(first, 8), first) << "nothing is out";
  put(first + 9, out);
  EXPECT_EQ(table.next_out(first, 8), first) << "too far";
  EXPECT_EQ(table.next_out(first + 1, 8), first + 9);
  put(first + 3, PageWord::loading(1));
  EXPECT_EQ(table.next_out(first, 8), first + 3);
  put(first, out);
  EXPECT_EQ(table.next_out(first, 8), first);
  PageIndex last{kLeaf * 8 - 1}, before{kLeaf * 8 - 2};
  put(last + 1, out);
  put(before, PageWord::native(0, 1));
  EXPECT_EQ(table.next_out(before, 8), last + 1) << "in another leaf";
}

TEST(PageTable, AgreesWithAMap) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 4096));
  std::map<std::uint64_t, std::uint64_t> model;
  std::set<std::uint64_t> leaves;
  Random random(5);
  for (int i = 0; i < 20000; ++i) {
    PageIndex page = some_page(random);
    if (random.one_in(2)) {
      PageTable::Word* word = table.ensure(page);
      ASSERT_NE(word, nullptr);
      ASSERT_EQ(word, table.find(page));
      model[page.value] = random.next();
      word->store(model[page.value]);
      leaves.insert(page.value / kLeaf);
    } else {
      auto at = model.find(page.value);
      ASSERT_EQ(table.get(page).raw(), at == model.end() ? 0 : at->second);
      ASSERT_EQ(table.find(page) != nullptr, leaves.contains(page.value / kLeaf));
    }
    if (i % 10 != 0) continue;
    PageIndex from = some_page(random), end = some_page(random);
    if (end < from) std::swap(from, end);
    auto leaf = leaves.lower_bound(from.value / kLeaf);
    PageIndex expected = end;
    if (leaf != leaves.end() && *leaf * kLeaf < end.value) {
      expected.value = *leaf * kLeaf < from.value ? from.value : *leaf * kLeaf;
    }
    ASSERT_EQ(table.next_leaf(from, end), expected) << from.value << " to " << end.value;
  }
  for (auto [page, raw] : model) ASSERT_EQ(table.get({page}).raw(), raw);
}

TEST(PageTable, WalksEveryLeafOnce) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 64));
  std::set<std::uint64_t> leaves{0, 1, 7, 8191, 8192, 8193, 1 << 20, kEndPage / kLeaf - 1}, seen;
  for (std::uint64_t leaf : leaves) ASSERT_NE(table.ensure({leaf * kLeaf + 5}), nullptr);
  PageIndex end{kEndPage};
  for (PageIndex at = table.next_leaf({0}, end); at < end; at = table.next_leaf(at + kLeaf, end)) {
    ASSERT_TRUE(seen.insert(at.value / kLeaf).second);
  }
  EXPECT_EQ(seen, leaves);
}

TEST(PageTable, NeighboursHaveWordsOfTheirOwn) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 4));
  std::set<PageTable::Word*> words;
  for (std::uint64_t page = 0; page < 2 * kLeaf; ++page) words.insert(table.ensure({page}));
  EXPECT_EQ(words.size(), 2 * kLeaf);
  EXPECT_FALSE(words.contains(nullptr));
}

TEST(PageTable, SaysWhenItsLeavesAreUsedUp) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 2));
  ASSERT_NE(table.ensure({0}), nullptr);
  ASSERT_NE(table.ensure({kLeaf}), nullptr);
  EXPECT_EQ(table.ensure({2 * kLeaf}), nullptr);
  EXPECT_EQ(table.find({2 * kLeaf}), nullptr);
  EXPECT_EQ(table.next_leaf({2 * kLeaf}, {kEndPage}), PageIndex{kEndPage});
  EXPECT_NE(table.ensure({1}), nullptr) << "what exists stays";
}

TEST(PageTable, SaysWhenMemoryHasRunOut) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 1000));
  memory.set_commit_limit(memory.committed());
  EXPECT_EQ(table.ensure({77}), nullptr);
  EXPECT_EQ(table.get({77}), PageWord());
  memory.set_commit_limit(SIZE_MAX);
  EXPECT_NE(table.ensure({77}), nullptr);
}

TEST(PageTable, CountsItsPages) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 100));
  std::uint64_t empty = table.metadata_pages();
  ASSERT_NE(table.ensure({0}), nullptr);
  std::uint64_t one = table.metadata_pages();
  ASSERT_NE(table.ensure({kLeaf}), nullptr);
  EXPECT_GT(one, empty);
  EXPECT_EQ(table.metadata_pages(), one + 1) << "a leaf is a page";
}

TEST(PageTable, FindRunsBesideEnsure) {
  HeapMemory memory;
  PageTable table;
  ASSERT_TRUE(table.init(memory, 4096));
  constexpr std::uint64_t kPages = 2000;
  auto page_at = [](std::uint64_t i) { return PageIndex{i * 7919 * kLeaf % (kEndPage / 2)}; };
  sync::Atomic<std::uint64_t> made{0};
  sync::Atomic<int> wrong{0};
  std::thread reader([&] {
    while (made.load() < kPages) {
      std::uint64_t upto = made.load();
      for (std::uint64_t i = 0; i < kPages; i += 13) {
        PageTable::Word* word = table.find(page_at(i));
        if (i < upto && (word == nullptr || word->load() != i + 1)) wrong.fetch_add(1);
        if (i >= upto && word != nullptr && word->load() > i + 1) wrong.fetch_add(1);
      }
    }
  });
  for (std::uint64_t i = 0; i < kPages; ++i) {
    PageTable::Word* word = table.ensure(page_at(i));
    if (word != nullptr) word->store(i + 1);
    made.store(i + 1);
  }
  reader.join();
  EXPECT_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace coldpress::vm
