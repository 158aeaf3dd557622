// The pager of a test program whose only argument is the fault path: a function for main(), before anything
// else.
#pragma once

#include <coldpress/pager.h>

#include <memory>
#include <string_view>

#include "content.h"

namespace coldtest {

// PROGRAM thread|signal
inline std::unique_ptr<coldpress::Pager> open_pager(int argc, char** argv, std::size_t limit_bytes) {
  std::string_view path = argc == 2 ? argv[1] : "";
  if (path != "thread" && path != "signal") die("usage: %s thread|signal", argv[0]);
  coldpress::PagerOptions options{.limit_bytes = limit_bytes};
  options.fault_path = path == "signal" ? coldpress::FaultPath::kSignal : coldpress::FaultPath::kThread;
  auto opened = coldpress::Pager::open(options);
  if (!opened) die("%s", opened.error.c_str());
  return std::move(opened.pager);
}

}  // namespace coldtest
