// parse_mapping() on any line.
#include "fuzz/fuzz_input.h"
#include "os/linux/process.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using coldpress::fuzz::require;
  std::string_view line = coldpress::fuzz::text_of(data, size);
  coldpress::os::Mapping mapping;
  if (!coldpress::os::parse_mapping(line, mapping)) return 0;
  require(mapping.range.begin <= mapping.range.end, "a range does not end before it begins");
  require(mapping.name.data() >= line.data(), "the name lies in the line");
  require(mapping.name.data() + mapping.name.size() == line.data() + line.size(),
          "the name is the line's end");
  require(mapping.name.empty() || mapping.name[0] != ' ', "the name begins behind the spaces");
  return 0;
}
