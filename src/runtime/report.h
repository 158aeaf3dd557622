// What is said of a managed process: the line at exit and the JSON of its counters.
// Thread safety: any thread. No allocation.
#pragma once

#include "base/log.h"
#include "memgroup/stats.h"

namespace coldpress::runtime {

// "held to 512.0 MiB: 1.2 GiB stored in 301.5 MiB (4.1:1) ..." for the end of a process.
Text exit_line(const memgroup::Stats& stats);

// Writes the counters as one JSON object over what the file holds. false: it can not be written.
bool write_stats_json(const memgroup::Stats& stats, int fd);

}  // namespace coldpress::runtime
