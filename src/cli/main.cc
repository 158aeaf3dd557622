#include <CLI/CLI.hpp>
#include <cstdio>

#include "cli/commands.h"

namespace coldpress::cli {

void complain(const std::string& sentence) { std::fprintf(stderr, "coldpress: %s\n", sentence.c_str()); }

namespace {

constexpr char kVersion[] = "coldpress 0.1.0";

int parse_and_run(int argc, char** argv) {
  // The program's own arguments are not ours to parse.
  std::vector<std::string> ours, program;
  bool separated = false;
  for (int i = 1; i < argc; ++i) {
    if (!separated && std::string(argv[i]) == "--") {
      separated = true;
    } else {
      (separated ? program : ours).emplace_back(argv[i]);
    }
  }

  CLI::App app{"Gives a program more memory than it may occupy: cold pages are kept compressed.",
               "coldpress"};
  app.set_version_flag("--version", kVersion);
  app.require_subcommand(1);
  RunOptions run_options;
  auto* run_command = app.add_subcommand("run", "run a program under a memory limit");
  run_command->add_option("--limit", run_options.limit,
                          "memory the program may occupy: 512M, 1.5GiB, or 50% of the machine (default)");
  run_command->add_option("--codec", run_options.codec, "lz4 or zstd[:LEVEL]")->capture_default_str();
  run_command->add_option("--fault-path", run_options.fault_path, "thread or signal")->capture_default_str();
  run_command
      ->add_option(
          "--swap", run_options.swap,
          "where the coldest pages go, encrypted: auto (default: a file in $TMPDIR when it is needed), none, "
          "PATH[,size=SIZE][,prio=N] or ram:SIZE[,prio=N]; may be repeated")
      ->allow_extra_args(false);
  run_command
      ->add_option("--max-pool-percent", run_options.max_pool_percent,
                   "part of the limit that compressed pages may take before they go on to swap")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  run_command->add_option("--stats", run_options.stats, "write the counters to this file at exit (JSON)");
  run_command->add_flag("--quiet", run_options.quiet, "say nothing at exit");
  run_command->footer("Usage: coldpress run [OPTIONS] -- PROGRAM [ARGUMENTS...]");
  run_command->prefix_command();
  bool doctor_json = false, stat_json = false;
  long pid = 0;
  auto* doctor_command =
      app.add_subcommand("doctor", "tell whether this machine can do it, and what to change");
  doctor_command->add_flag("--json", doctor_json, "as JSON");
  auto* stat_command = app.add_subcommand("stat", "counters of a managed process");
  stat_command->add_option("PID", pid, "process id")->required()->check(CLI::PositiveNumber);
  stat_command->add_flag("--json", stat_json, "as JSON");
  std::vector<std::string> settings;
  std::string size, device;
  unsigned rounds = 0;
  double seconds = 1;
  auto for_process = [&](const char* name, const char* what) {
    auto* command = app.add_subcommand(name, what);
    command->add_option("PID", pid, "process id")->required()->check(CLI::PositiveNumber);
    return command;
  };
  auto* set_command = for_process("set", "change the settings of a managed process, or print them");
  set_command->add_option(
      "SETTING", settings,
      "none: prints all; limit=SIZE high|swap.max|zswap.max=SIZE|max max_pool_percent=0..100 "
      "accept_threshold_percent=0..100 writeback=0|1 "
      "shrinker=0|1 recompress_percent=0..100 readahead=1..16 enabled=0|1 codec=lz4|zstd[:LEVEL]");
  auto* reclaim_command = for_process("reclaim", "compress memory of a managed process now");
  reclaim_command->add_option("SIZE", size, "how much: 100M")->required();
  auto* writeback_command = for_process("writeback", "write compressed pages to the swap devices now");
  writeback_command->add_option("SIZE", size, "how much of the pool: 100M")->required();
  bool compact = false, pool_json = false;
  auto* pool_command =
      for_process("pool", "what the pool of compressed pages of a managed process looks like");
  pool_command->add_flag("--compact", compact, "pack it as densely as it goes, first");
  pool_command->add_flag("--json", pool_json, "as JSON");
  bool swaps_json = false;
  auto* swaps_command = for_process("swaps", "the swap devices of a managed process");
  swaps_command->add_flag("--json", swaps_json, "as JSON");
  auto* swapon_command = for_process("swapon", "give a managed process a swap device");
  swapon_command->add_option("DEVICE", device, "PATH[,size=SIZE][,prio=N] or ram:SIZE[,prio=N]")->required();
  auto* swapoff_command = for_process("swapoff", "bring everything back from a swap device, and give it up");
  swapoff_command->add_option("DEVICE", device, "its path, auto or ram (the second one: ram2)")->required();
  auto* top_command = app.add_subcommand("top", "the managed processes, again and again");
  top_command->add_option("--rounds", rounds, "so many times (default: until interrupted)");
  top_command->add_option("--seconds", seconds, "between two")->check(CLI::Range(0.1, 3600.0));

  try {
    std::reverse(ours.begin(), ours.end());  // the library wants them so
    app.parse(ours);
  } catch (const CLI::Success& help_or_version) {
    return app.exit(help_or_version);
  } catch (const CLI::ParseError& error) {
    std::string what = error.what();
    if (!what.empty() && what.back() == '.') what.pop_back();
    complain(what + " (see coldpress --help)");
    return 2;
  }
  if (*run_command) {
    for (const std::string& extra : run_command->remaining()) {
      if (run_options.program.empty() && !extra.empty() && extra[0] == '-') {
        complain("unknown option " + extra + " (see coldpress run --help; the program comes after --)");
        return 2;
      }
      run_options.program.push_back(extra);
    }
    run_options.program.insert(run_options.program.end(), program.begin(), program.end());
    return run(run_options);
  }
  if (separated) {
    complain("-- is for coldpress run only");
    return 2;
  }
  if (*doctor_command) return doctor(doctor_json);
  if (*set_command) return set(pid, settings);
  if (*reclaim_command) return reclaim(pid, size);
  if (*writeback_command) return writeback(pid, size);
  if (*pool_command) return pool(pid, compact, pool_json);
  if (*swaps_command) return swaps(pid, swaps_json);
  if (*swapon_command) return swapon(pid, device);
  if (*swapoff_command) return swapoff(pid, device);
  if (*top_command) return top(rounds, seconds);
  return stat(pid, stat_json);
}

}  // namespace
}  // namespace coldpress::cli

int main(int argc, char** argv) { return coldpress::cli::parse_and_run(argc, argv); }
