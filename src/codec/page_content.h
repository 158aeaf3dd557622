// What can be told of a page's content without compressing it.
// Pure functions of the 4096 bytes given: any thread may call. Pages need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace coldpress::codec {

// The 8-byte word that the whole page repeats, if it does.
std::optional<std::uint64_t> same_filled(const std::byte* page);

// Fills a page with one word.
void fill_page(std::byte* page, std::uint64_t word);

// 32-bit checksum of a page's content (XXH3). Detects damage, not an adversary.
std::uint32_t page_checksum(const std::byte* page);

}  // namespace coldpress::codec
