// What `coldpress set` changes at run time, and tells.
#include <algorithm>
#include <cstring>
#include <optional>

#include "base/size_text.h"
#include "runtime/engine.h"

namespace coldpress::runtime {
namespace {

bool parse_count(std::string_view text, std::uint64_t most, std::uint64_t& number) {
  number = 0;
  if (text.empty() || text.size() > 9) return false;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return number <= most;
}

}  // namespace

void Engine::set(std::string_view text, Text& answer) {
  std::string_view key = text.substr(0, text.find('='));
  std::string_view value = text.substr(std::min(key.size() + 1, text.size()));
  std::uint64_t number = 0;
  if (key == "limit") {
    auto bytes = parse_size(value, 0);
    if (!bytes || *bytes < kMinLimitBytes) {
      answer << "limit=" << value << " is not a size of at least " << (kMinLimitBytes >> 20) << "M";
      return;
    }
    config_.limit_bytes = *bytes / kPageBytes * kPageBytes;
    group_.set_limit(config_.limit_bytes >> kPageShift);
    space_.hope_again();
  } else if (key == "high" || key == "swap.max" || key == "zswap.max") {
    set_mark(key, value, answer);
  } else if (key == "max_pool_percent" && parse_count(value, 100, number)) {
    config_.max_pool_percent = static_cast<std::uint32_t>(number);
    space_.set_pool_share(config_.max_pool_percent, config_.accept_threshold_percent);
  } else if (key == "accept_threshold_percent" && parse_count(value, 100, number)) {
    config_.accept_threshold_percent = static_cast<std::uint32_t>(number);
    space_.set_pool_share(config_.max_pool_percent, config_.accept_threshold_percent);
  } else if (key == "writeback" && parse_count(value, 1, number)) {
    config_.writeback = number == 1;
    space_.set_writeback(config_.writeback);
    space_.hope_again();
  } else if (key == "shrinker" && parse_count(value, 1, number)) {
    config_.shrinker = number == 1;
    space_.set_shrinker(config_.shrinker);
  } else if (key == "enabled" && parse_count(value, 1, number)) {
    config_.enabled = number == 1;
    space_.zswap().set_enabled(config_.enabled);
    space_.hope_again();
  } else if (key == "recompress_percent" && parse_count(value, 100, number)) {
    config_.recompress_percent = static_cast<std::uint32_t>(number);
    space_.set_recompress_share(config_.recompress_percent);
  } else if (key == "readahead" && parse_count(value, vm::Worker::kMaxRun, number) && number > 0) {
    config_.readahead_pages = static_cast<std::uint32_t>(number);
    space_.set_readahead(config_.readahead_pages);
  } else if (key == "codec") {
    auto choice = codec::parse_choice(value);
    if (!choice) {
      answer << "codec=" << value << " is not known: lz4, zstd or zstd:LEVEL (-7 to 19, not 0)";
      return;
    }
    config_.codec = *choice;
    space_.zswap().set_codec(*choice);
  } else {
    answer << text
           << " can not be set: limit=SIZE, high|swap.max|zswap.max=SIZE|max, max_pool_percent=0..100, "
              "accept_threshold_percent=0..100, writeback=0|1, shrinker=0|1, "
              "recompress_percent=0..100, readahead=1..16, enabled=0|1, codec=lz4|zstd[:LEVEL]";
  }
}

void Engine::set_mark(std::string_view key, std::string_view value, Text& answer) {
  auto size = value == "max" ? std::optional<std::uint64_t>(0) : parse_size(value, 0);
  if (!size || *size > static_cast<std::uint64_t>(memgroup::kNoLimit)) {
    answer << key << "=" << value << " is not a size, nor max";
    return;
  }
  auto bytes = value == "max" ? memgroup::kNoLimit : static_cast<std::int64_t>(*size);
  std::int64_t pages = value == "max" ? bytes : bytes >> kPageShift;
  (key == "high"       ? config_.high_pages
   : key == "swap.max" ? config_.swap_max_pages
                       : config_.zswap_max_bytes) = key == "zswap.max" ? bytes : pages;
  apply_settings();
  space_.hope_again();
}

// Also in the child of a fork that starts afresh.
void Engine::apply_settings() {
  space_.set_writeback(config_.writeback);
  space_.zswap().set_enabled(config_.enabled);
  space_.set_shrinker(config_.shrinker);
  space_.set_recompress_share(config_.recompress_percent);
  space_.set_readahead(config_.readahead_pages);
  space_.set_pool_share(config_.max_pool_percent, config_.accept_threshold_percent);
  group_.set_high(config_.high_pages);
  space_.set_swap_max(static_cast<std::uint64_t>(config_.swap_max_pages));
  space_.set_zswap_max(config_.zswap_max_bytes);
  reclaim_again_ns_ = 0;
}

// Each as it can be set.
void Engine::show_settings() {
  auto mark = [](std::int64_t bytes) {
    Text text;
    if (bytes == memgroup::kNoLimit) return text << "max";
    return text << bytes;
  };
  auto bytes_of = [](std::int64_t pages) {
    return pages == memgroup::kNoLimit ? pages : pages << kPageShift;
  };
  Text text;
  text << "limit=" << config_.limit_bytes << "\nhigh=" << mark(bytes_of(config_.high_pages)).view()
       << "\nswap.max=" << mark(bytes_of(config_.swap_max_pages)).view()
       << "\nzswap.max=" << mark(config_.zswap_max_bytes).view()
       << "\nmax_pool_percent=" << config_.max_pool_percent
       << "\naccept_threshold_percent=" << config_.accept_threshold_percent
       << "\nwriteback=" << (config_.writeback ? 1 : 0) << "\nshrinker=" << (config_.shrinker ? 1 : 0)
       << "\nrecompress_percent=" << config_.recompress_percent << "\nreadahead=" << config_.readahead_pages
       << "\nenabled=" << (config_.enabled ? 1 : 0) << "\ncodec=" << format_choice(config_.codec).view()
       << "\n";
  char* out = told(control()).settings;
  static_assert(sizeof(Text) < sizeof Told{}.settings);
  std::memcpy(out, text.view().data(), text.view().size());
  out[text.view().size()] = 0;
}

}  // namespace coldpress::runtime
