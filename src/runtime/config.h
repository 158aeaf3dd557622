// What a managed process is told, and how: one environment variable, so that it passes through exec.
// Thread safety: none; plain values.
#pragma once

#include <cstdint>
#include <string_view>

#include "codec/codec.h"

namespace coldpress::runtime {

enum class FaultPath { kThread, kSignal };

inline constexpr char kConfigVariable[] = "COLDPRESS_CONFIG";
inline constexpr std::uint64_t kMinLimitBytes = std::uint64_t{8} << 20;

struct Config {
  std::uint64_t limit_bytes = 0;
  codec::Choice codec;
  FaultPath fault_path = FaultPath::kThread;
  bool quiet = false;
  long root_pid = 0;          // the process that reports at its exit
  char stats_path[512] = {};  // absolute; empty: no file
};

// Writes the variable's value, ended by a zero byte, into `out`. false: does not fit.
bool format_config(const Config& config, char* out, std::size_t out_bytes);
// false: the text is not one that format_config() writes.
bool parse_config(std::string_view text, Config& config);

}  // namespace coldpress::runtime
