// The commands of the tool. Each returns the process's exit status: 0 good, 1 the thing asked about is not
// so, 2 bad input or a machine that lacks something (one clear sentence on standard error).
#pragma once

#include <string>
#include <vector>

#include "runtime/config.h"

namespace coldpress::cli {

struct RunOptions {
  std::string limit = "50%";
  std::string codec = "lz4";
  std::string fault_path = "thread";
  std::vector<std::string> swap;  // none: auto
  unsigned max_pool_percent = 80;
  std::string stats;
  bool quiet = false;
  std::vector<std::string> program;  // and its arguments
};

// Replaces this process by the program; returns only on failure (2, or 126 and 127 as a shell does).
int run(const RunOptions& options);
int doctor(bool json);
int stat(long pid, bool json);
// Each setting is KEY=VALUE. 1: the process refused.
// Without settings: prints those that it has.
int set(long pid, const std::vector<std::string>& settings);
int reclaim(long pid, const std::string& size);
int writeback(long pid, const std::string& size);
// The classes of the pool of compressed pages; `compact`: after packing it as densely as it goes.
int pool(long pid, bool compact, bool json);
int swaps(long pid, bool json);
int swapon(long pid, const std::string& text);
int swapoff(long pid, const std::string& name);
// rounds: 0 for ever.
int top(unsigned rounds, double seconds);

// Prints "coldpress: sentence" on standard error.
void complain(const std::string& sentence);

}  // namespace coldpress::cli
