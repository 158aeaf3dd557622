// parse_size() on any text.
#include "base/size_text.h"
#include "fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using coldpress::parse_size;
  using coldpress::fuzz::require;
  std::string_view text = coldpress::fuzz::text_of(data, size);
  constexpr std::uint64_t kWhole = std::uint64_t{64} << 30;
  auto bytes = parse_size(text, kWhole);
  if (!bytes) return 0;
  require(*bytes >> 63 == 0, "a size fits 63 bits");
  require(text[0] >= '0' && text[0] <= '9', "a size begins with a digit");
  bool percent = text.ends_with("%");
  require(percent || parse_size(text, 0) == bytes, "only percent depends on the whole");
  require(!percent || *bytes <= kWhole + kWhole / 100, "percent is of the whole");
  // A leading zero changes nothing.
  char longer[600] = {'0'};
  if (size + 1 > sizeof longer) return 0;
  for (std::size_t i = 0; i < size; ++i) longer[i + 1] = text[i];
  require(parse_size({longer, size + 1}, kWhole) == bytes, "a leading zero changes nothing");
  return 0;
}
