// Pages as programs fill them: the kinds of content that compression has to deal with.
// No state; every page follows from its kind and a seed.
#pragma once

#include <array>
#include <cstddef>
#include <cstring>
#include <string_view>

#include "base/units.h"
#include "unit/random.h"

namespace coldpress::testing {

using Page = std::array<std::byte, kPageBytes>;

enum class Content { kZero, kWord, kText, kPointers, kSparse, kRamp, kHalfRandom, kLastByte, kRandom };

inline constexpr Content kAllContents[] = {Content::kZero,       Content::kWord,     Content::kText,
                                           Content::kPointers,   Content::kSparse,   Content::kRamp,
                                           Content::kHalfRandom, Content::kLastByte, Content::kRandom};
// Of these, the ones that are worth storing compressed.
inline constexpr Content kCompressible[] = {Content::kText, Content::kPointers,   Content::kSparse,
                                            Content::kRamp, Content::kHalfRandom, Content::kLastByte};

inline Page make_page(Content content, std::uint64_t seed) {
  constexpr std::string_view kWords[] = {"cold ", "page ", "swap ", "memory ", "slot ", "the ", "of "};
  Random random(seed * 16 + static_cast<std::uint64_t>(content));
  Page page{};
  auto put = [&](std::size_t at, std::uint64_t word) { std::memcpy(&page[at], &word, sizeof word); };
  std::uint64_t base = random.next();
  switch (content) {
    case Content::kZero:
      break;
    case Content::kWord:
      for (std::size_t at = 0; at < kPageBytes; at += 8) put(at, base | 1);
      break;
    case Content::kText:
      for (std::size_t at = 0; at < kPageBytes;) {
        for (char c : kWords[random.below(7)]) {
          if (at < kPageBytes) page[at++] = static_cast<std::byte>(c);
        }
      }
      break;
    case Content::kPointers:
      for (std::size_t at = 0; at < kPageBytes; at += 8) put(at, 0x7f0000000000 + random.below(1 << 16) * 16);
      break;
    case Content::kSparse:
      for (int i = 0; i < 20; ++i) put(random.below(kPageBytes / 8) * 8, random.next());
      break;
    case Content::kRamp:
      for (std::size_t at = 0; at < kPageBytes; at += 8) put(at, base + at);
      break;
    case Content::kHalfRandom:
      for (std::size_t at = 0; at < kPageBytes / 2; at += 8) put(at, random.next());
      break;
    case Content::kLastByte:
      page[kPageBytes - 1] = static_cast<std::byte>(base | 1);
      break;
    case Content::kRandom:
      for (std::size_t at = 0; at < kPageBytes; at += 8) put(at, random.next());
      break;
  }
  return page;
}

}  // namespace coldpress::testing
