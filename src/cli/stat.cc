#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "memgroup/stats.h"
#include "os/linux/stats_file.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;

// The descriptor of the statistics page, held by one of the engine's threads. "" when there is none.
std::string find_stats_file(long pid, bool* denied) {
  std::error_code error;
  std::string wanted = fmt::format("/memfd:{} (deleted)", os::kStatsFileName);
  for (const auto& thread : fs::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    fs::directory_iterator descriptors(thread.path() / "fd", error);
    if (error) {
      *denied = *denied || error.value() == EACCES || error.value() == EPERM;
      continue;
    }
    for (const auto& descriptor : descriptors) {
      if (fs::read_symlink(descriptor.path(), error).string() == wanted) return descriptor.path().string();
    }
  }
  return "";
}

}  // namespace

int stat(long pid, bool json) {
  if (!fs::exists(fmt::format("/proc/{}", pid))) {
    complain(fmt::format("there is no process {}", pid));
    return 2;
  }
  bool denied = false;
  std::string path = find_stats_file(pid, &denied);
  if (path.empty() && denied) {
    complain(fmt::format("process {} is another user's: run coldpress stat as that user", pid));
    return 2;
  }
  if (path.empty()) {
    complain(fmt::format("process {} is not managed: start it with coldpress run", pid));
    return 2;
  }
  int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* page = fd < 0 ? MAP_FAILED : mmap(nullptr, os::kStatsFileBytes, PROT_READ, MAP_SHARED, fd, 0);
  if (fd >= 0) close(fd);
  if (page == MAP_FAILED) {
    complain(fmt::format("the counters of process {} can not be read: {}", pid, std::strerror(errno)));
    return 2;
  }
  const auto& stats = *static_cast<const memgroup::Stats*>(page);
  if (stats.magic.load() != memgroup::Stats::kMagic) {
    complain(fmt::format(
        "process {} is managed by another version of coldpress: use the tool of that version", pid));
    return 2;
  }
  nlohmann::ordered_json all{{"pid", stats.pid.load()}};
  memgroup::for_each_field(stats, [&](const char* name, std::uint64_t value) {
    if (json) {
      all[name] = value;
    } else {
      fmt::print("{:22} {}\n", name, value);
    }
  });
  if (json) fmt::print("{}\n", all.dump(2));
  return 0;
}

}  // namespace coldpress::cli
