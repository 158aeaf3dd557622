// What a managed process is told, and how: one environment variable, so that it passes through exec.
// Thread safety: none; plain values.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/log.h"
#include "codec/codec.h"
#include "memgroup/accounts.h"

namespace coldpress::runtime {

enum class FaultPath { kThread, kSignal };

inline constexpr char kConfigVariable[] = "COLDPRESS_CONFIG";
inline constexpr std::uint64_t kMinLimitBytes = std::uint64_t{8} << 20;

// A swap device that is wanted.
struct SwapSpec {
  enum class Kind : std::uint8_t {
    kFile = 1,  // path: a file or a block device
    kAuto = 2,  // path: a directory, for a file without a name, made when it is needed
    kRam = 3,   // memory outside of the limit
  };
  Kind kind = Kind::kAuto;
  int priority = 0;         // higher ones are written first
  std::uint64_t bytes = 0;  // 0: as large as it is
  char path[200] = {};      // absolute
};
inline constexpr std::size_t kMaxSwap = 4;

struct Config {
  std::uint64_t limit_bytes = 0;
  codec::Choice codec;
  FaultPath fault_path = FaultPath::kThread;
  bool quiet = false;
  bool check_accounts = false;  // at exit: for tests
  SwapSpec swap[kMaxSwap];
  std::size_t swap_count = 0;
  std::uint32_t max_pool_percent = 80;  // of the limit, for the pool, where there is swap
  // Changed at run time only; forked children have them, programs that are executed do not.
  bool writeback = true, enabled = true, shrinker = false;
  std::uint32_t recompress_percent = 20, readahead_pages = 16, accept_threshold_percent = 90;
  std::int64_t high_pages = memgroup::kNoLimit, swap_max_pages = memgroup::kNoLimit;
  std::int64_t zswap_max_bytes = memgroup::kNoLimit;
  long root_pid = 0;          // the process that reports at its exit
  char stats_path[512] = {};  // absolute; empty: no file
};

// As codec::parse_choice() takes it.
Text format_choice(codec::Choice choice);
// Reads a value of --swap: "PATH[,size=SIZE][,prio=N]" or "ram:SIZE[,prio=N]"; "auto" and "none" are the
// caller's.
// "" or what is wrong with it.
Text parse_swap(std::string_view text, SwapSpec& spec);
// Writes the variable's value, ended by a zero byte, into `out`. false: does not fit.
bool format_config(const Config& config, char* out, std::size_t out_bytes);
// false: the text is not one that format_config() writes.
bool parse_config(std::string_view text, Config& config);

}  // namespace coldpress::runtime
