// Page contents of four kinds, made from a number, so that every page of a test is unlike every other.
// For tests. Pure functions: any thread may call.
#pragma once

#include <array>
#include <cstdint>

#include "base/units.h"
#include "unit/random.h"

namespace coldpress::testing {

inline constexpr std::size_t kPageWords = kPageBytes / sizeof(std::uint64_t);
using PageContent = std::array<std::uint64_t, kPageWords>;

enum class ContentKind { kZero, kSame, kCompressible, kIncompressible };

inline PageContent make_content(ContentKind kind, std::uint64_t number) {
  PageContent page{};
  Random random(number);
  switch (kind) {
    case ContentKind::kZero:
      break;
    case ContentKind::kSame:
      page.fill(number % 200 * 0x0101010101010101u + number % 7);
      break;
    case ContentKind::kCompressible:
      for (std::size_t i = 0; i < kPageWords; ++i) page[i] = i % 8 == 0 ? random.next() : number + i / 16;
      break;
    case ContentKind::kIncompressible:
      for (auto& word : page) word = random.next();
  }
  return page;
}

inline ContentKind random_kind(Random& random) {
  constexpr ContentKind kKinds[] = {ContentKind::kZero,         ContentKind::kSame,
                                    ContentKind::kCompressible, ContentKind::kCompressible,
                                    ContentKind::kCompressible, ContentKind::kIncompressible};
  return kKinds[random.below(6)];
}

}  // namespace coldpress::testing
