#include <fcntl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "base/size_text.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "cli/preload_file.h"
#include "cli/program_file.h"
#include "os/linux/process.h"

namespace coldpress::cli {
namespace {

bool in_memory(const char* directory) {
  constexpr long kTmpfs = 0x01021994, kRamfs = 0x858458f6;
  struct statfs about;
  return statfs(directory, &about) != 0 || about.f_type == kTmpfs || about.f_type == kRamfs;
}

// Where the automatic swap file goes. Swapping to memory would help nobody, unless it is asked for.
const char* temporary_directory() {
  const char* chosen = std::getenv("TMPDIR");
  if (chosen != nullptr && *chosen != 0) return chosen;
  for (const char* directory : {"/tmp", "/var/tmp"}) {
    if (!in_memory(directory)) return directory;
  }
  return nullptr;
}

std::string add_swap(const std::string& text, runtime::Config& config) {
  if (config.swap_count == runtime::kMaxSwap) {
    return "--swap: at most " + std::to_string(runtime::kMaxSwap) + " devices";
  }
  runtime::SwapSpec spec;
  std::string path;
  if (text == "auto") {
    const char* directory = temporary_directory();
    if (directory == nullptr) return "";
    path = directory;
    spec.kind = runtime::SwapSpec::Kind::kAuto;
  } else {
    Text problem = runtime::parse_swap(text, spec);
    if (!problem.view().empty()) return std::string(problem.view());
    path = spec.path;
  }
  if (!path.empty()) path = std::filesystem::absolute(path).lexically_normal().string();
  if (path.size() >= sizeof spec.path) return "--swap: the path is too long: " + path;
  std::memcpy(spec.path, path.c_str(), path.size() + 1);
  config.swap[config.swap_count++] = spec;
  return "";
}

std::string add_all_swap(const RunOptions& options, runtime::Config& config) {
  if (options.swap.empty()) return add_swap("auto", config);
  for (const std::string& text : options.swap) {
    if (text == "auto" && std::count(options.swap.begin(), options.swap.end(), "auto") > 1) {
      return "--swap auto: once is enough";
    }
    if (text == "none" && options.swap.size() > 1) return "--swap none does not go with other devices";
    if (text == "none") continue;
    if (std::string problem = add_swap(text, config); !problem.empty()) return problem;
  }
  return "";
}

// Fills config from the options; "" or what is wrong with them.
std::string make_config(const RunOptions& options, runtime::Config& config) {
  std::uint64_t machine_bytes = os::physical_memory_bytes();
  auto limit = parse_size(options.limit, machine_bytes);
  if (!limit) {
    return "--limit " + options.limit + " is not a size: write it as 512M, 1.5GiB or 50%";
  }
  if (*limit < runtime::kMinLimitBytes) {
    return "--limit " + options.limit + " is too small to work in: give at least " +
           std::to_string(runtime::kMinLimitBytes >> 20) + "M";
  }
  config.limit_bytes = *limit / kPageBytes * kPageBytes;
  auto codec = codec::parse_choice(options.codec);
  if (!codec) {
    return "--codec " + options.codec + " is not known: use lz4, zstd or zstd:LEVEL (-7 to 19, not 0)";
  }
  config.codec = *codec;
  if (options.fault_path == "signal") {
    config.fault_path = runtime::FaultPath::kSignal;
  } else if (options.fault_path != "thread") {
    return "--fault-path " + options.fault_path + " is not known: use thread or signal";
  }
  if (std::string problem = add_all_swap(options, config); !problem.empty()) return problem;
  config.max_pool_percent = options.max_pool_percent;
  config.quiet = options.quiet;
  config.check_accounts = std::getenv("COLDPRESS_CHECK_ACCOUNTS") != nullptr;
  config.root_pid = getpid();
  if (options.stats.empty()) return "";
  std::string stats = std::filesystem::absolute(options.stats).string();
  if (stats.size() >= sizeof config.stats_path) return "--stats: the path is too long";
  int fd = open(stats.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return "--stats " + options.stats + ": can not be written: " + std::strerror(errno);
  close(fd);
  std::memcpy(config.stats_path, stats.c_str(), stats.size() + 1);
  return "";
}

}  // namespace

int run(const RunOptions& options) {
  if (options.program.empty()) {
    complain("no program to run: coldpress run [OPTIONS] -- PROGRAM [ARGUMENTS...]");
    return kBad;
  }
  runtime::Config config;
  if (std::string problem = make_config(options, config); !problem.empty()) {
    complain(problem);
    return kBad;
  }
  ProgramFile program = inspect_program(options.program[0]);
  if (program.exit_status != 0) {
    complain(program.problem);
    return program.exit_status;
  }
  std::string library = find_preload_library();
  if (library.empty()) {
    complain("libcoldpress-preload.so is not beside the tool: build or install coldpress again");
    return kBad;
  }
  if (library.find_first_of(" :") != std::string::npos) {
    complain("the loader can not preload from a path with a space or a colon: " + library + "; move it");
    return kBad;
  }
  if (std::string problem = machine_problem(); !problem.empty()) {
    complain(problem);
    return kBad;
  }
  char value[4096];
  if (!runtime::format_config(config, value, sizeof value)) {
    complain("the options are too long");
    return kBad;
  }
  setenv(runtime::kConfigVariable, value, 1);
  const char* already = std::getenv("LD_PRELOAD");
  std::string preload = already != nullptr && *already != 0 ? library + ":" + already : library;
  setenv("LD_PRELOAD", preload.c_str(), 1);
  std::vector<char*> arguments;
  for (const std::string& argument : options.program)
    arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);
  execv(program.path.c_str(), arguments.data());
  int error = errno;
  complain(program.path + ": " + std::strerror(error));
  return error == ENOENT ? 127 : 126;
}

}  // namespace coldpress::cli
