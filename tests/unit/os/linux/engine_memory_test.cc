#include "os/linux/engine_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace coldpress::os {
namespace {

constexpr std::size_t kBytes = 64 << 20;

class EngineMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(memory_.init(kBytes)); }
  void TearDown() override { memory_.destroy(); }
  bool inside(const void* start) const {
    return memory_.range().contains(page_of(reinterpret_cast<std::uint64_t>(start)));
  }

  EngineMemory memory_;
};

// Lines of /proc/self/maps that lie in the range.
std::string maps_of(PageRange range) {
  std::ifstream file("/proc/self/maps");
  std::string line, found;
  while (std::getline(file, line)) {
    if (range.contains(page_of(std::stoull(line, nullptr, 16)))) found += line + "\n";
  }
  return found;
}

TEST_F(EngineMemoryTest, PiecesAreDisjointAndInside) {
  EXPECT_EQ(memory_.range().pages(), kBytes / kPageBytes);
  auto* a = static_cast<std::byte*>(memory_.reserve(100));
  auto* b = static_cast<std::byte*>(memory_.reserve(3 * kPageBytes));
  auto* c = static_cast<std::byte*>(memory_.reserve(1));
  ASSERT_TRUE(a && b && c);
  EXPECT_TRUE(inside(a) && inside(b) && inside(c));
  EXPECT_GE(b - a, static_cast<long>(kPageBytes)) << "rounded up to pages";
  EXPECT_GE(c - b, static_cast<long>(3 * kPageBytes));
  EXPECT_NE(a, memory_.first_page()) << "the first page is the fork check's";
}

TEST_F(EngineMemoryTest, CommittedMemoryIsZeroAndDiscardedMemoryToo) {
  auto* piece = static_cast<std::byte*>(memory_.reserve(4 * kPageBytes));
  ASSERT_TRUE(memory_.commit(piece, 4 * kPageBytes));
  for (std::size_t i = 0; i < 4 * kPageBytes; ++i) ASSERT_EQ(piece[i], std::byte{0});
  std::memset(piece, 0x77, 4 * kPageBytes);
  MemoryPiece middle{piece + kPageBytes, 2 * kPageBytes};
  memory_.discard(&middle, 1);
  EXPECT_EQ(piece[kPageBytes - 1], std::byte{0x77});
  EXPECT_EQ(piece[kPageBytes], std::byte{0});
  EXPECT_EQ(piece[3 * kPageBytes - 1], std::byte{0});
  EXPECT_EQ(piece[3 * kPageBytes], std::byte{0x77});
}

TEST_F(EngineMemoryTest, ManyPiecesAreDiscardedAtOnceAndNothingElse) {
  constexpr std::size_t kPieces = 100;
  auto* start = static_cast<std::byte*>(memory_.reserve(3 * kPieces * kPageBytes));
  ASSERT_TRUE(memory_.commit(start, 3 * kPieces * kPageBytes));
  std::memset(start, 0x77, 3 * kPieces * kPageBytes);
  std::vector<MemoryPiece> pieces;
  for (std::size_t i = 0; i < kPieces; ++i)
    pieces.push_back({start + 3 * i * kPageBytes, (1 + i % 2) * kPageBytes});
  memory_.discard(pieces.data(), pieces.size());
  for (std::size_t page = 0; page < 3 * kPieces; ++page) {
    bool gone = page % 3 == 0 || (page % 3 == 1 && page / 3 % 2 == 1);
    EXPECT_EQ(start[page * kPageBytes], gone ? std::byte{0} : std::byte{0x77}) << page;
  }
}

TEST_F(EngineMemoryTest, TheEndPagesAreWritable) {
  std::memset(memory_.first_page(), 1, kPageBytes);
  std::memset(memory_.last_page(), 2, kPageBytes);
  auto first = reinterpret_cast<std::uint64_t>(memory_.first_page());
  auto last = reinterpret_cast<std::uint64_t>(memory_.last_page());
  EXPECT_EQ(page_of(first), memory_.range().begin);
  EXPECT_EQ(page_of(last) + 1, memory_.range().end);
}

