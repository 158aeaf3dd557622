// Sizes as people write them: 512M, 1.5GiB, 50%.
// No state: any thread may call.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace coldpress {

// Parses a size in bytes. Suffixes K, M, G, T (also KiB, MiB, GiB, TiB, KB is refused: it means 1000 to
// some and 1024 to others); "NN%" is of `whole_bytes`. Decimal fractions are taken ("1.5G").
// nullopt when the text is not a size, or the size does not fit 63 bits.
std::optional<std::uint64_t> parse_size(std::string_view text, std::uint64_t whole_bytes);

}  // namespace coldpress
