// Looks at the program that `run` was asked to start, before anything is started.
// No state: any thread may call. Nothing is executed.
#pragma once

#include <string>

namespace coldpress::cli {

inline constexpr int kBad = 2;  // exit status of run(): something is wrong with how it was called

struct ProgramFile {
  std::string path;     // found through PATH, as exec would
  int exit_status = 0;  // 0: can be preloaded; else what run() returns
  std::string problem;  // then: why, and what to do
};

ProgramFile inspect_program(const std::string& name);

}  // namespace coldpress::cli