TEST_F(EngineMemoryTest, NeverHandsOutTheLastPage) {
  std::size_t handed_out = 0;
  while (void* piece = memory_.reserve(kPageBytes)) {
    ASSERT_NE(piece, memory_.last_page());
    ++handed_out;
  }
  EXPECT_EQ(handed_out, kBytes / kPageBytes - 2);
  EXPECT_EQ(memory_.reserve(1), nullptr);
}

TEST_F(EngineMemoryTest, RefusesMoreThanIsLeft) {
  EXPECT_EQ(memory_.reserve(kBytes), nullptr);
  std::size_t before = memory_.reserved_bytes();
  EXPECT_EQ(memory_.allocate(2 * kBytes, "coldpress-test"), nullptr);
  EXPECT_EQ(memory_.reserved_bytes(), before);
}

TEST_F(EngineMemoryTest, AllocateCommits) {
  std::byte* piece = memory_.allocate(10000, "coldpress-test");
  ASSERT_NE(piece, nullptr);
  std::memset(piece, 5, 10000);
  std::string maps = maps_of(memory_.range());
  // Kernels without CONFIG_ANON_VMA_NAME show no name.
  if (maps.find("[anon:") == std::string::npos) return;
  EXPECT_NE(maps.find("coldpress-test"), std::string::npos);
}

TEST_F(EngineMemoryTest, WhatIsNotCommittedIsNotAccessible) {
  auto* piece = static_cast<volatile std::byte*>(memory_.reserve(kPageBytes));
  EXPECT_DEATH(*piece = std::byte{1}, "");
}

TEST_F(EngineMemoryTest, ResetForgetsWhatWasHandedOutFromAPlaceOn) {
  std::byte* kept = memory_.allocate(2 * kPageBytes, "coldpress-test");
  std::byte* piece = memory_.allocate(8 * kPageBytes, "coldpress-test");
  ASSERT_TRUE(kept != nullptr && piece != nullptr);
  std::memset(kept, 0x22, 2 * kPageBytes);
  std::memset(piece, 0x33, 8 * kPageBytes);
  *static_cast<std::uint64_t*>(memory_.first_page()) = 7;
  *static_cast<std::uint64_t*>(memory_.last_page()) = 8;
  PageRange range = memory_.range();
  memory_.reset(piece - 1);  // rounded up to the page
  EXPECT_EQ(memory_.range(), range) << "same place";
  EXPECT_EQ(*static_cast<std::uint64_t*>(memory_.first_page()), 0u)
      << "the counters of the fork check start anew";
  EXPECT_EQ(*static_cast<std::uint64_t*>(memory_.last_page()), 0u);
  EXPECT_EQ(kept[2 * kPageBytes - 1], std::byte{0x22});
  std::byte* again = memory_.allocate(8 * kPageBytes, "coldpress-test");
  ASSERT_EQ(again, piece);
  for (std::size_t i = 0; i < 8 * kPageBytes; ++i) ASSERT_EQ(again[i], std::byte{0});
}

TEST(EngineMemory, SaysHowMuchAddressSpaceItLacks) {
  EngineMemory memory;
  Status status = memory.init(std::size_t{1} << 55);
  ASSERT_FALSE(status);
  std::string text(status.error().text.view());
  EXPECT_NE(text.find("address space"), std::string::npos) << text;
  EXPECT_NE(text.find("ulimit -v"), std::string::npos) << "says what to do";
}

TEST(EngineMemory, DestroyGivesTheAddressSpaceBack) {
  EngineMemory memory;
  ASSERT_TRUE(memory.init(kBytes));
  PageRange range = memory.range();
  EXPECT_NE(maps_of(range), "");
  memory.destroy();
  EXPECT_EQ(maps_of(range), "");
  memory.destroy();  // and again, harmlessly
}

}  // namespace
}  // namespace coldpress::os
