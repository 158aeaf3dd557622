#include "zspool/size_classes.h"

#include <gtest/gtest.h>

#include <set>

namespace coldpress::zspool {
namespace {

const SizeClass& class_for(std::size_t bytes) { return kSizeClasses.classes[kSizeClasses.index_for(bytes)]; }

TEST(SizeClasses, EverySizeHasAClassThatItFits) {
  for (std::size_t bytes = 1; bytes <= kPageBytes; ++bytes) {
    ASSERT_LT(kSizeClasses.index_for(bytes), kSizeClasses.count) << bytes;
    ASSERT_GE(class_for(bytes).object_bytes, bytes);
  }
}

TEST(SizeClasses, AreSortedBySizeAndTheSmallestThatFitsIsTaken) {
  for (std::size_t i = 1; i < kSizeClasses.count; ++i) {
    ASSERT_GT(kSizeClasses.classes[i].object_bytes, kSizeClasses.classes[i - 1].object_bytes);
  }
  for (std::size_t bytes = 1; bytes <= kPageBytes; ++bytes) {
    std::size_t index = kSizeClasses.index_for(bytes);
    if (index > 0) {
      ASSERT_LT(kSizeClasses.classes[index - 1].object_bytes, bytes) << bytes;
    }
  }
}

TEST(SizeClasses, ObjectsFitTheirZspage) {
  for (std::size_t i = 0; i < kSizeClasses.count; ++i) {
    const SizeClass& c = kSizeClasses.classes[i];
    ASSERT_GE(c.pages, 1u);
    ASSERT_LE(c.pages, kMaxZspagePages);
    ASSERT_GE(c.objects, 1u);
    ASSERT_LE(std::size_t{c.objects} * c.object_bytes, c.pages * kPageBytes);
    ASSERT_LT(c.pages * kPageBytes - std::size_t{c.objects} * c.object_bytes, c.object_bytes)
        << "another object would fit";
    ASSERT_EQ(c.object_bytes % kObjectStep, 0u);
  }
}

// So that it costs each little: a zspage's descriptor is 20 bytes (model.metadata).
TEST(SizeClasses, ADescriptorIsSharedByManyOrForAPage) {
  for (std::size_t i = 0; i < kSizeClasses.count; ++i) {
    const SizeClass& c = kSizeClasses.classes[i];
    EXPECT_TRUE(c.objects >= kMinObjects || c.objects == 1) << c.object_bytes;
  }
  EXPECT_EQ(class_for(3264).objects, 10u) << "the largest that compressed pages have";
}

TEST(SizeClasses, MergedClassesDifferInShape) {
  // Two neighbours with the same number of objects in the same number of pages would be one class.
  for (std::size_t i = 1; i < kSizeClasses.count; ++i) {
    const SizeClass &a = kSizeClasses.classes[i - 1], &b = kSizeClasses.classes[i];
    EXPECT_FALSE(a.pages == b.pages && a.objects == b.objects) << a.object_bytes << " and " << b.object_bytes;
  }
  EXPECT_LT(kSizeClasses.count, kSizes) << "nothing was merged at all";
}

TEST(SizeClasses, TheEnds) {
  EXPECT_EQ(kSizeClasses.index_for(1), kSizeClasses.index_for(kMinObjectBytes));
  EXPECT_EQ(class_for(1).object_bytes, kMinObjectBytes);
  EXPECT_EQ(class_for(kPageBytes).object_bytes, kPageBytes);
  EXPECT_EQ(class_for(kPageBytes).pages, 1u);
  EXPECT_EQ(class_for(kPageBytes).objects, 1u);
}

TEST(SizeClasses, WasteLittleOfTheirZspages) {
  for (std::size_t i = 0; i < kSizeClasses.count; ++i) {
    const SizeClass& c = kSizeClasses.classes[i];
    if (c.object_bytes > 3264) continue;  // beyond, a zspage holds one object a page
    std::size_t waste = c.pages * kPageBytes - std::size_t{c.objects} * c.object_bytes;
    EXPECT_LE(waste * 8, c.pages * kPageBytes) << "more than an eighth lost at " << c.object_bytes;
  }
}

}  // namespace
}  // namespace coldpress::zspool
