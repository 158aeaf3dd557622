#include "codec/page_content.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "base/units.h"

namespace coldpress::codec {
namespace {
constexpr std::size_t kWords = kPageBytes / sizeof(std::uint64_t);
}

std::optional<std::uint64_t> same_filled(const std::byte* page) {
  std::uint64_t first, word;
  std::memcpy(&first, page, sizeof first);
  // Ends differ in most pages that are not same-filled: the kernel's zswap looks there first too.
  std::memcpy(&word, page + kPageBytes - sizeof word, sizeof word);
  if (word != first) return std::nullopt;
  if (std::memcmp(page, page + sizeof first, kPageBytes - sizeof first) != 0) return std::nullopt;
  return first;
}

void fill_page(std::byte* page, std::uint64_t word) {
  for (std::size_t i = 0; i < kWords; ++i) std::memcpy(page + i * sizeof word, &word, sizeof word);
}

std::uint32_t page_checksum(const std::byte* page) {
  return static_cast<std::uint32_t>(XXH3_64bits(page, kPageBytes));
}

}  // namespace coldpress::codec
