#include "base/size_text.h"

namespace coldpress {
namespace {

bool take_digit(std::string_view& text, unsigned& digit) {
  if (text.empty() || text[0] < '0' || text[0] > '9') return false;
  digit = static_cast<unsigned>(text[0] - '0');
  text.remove_prefix(1);
  return true;
}

std::optional<std::uint64_t> unit_bytes(std::string_view suffix) {
  if (suffix.empty() || suffix == "B") return 1;
  constexpr std::string_view kLetters = "KMGT";
  std::size_t power = kLetters.find(suffix[0] >= 'a' ? static_cast<char>(suffix[0] - 32) : suffix[0]);
  if (power == std::string_view::npos) return std::nullopt;
  suffix.remove_prefix(1);
  if (!suffix.empty() && suffix != "iB") return std::nullopt;
  return std::uint64_t{1} << (10 * (power + 1));
}

}  // namespace

std::optional<std::uint64_t> parse_size(std::string_view text, std::uint64_t whole_bytes) {
  constexpr std::uint64_t kMax = ~std::uint64_t{0} >> 1;
  // Fixed point with six decimals: enough for "1.5G", no floating-point surprises.
  constexpr std::uint64_t kOne = 1000000;
  std::uint64_t whole = 0;
  unsigned digit = 0;
  if (!take_digit(text, digit)) return std::nullopt;
  do {
    if (whole > kMax / 10) return std::nullopt;
    whole = whole * 10 + digit;
  } while (take_digit(text, digit));
  std::uint64_t fraction = 0;
  if (!text.empty() && text[0] == '.') {
    text.remove_prefix(1);
    if (!take_digit(text, digit)) return std::nullopt;
    std::uint64_t weight = kOne / 10;
    do {
      fraction += weight * digit;
      weight /= 10;
    } while (take_digit(text, digit));
  }
  using Wide = unsigned __int128;
  Wide scaled = static_cast<Wide>(whole) * kOne + fraction;
  Wide bytes = 0;
  if (text == "%") {
    if (scaled > Wide{100} * kOne) return std::nullopt;
    bytes = scaled * whole_bytes / kOne / 100;
  } else {
    auto unit = unit_bytes(text);
    if (!unit) return std::nullopt;
    bytes = scaled * *unit / kOne;
  }
  if (bytes > kMax) return std::nullopt;
  return static_cast<std::uint64_t>(bytes);
}

}  // namespace coldpress
