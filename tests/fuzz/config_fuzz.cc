// parse_config() on any text: what it takes must survive being written and read again.
#include <cstring>

#include "fuzz/fuzz_input.h"
#include "runtime/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace coldpress::runtime;
  using coldpress::fuzz::require;
  std::string_view text = coldpress::fuzz::text_of(data, size);
  SwapSpec spec;
  if (parse_swap(text, spec).view().empty()) {
    require(std::memchr(spec.path, 0, sizeof spec.path) != nullptr, "the path of a device ends");
  }
  Config config;
  if (!parse_config(text, config)) return 0;
  require(config.limit_bytes >= kMinLimitBytes, "the limit is one to work with");
  require(std::memchr(config.stats_path, 0, sizeof config.stats_path) != nullptr, "the path ends");
  char written[4096];
  require(format_config(config, written, sizeof written), "what was read can be written");
  if (config.root_pid < 0) return 0;  // no process has such a number, and no text
  Config again;
  require(parse_config(written, again), "what was written can be read");
  require(again.limit_bytes == config.limit_bytes && again.quiet == config.quiet &&
              again.root_pid == config.root_pid && again.fault_path == config.fault_path &&
              again.max_pool_percent == config.max_pool_percent && again.swap_count == config.swap_count &&
              again.codec.kind == config.codec.kind && again.codec.level == config.codec.level &&
              std::strcmp(again.stats_path, config.stats_path) == 0,
          "it is the same");
  return 0;
}
