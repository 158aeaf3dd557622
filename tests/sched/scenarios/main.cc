// Explores scenarios:
//
//   sched_scenarios GROUP                 all of a group, and every mutant, as a test: exit 1 when one fails
//   sched_scenarios GROUP sparse          with few executions of each, without mutants: under a sanitizer
//   sched_scenarios --scenario NAME [--bound N] [--surprises N] [--mutant NAME]
//   sched_scenarios --scenario NAME --random N | --priorities N [--seed N] [--mutant NAME]
//   sched_scenarios --scenario NAME --replay TEXT [--mutant NAME]
//   sched_scenarios --regressions FILE    schedules that failed once: SCENARIO[+MUTANT] REPLAY on each line
//   sched_scenarios --list                names and bounds
//
// Of each a line of JSON goes to the file that COLDPRESS_RACES names (docs/races.md is made of them).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>

#include "sched/scenarios/scenarios.h"

namespace coldpress::testing {
namespace {

std::map<std::string, std::vector<Scenario>> groups() {
  return {{"writeback", writeback_scenarios()},
          {"pool", pool_scenarios()},
          {"loads", load_scenarios()},
          {"pins", pin_scenarios()},
          {"slots", slot_scenarios()},
          {"layout", layout_scenarios()},
          {"clones", clone_scenarios()},
          {"failures", failure_scenarios()},
          {"background", background_scenarios()},
          {"orders", order_scenarios()},
          {"gate", gate_scenarios()}};
}

std::string program;  // as it was called

void tell(const Report& report, const Scenario& scenario, const Search& search, const std::string& mutant) {
  std::fputs(failure_text(program, scenario, search, mutant, report).c_str(), stdout);
}

// `mutant`: nullptr for the engine as it is. `surprised`: executions with surprises.
void note(const Scenario& scenario, const char* mutant, const Report& report, std::uint32_t bound,
          std::uint64_t surprised = 0) {
  const char* path = std::getenv("COLDPRESS_RACES");
  FILE* file = path != nullptr ? std::fopen(path, "a") : nullptr;
  if (file == nullptr) return;
  std::fprintf(file, "{\"scenario\":\"%s\",", scenario.name);
  if (mutant != nullptr) std::fprintf(file, "\"mutant\":\"%s\",", mutant);
  std::fprintf(file, "\"bound\":%u,\"executions\":%llu,\"surprised\":%llu,\"steps\":%u}\n", bound,
               static_cast<unsigned long long>(report.executions), static_cast<unsigned long long>(surprised),
               report.longest);
  std::fclose(file);
}

// Under a sanitizer, which finds more in each and takes a hundred times as long.
constexpr std::uint64_t kSparseExecutions = 300;

// One bound after the other, up to the scenario's, which is set to the last that was begun.
Report explore_some(const Scenario& scenario, Search& search) {
  Report all;
  std::uint64_t left = kSparseExecutions;
  for (std::uint32_t bound = 0; bound <= scenario.bound && left > 0 && !all.failed; ++bound) {
    search.bound = bound;
    search.executions = left;
    Report report = explore(scenario, search);
    report.executions += all.executions;
    report.longest = std::max(report.longest, all.longest);
    report.marks.insert(report.marks.end(), all.marks.begin(), all.marks.end());
    all = std::move(report);
    left = kSparseExecutions - std::min(left, all.executions);
  }
  return all;
}

// Depth first to the bound, with surprises, then at random and by priorities. true: nothing was found.
// `sparse`: as much of it as kSparseExecutions allow; what they do not come by is no failure then.
bool holds(const Scenario& scenario, bool sparse) {
  Search search{.bound = scenario.bound};
  Report report = sparse ? explore_some(scenario, search) : explore(scenario, search);
  bool good = !report.failed;
  // What a lower bound finds is shorter.
  for (std::uint32_t bound = 0; !good && !sparse && bound < scenario.bound; ++bound) {
    Report lower = explore(scenario, {.bound = bound});
    if (!lower.failed) continue;
    report = std::move(lower);
    search.bound = bound;
    break;
  }
  if (!good) tell(report, scenario, search, "");
  if (good && !report.complete && !sparse) {
    std::printf("FAILED %s: bound %u was not reached\n", scenario.name, scenario.bound);
    good = false;
  }
  bool whole = report.complete;
  std::vector<std::string> marks = report.marks;
  std::printf("%-28s bound %u: %9llu executions, up to %u steps\n", scenario.name, search.bound,
              static_cast<unsigned long long>(report.executions), report.longest);
  std::uint64_t surprised = 0;
  std::vector<Search> others;
  if (scenario.surprises > 0 && !sparse) {
    others.push_back({.bound = scenario.surprised_bound, .surprises = scenario.surprises});
  }
  if (scenario.random > 0) {
    std::uint64_t executions = sparse ? kSparseExecutions / 10 : scenario.random;
    others.push_back({.kind = Search::Kind::kRandom, .executions = executions});
    others.push_back({.kind = Search::Kind::kPriorities, .executions = executions});
  }
  for (const Search& other : others) {
    if (!good) break;
    Report more = explore(scenario, other);
    if (more.failed) {
      tell(more, scenario, other, "");
      good = false;
    }
    if (other.kind == Search::Kind::kDepthFirst) {
      surprised = more.executions;
      std::printf("%-28s   surprises %u: %9llu executions\n", scenario.name, other.surprises,
                  static_cast<unsigned long long>(more.executions));
    }
    marks.insert(marks.end(), more.marks.begin(), more.marks.end());
  }
  note(scenario, nullptr, report, scenario.bound, surprised);
  if (good && whole) {
    for (const std::string& mark : never_reached(scenario, marks)) {
      std::printf("FAILED %s: no execution came by \"%s\"\n", scenario.name, mark.c_str());
      good = false;
    }
  }
  std::fflush(stdout);
  return good;
}

// With lower bounds first: what they find is shorter.
bool catches(const Scenario& scenario, const Scenario::Planted& planted) {
  std::uint64_t executions = 0;
  for (std::uint32_t bound = 0; bound <= scenario.bound; ++bound) {
    Report report = explore(scenario, {.bound = bound, .mutant = planted.mutant});
    executions += report.executions;
    if (!report.failed) continue;
    ++executions;  // the one that failed
    report.executions = executions;
    std::string failure = report.failure.substr(0, report.failure.find('\n'));
    std::printf("%-28s   mutant %-18s caught at bound %u after %llu: %s\n", scenario.name, planted.name,
                bound, static_cast<unsigned long long>(executions), failure.c_str());
    note(scenario, planted.name, report, bound);
    std::fflush(stdout);
    return true;
  }
  std::printf("FAILED %s: the mutant %s was not caught in %llu executions\n", scenario.name, planted.name,
              static_cast<unsigned long long>(executions));
  return false;
}

int explore_group(const std::vector<Scenario>& group, bool sparse) {
  int failures = 0;
  if (const char* path = std::getenv("COLDPRESS_RACES")) std::ofstream(path).close();  // begins anew
  for (const Scenario& scenario : group) {
    if (scenario.marks.empty() && scenario.mutants.empty()) {
      std::printf("FAILED %s: no mark and no mutant shows that it explores what it is for\n", scenario.name);
      ++failures;
    }
    failures += holds(scenario, sparse) ? 0 : 1;
    if (sparse) continue;
    for (const Scenario::Planted& planted : scenario.mutants) failures += catches(scenario, planted) ? 0 : 1;
  }
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}

[[noreturn]] void usage(const std::string& problem) {
  std::fprintf(stderr, "sched_scenarios: %s; see the head of tests/sched/scenarios/main.cc\n",
               problem.c_str());
  std::exit(2);
}

const Scenario* find(const std::map<std::string, std::vector<Scenario>>& all, const std::string& name) {
  for (const auto& [group, scenarios] : all) {
    for (const Scenario& one : scenarios) {
      if (one.name == name) return &one;
    }
  }
  return nullptr;
}

sync::Mutant find_mutant(const std::map<std::string, std::vector<Scenario>>& all, const std::string& name) {
  for (const auto& [group, scenarios] : all) {
    for (const Scenario& one : scenarios) {
      for (const Scenario::Planted& planted : one.mutants) {
        if (planted.name == name) return planted.mutant;
      }
    }
  }
  return sync::Mutant::kNone;
}

// Of lines `SCENARIO REPLAY` or `SCENARIO+MUTANT REPLAY`. The source may have changed since: a choice that
// does not exist any more is not made.
int replay_regressions(const char* path) {
  std::ifstream file(path);
  if (!file) usage(std::string(path) + " can not be read");
  auto all = groups();
  int failures = 0, replayed = 0;
  for (std::string what, replay; file >> what >> replay; ++replayed) {
    std::string name = what.substr(0, what.find('+'));
    std::string mutant = name.size() < what.size() ? what.substr(name.size() + 1) : "";
    const Scenario* scenario = find(all, name);
    if (scenario == nullptr) usage(std::string(path) + " names a scenario that is not there: " + name);
    Search search{.kind = Search::Kind::kReplay, .replay = replay, .lenient = true};
    search.mutant = find_mutant(all, mutant);
    if (!mutant.empty() && search.mutant == sync::Mutant::kNone) usage("there is no mutant " + mutant);
    Report report = explore(*scenario, search);
    if (!report.failed) continue;
    tell(report, *scenario, search, mutant);
    ++failures;
  }
  std::printf("%d schedules replayed, %d failures\n", replayed, failures);
  return failures == 0 ? 0 : 1;
}

int explore_one(int argc, char** argv) {
  const Scenario* scenario = nullptr;
  Search search;
  std::string mutant;
  auto all = groups();
  for (int i = 1; i < argc; i += 2) {
    std::string option = argv[i];
    if (i + 1 == argc) usage(option + " needs a value");
    const char* value = argv[i + 1];
    auto number = [&] {
      char* end;
      unsigned long long parsed = std::strtoull(value, &end, 10);
      if (end == value || *end != '\0') usage(option + " needs a number, not \"" + value + "\"");
      return parsed;
    };
    if (option == "--scenario") {
      scenario = find(all, value);
      if (scenario == nullptr) usage(std::string("there is no scenario ") + value);
      search.bound = scenario->bound;
    } else if (option == "--bound") {
      search.bound = static_cast<std::uint32_t>(number());
    } else if (option == "--surprises") {
      search.surprises = static_cast<std::uint32_t>(number());
    } else if (option == "--random" || option == "--priorities") {
      search.kind = option == "--random" ? Search::Kind::kRandom : Search::Kind::kPriorities;
      search.executions = std::max(number(), 1ull);
    } else if (option == "--seed") {
      search.seed = number();
    } else if (option == "--replay") {
      search.kind = Search::Kind::kReplay;
      search.replay = value;
    } else if (option == "--mutant") {
      mutant = value;
    } else {
      usage("what is " + option + "?");
    }
  }
  if (scenario == nullptr) usage("--scenario is missing");
  search.mutant = find_mutant(all, mutant);
  if (!mutant.empty() && search.mutant == sync::Mutant::kNone) usage("there is no mutant " + mutant);
  Report report = explore(*scenario, search);
  if (report.failed) {
    tell(report, *scenario, search, mutant);
    return 1;
  }
  std::fputs(report.trace.c_str(), stdout);
  for (const std::string& mark : report.marks) std::printf("  came by \"%s\"\n", mark.c_str());
  // The last line is what deep.py reads.
  std::printf("%s: %llu executions, %llu steps, up to %u in one%s\n", scenario->name,
              static_cast<unsigned long long>(report.executions),
              static_cast<unsigned long long>(report.steps), report.longest,
              report.complete ? ", complete" : "");
  return 0;
}

}  // namespace
}  // namespace coldpress::testing

int main(int argc, char** argv) {
  using namespace coldpress::testing;
  program = argv[0];
  bool sparse = argc == 3 && argv[2] == std::string("sparse");
  if ((argc == 2 || sparse) && argv[1][0] != '-') {
    auto all = groups();
    auto group = all.find(argv[1]);
    if (group == all.end()) usage(std::string("there is no group ") + argv[1]);
    return explore_group(group->second, sparse);
  }
  if (argc == 3 && argv[1] == std::string("--regressions")) return replay_regressions(argv[2]);
  if (argc == 2 && argv[1] == std::string("--list")) {
    for (const auto& [name, group] : groups()) {
      for (const Scenario& scenario : group) std::printf("%s %u\n", scenario.name, scenario.bound);
    }
    return 0;
  }
  return explore_one(argc, argv);
}
