// Whether this machine can run a managed process: each thing needed, tried for real.
// One thread only: it opens descriptors and moves pages of its own.
#pragma once

#include <string>
#include <vector>

namespace coldpress::cli {

struct Finding {
  std::string name;
  bool good = false;
  bool needed = true;  // false: works without, with less
  std::string detail;  // what was found
  std::string remedy;  // what to do when not good
};

std::vector<Finding> examine_machine();

// "" when `run` would work; else one sentence for the first thing that is missing.
std::string machine_problem();

}  // namespace coldpress::cli
