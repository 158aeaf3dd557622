// The size classes of the pool, after the kernel's zsmalloc: objects from 32 bytes to a page, in steps of 16;
// for each size the zspage length (1 to 8 pages) that wastes least; sizes whose zspages would hold the same
// number of objects in the same number of pages are one class. Where that would be few objects, the zspage is
// made several times as long: its descriptor is shared by at least kMinObjects.
// Computed once, at compile time. No state, no locks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/units.h"

namespace coldpress::zspool {

inline constexpr std::size_t kMinObjectBytes = 32;
inline constexpr std::size_t kObjectStep = 16;
inline constexpr std::uint32_t kMaxZspagePages = 8;
inline constexpr std::uint32_t kMinObjects = 6;  // in a zspage, unless it is one
inline constexpr std::size_t kSizes = (kPageBytes - kMinObjectBytes) / kObjectStep + 1;

struct SizeClass {
  std::uint16_t object_bytes = 0;
  std::uint8_t pages = 0;     // of a zspage
  std::uint16_t objects = 0;  // in a zspage
};

struct SizeClasses {
  std::array<SizeClass, kSizes> classes{};
  std::array<std::uint8_t, kSizes> class_of_size{};
  std::size_t count = 0;

  // The class for objects of `bytes` (1 to a page).
  constexpr std::size_t index_for(std::size_t bytes) const {
    if (bytes <= kMinObjectBytes) return class_of_size[0];
    return class_of_size[(bytes - kMinObjectBytes + kObjectStep - 1) / kObjectStep];
  }
};

constexpr SizeClass shape_for(std::size_t bytes) {
  SizeClass best{};
  std::size_t best_waste_per_page = kPageBytes * kMaxZspagePages;
  for (std::uint32_t pages = 1; pages <= kMaxZspagePages; ++pages) {
    std::size_t total = pages * kPageBytes;
    std::size_t objects = total / bytes;
    std::size_t waste = (total - objects * bytes) * kMaxZspagePages / pages;
    if (waste < best_waste_per_page) {
      best_waste_per_page = waste;
      best = {static_cast<std::uint16_t>(bytes), static_cast<std::uint8_t>(pages),
              static_cast<std::uint16_t>(objects)};
    }
  }
  if (best.objects > 1) {
    auto times = (kMinObjects + best.objects - 1) / best.objects;
    best.pages = static_cast<std::uint8_t>(best.pages * times);
    best.objects = static_cast<std::uint16_t>(best.objects * times);
  }
  return best;
}

constexpr SizeClasses make_size_classes() {
  SizeClasses result{};
  // From the largest down: a merged class takes the largest of its sizes.
  std::array<SizeClass, kSizes> found{};
  std::array<std::size_t, kSizes> owner{};
  std::size_t count = 0;
  for (std::size_t size = kSizes; size-- > 0;) {
    SizeClass shape = shape_for(kMinObjectBytes + size * kObjectStep);
    if (count == 0 || found[count - 1].pages != shape.pages || found[count - 1].objects != shape.objects) {
      found[count++] = shape;
    }
    owner[size] = count - 1;
  }
  result.count = count;
  for (std::size_t i = 0; i < count; ++i) result.classes[i] = found[count - 1 - i];
  for (std::size_t size = 0; size < kSizes; ++size) {
    result.class_of_size[size] = static_cast<std::uint8_t>(count - 1 - owner[size]);
  }
  return result;
}

inline constexpr SizeClasses kSizeClasses = make_size_classes();

}  // namespace coldpress::zspool
