#include "base/units.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace coldpress {
namespace {

// Mixing units must not compile.
static_assert(!std::is_convertible_v<PageIndex, FrameId>);
static_assert(!std::is_convertible_v<FrameId, SlotIndex>);
static_assert(!std::is_convertible_v<PageIndex, std::uint64_t>);
static_assert(!std::is_assignable_v<SlotIndex&, FrameId>);

TEST(Units, PagesAndAddressesCorrespond) {
  EXPECT_EQ(page_of(0), PageIndex{0});
  EXPECT_EQ(page_of(4095), PageIndex{0});
  EXPECT_EQ(page_of(4096), PageIndex{1});
  EXPECT_EQ((PageIndex{3} + 2).address(), 5u * 4096);
  EXPECT_EQ(PageIndex{9} - PageIndex{4}, 5u);
}

TEST(Units, BytesRoundUpToPages) {
  EXPECT_EQ(bytes_to_pages(0), 0u);
  EXPECT_EQ(bytes_to_pages(1), 1u);
  EXPECT_EQ(bytes_to_pages(4096), 1u);
  EXPECT_EQ(bytes_to_pages(4097), 2u);
}

TEST(Units, RangesAreHalfOpen) {
  PageRange range{{10}, {20}};
  EXPECT_EQ(range.pages(), 10u);
  EXPECT_TRUE(range.contains({10}));
  EXPECT_TRUE(range.contains({19}));
  EXPECT_FALSE(range.contains({20}));
  EXPECT_FALSE(range.contains({9}));
  EXPECT_FALSE(range.empty());
  EXPECT_TRUE((PageRange{{5}, {5}}).empty());
  EXPECT_TRUE((PageRange{{6}, {5}}).empty());
}

TEST(Units, IntersectionOfRanges) {
  PageRange range{{10}, {20}};
  EXPECT_EQ(intersect(range, {{15}, {30}}), (PageRange{{15}, {20}}));
  EXPECT_EQ(intersect({{0}, {12}}, range), (PageRange{{10}, {12}}));
  EXPECT_EQ(intersect(range, {{12}, {13}}), (PageRange{{12}, {13}}));
  EXPECT_TRUE(intersect(range, {{20}, {30}}).empty());
  EXPECT_TRUE(intersect(range, {{0}, {5}}).empty());
}

}  // namespace
}  // namespace coldpress
