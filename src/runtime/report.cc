#include "runtime/report.h"

#include "base/units.h"
#include "os/linux/syscalls.h"

namespace coldpress::runtime {

Text exit_line(const memgroup::Stats& stats) {
  auto value = [](const sync::Atomic<std::uint64_t>& counter) { return counter.load(sync::kRelaxed); };
  Text line;
  line << "limit ";
  line.bytes(value(stats.limit_bytes)) << ", peak ";
  line.bytes(value(stats.peak_rss_anon_bytes));
  std::uint64_t out = value(stats.zswpout) + value(stats.swpout_zero);
  if (out == 0) {
    line << "; nothing had to be compressed";
    return line;
  }
  std::uint64_t stored = (value(stats.stored_pages) + value(stats.same_filled_pages)) << kPageShift;
  line << "; ";
  line.bytes(stored) << " lay compressed in ";
  line.bytes(value(stats.pool_bytes))
      << "; " << out << " pages out, " << value(stats.zswpin) + value(stats.swpin_zero) + value(stats.pswpin)
      << " back, " << value(stats.swap_cache_hit) << " put back from the swap cache";
  if (value(stats.zswpwb) > 0) line << "; " << value(stats.zswpwb) << " went on to swap";
  if (value(stats.limit_exceeded) > 0) line << "; the limit could not be held";
  std::uint64_t lost = value(stats.decompress_fail) + value(stats.swap_read_fail);
  if (lost > 0) line << "; " << lost << " damaged pages";
  return line;
}

bool write_stats_json(const memgroup::Stats& stats, int fd) {
  if (fd < 0 || !os::sys_empty_file(fd)) return false;
  bool first = true, good = true;
  for_each_field(stats, [&](const char* name, std::uint64_t value) {
    Text line;
    line << (first ? "{\n  \"" : ",\n  \"") << name << "\": " << value;
    first = false;
    std::string_view text = line.view();
    good = good && os::sys_write(fd, text.data(), text.size()) == static_cast<long>(text.size());
  });
  return good && os::sys_write(fd, "\n}\n", 3) == 3;
}

}  // namespace coldpress::runtime
