#include "runtime/config.h"

#include <cstring>

#include "base/log.h"

namespace coldpress::runtime {
namespace {

bool parse_number(std::string_view text, std::uint64_t& number) {
  if (text.empty() || text.size() > 19) return false;
  number = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

}  // namespace

bool format_config(const Config& config, char* out, std::size_t out_bytes) {
  Text text;
  text << "limit=" << config.limit_bytes
       << ";codec=" << (config.codec.kind == codec::Kind::kLz4 ? "lz4" : "zstd:");
  if (config.codec.kind == codec::Kind::kZstd) text << config.codec.level;
  text << ";path=" << (config.fault_path == FaultPath::kThread ? "thread" : "signal")
       << ";quiet=" << (config.quiet ? 1 : 0) << ";root=" << config.root_pid << ";stats=";
  std::string_view head = text.view();
  std::size_t path_bytes = std::strlen(config.stats_path);
  if (head.size() + path_bytes + 1 > out_bytes) return false;
  std::memcpy(out, head.data(), head.size());
  std::memcpy(out + head.size(), config.stats_path, path_bytes + 1);
  return true;
}

bool parse_config(std::string_view text, Config& config) {
  config = {};
  bool has_limit = false;
  while (!text.empty()) {
    std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) return false;
    std::string_view key = text.substr(0, equals);
    text.remove_prefix(equals + 1);
    if (key == "stats") {  // last, because a path may hold anything
      if (text.size() >= sizeof config.stats_path) return false;
      std::memcpy(config.stats_path, text.data(), text.size());
      break;
    }
    std::size_t end = text.find(';');
    std::string_view value = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    std::uint64_t number = 0;
    if (key == "limit") {
      has_limit = parse_number(value, config.limit_bytes) && config.limit_bytes >= kMinLimitBytes;
    } else if (key == "codec") {
      auto choice = codec::parse_choice(value);
      if (!choice) return false;
      config.codec = *choice;
    } else if (key == "path") {
      if (value != "thread" && value != "signal") return false;
      config.fault_path = value == "thread" ? FaultPath::kThread : FaultPath::kSignal;
    } else if (key == "quiet") {
      if (value != "0" && value != "1") return false;
      config.quiet = value == "1";
    } else if (key == "root") {
      if (!parse_number(value, number) || number > 0x7fffffff) return false;
      config.root_pid = static_cast<long>(number);
    } else {
      return false;
    }
  }
  return has_limit;
}

}  // namespace coldpress::runtime
