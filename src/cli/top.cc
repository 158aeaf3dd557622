// A table of the managed processes, again and again until it is interrupted.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <map>

#include "cli/commands.h"
#include "cli/managed.h"
#include "sync/futex.h"

namespace coldpress::cli {
namespace {

std::string mib(std::uint64_t bytes) { return fmt::format("{:.1f}", static_cast<double>(bytes) / 1048576); }

}  // namespace

int top(unsigned rounds, double seconds) {
  std::map<long, std::uint64_t> majors;
  bool screen = isatty(STDOUT_FILENO) != 0;
  for (unsigned round = 0; rounds == 0 || round < rounds; ++round) {
    if (round > 0) sync::sleep_ns(static_cast<std::int64_t>(seconds * 1e9));
    if (screen) fmt::print("\033[H\033[J");
    fmt::print("{:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", "PID", "limit MiB", "RssAnon",
               "pool", "stored", "swap", "major", "major/s");
    for (long pid : managed_processes()) {
      Managed process(pid);
      if (!process.problem().empty()) continue;
      const memgroup::Stats& stats = process.stats();
      std::uint64_t major = stats.pgmajfault.load();
      auto before = majors.find(pid);
      std::string rate = before == majors.end()
                             ? "-"
                             : fmt::format("{:.0f}", static_cast<double>(major - before->second) / seconds);
      majors[pid] = major;
      fmt::print("{:>8} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n", pid,
                 mib(stats.limit_bytes.load()), mib(stats.rss_anon_bytes.load()),
                 mib(stats.pool_bytes.load()), mib(stats.stored_pages.load() * 4096),
                 mib(stats.swap_bytes.load()), major, rate);
    }
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace coldpress::cli
