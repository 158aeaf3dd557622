#include "runtime/config.h"

#include <cstring>

#include "base/log.h"
#include "base/size_text.h"

namespace coldpress::runtime {
namespace {

constexpr std::uint64_t kMinSwapBytes = std::uint64_t{4} << 20;
constexpr std::uint64_t kMaxPriority = 32767;

bool parse_number(std::string_view text, std::uint64_t& number) {
  if (text.empty() || text.size() > 19) return false;
  number = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

// Takes one ":"-ended number off the text.
bool take_number(std::string_view& text, std::uint64_t& number) {
  std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || !parse_number(text.substr(0, colon), number)) return false;
  text.remove_prefix(colon + 1);
  return true;
}

// What format_config() wrote behind "swap=", and the ";" after it.
bool read_swap(std::string_view& text, SwapSpec& spec) {
  std::uint64_t kind = 0, priority = 0, path_bytes = 0;
  if (!take_number(text, kind) || !take_number(text, priority) || !take_number(text, spec.bytes) ||
      !take_number(text, path_bytes)) {
    return false;
  }
  if (kind < 1 || kind > 3 || priority > kMaxPriority || path_bytes >= sizeof spec.path ||
      path_bytes >= text.size() || text[path_bytes] != ';') {
    return false;
  }
  spec.kind = static_cast<SwapSpec::Kind>(kind);
  spec.priority = static_cast<int>(priority);
  std::memcpy(spec.path, text.data(), path_bytes);
  text.remove_prefix(path_bytes + 1);
  return true;
}

}  // namespace

Text format_choice(codec::Choice choice) {
  Text text;
  if (choice.kind == codec::Kind::kLz4) return text << "lz4";
  return text << "zstd:" << choice.level;
}

bool format_config(const Config& config, char* out, std::size_t out_bytes) {
  Text text;
  text << "limit=" << config.limit_bytes << ";codec=" << format_choice(config.codec).view()
       << ";path=" << (config.fault_path == FaultPath::kThread ? "thread" : "signal")
       << ";quiet=" << (config.quiet ? 1 : 0) << ";root=" << config.root_pid
       << ";pool=" << config.max_pool_percent << ";check=" << (config.check_accounts ? 1 : 0);
  std::size_t used = 0;
  auto put = [&](std::string_view part) {
    if (used + part.size() + 1 > out_bytes) return false;
    std::memcpy(out + used, part.data(), part.size());
    used += part.size();
    out[used] = 0;
    return true;
  };
  if (!put(text.view())) return false;
  // A path may hold anything, so its length goes before it.
  for (std::size_t i = 0; i < config.swap_count; ++i) {
    const SwapSpec& spec = config.swap[i];
    Text head;
    head << ";swap=" << static_cast<int>(spec.kind) << ":" << spec.priority << ":" << spec.bytes << ":"
         << std::strlen(spec.path) << ":";
    if (!put(head.view()) || !put(spec.path)) return false;
  }
  return put(";stats=") && put(config.stats_path);
}

Text parse_swap(std::string_view text, SwapSpec& spec) {
  spec = {};
  spec.kind = SwapSpec::Kind::kFile;
  std::string_view name = text.substr(0, text.find(','));
  std::string_view options = text.substr(name.size());
  Text problem;
  auto size_of = [&](std::string_view size) {
    auto bytes = parse_size(size, 0);
    if (bytes && *bytes >= kMinSwapBytes) {
      spec.bytes = *bytes;
    } else {
      problem << "--swap " << text << ": " << size << " is not a size of at least " << (kMinSwapBytes >> 20)
              << "M: write it as 4G";
    }
  };
  if (name.starts_with("ram:")) {
    spec.kind = SwapSpec::Kind::kRam;
    size_of(name.substr(4));
    name = name.substr(name.size());
  } else if (name.empty()) {
    problem << "--swap needs a path, ram:SIZE, auto or none";
  }
  while (!options.empty() && problem.view().empty()) {
    options.remove_prefix(1);
    std::string_view option = options.substr(0, options.find(','));
    options.remove_prefix(option.size());
    std::uint64_t number = 0;
    if (option.starts_with("size=") && spec.kind == SwapSpec::Kind::kFile) {
      size_of(option.substr(5));
    } else if (option.starts_with("prio=") && parse_number(option.substr(5), number) &&
               number <= kMaxPriority) {
      spec.priority = static_cast<int>(number);
    } else {
      problem << "--swap " << text << ": " << option
              << " is not size=SIZE or prio=0 to prio=" << kMaxPriority;
    }
  }
  if (name.size() >= sizeof spec.path) {
    problem = Text() << "--swap: the path is too long (" << sizeof spec.path - 1 << " bytes at most)";
  } else {
    std::memcpy(spec.path, name.data(), name.size());
  }
  return problem;
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
    if (key == "swap") {
      if (config.swap_count == kMaxSwap || !read_swap(text, config.swap[config.swap_count++])) return false;
      continue;
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
    } else if (key == "check") {
      if (value != "0" && value != "1") return false;
      config.check_accounts = value == "1";
    } else if (key == "pool") {
      if (!parse_number(value, number) || number > 100) return false;
      config.max_pool_percent = static_cast<std::uint32_t>(number);
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
