// Explores a scenario: runs it under a strategy, again and again, in a process of its own, and tells what
// came of it. A failure is replayed once more with a trace; one that chance has found is shortened before.
//
// A surprise is what may happen for no reason: a sleeper wakes, a weak exchange fails. At random they are
// always possible; depth first each costs one of a bound of their own, which is 0 unless it is asked for.
//
// A scenario is a function. It makes its objects, adds tasks to the Run, lets them go, and checks. It is
// called once for each execution and must do the same each time. Only between go()'s beginning and end are
// there points.
//
// Thread safety: none; the process must have one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "sync/explore.h"

namespace coldpress::testing {

class Run {
 public:
  void task(const char* name, std::function<void()> body) { add(name, std::move(body), false); }
  // Need not end by itself: returns soon after stopping().
  void daemon(const char* name, std::function<void()> body) { add(name, std::move(body), true); }
  void go();
  static bool stopping();

 private:
  void add(const char* name, std::function<void()> body, bool daemon);
  std::vector<std::unique_ptr<std::function<void()>>> bodies_;  // where tasks find them
};

struct Scenario {
  const char* name;
  void (*body)(Run&);
  std::uint32_t bound = 2;              // preemptions, exhaustively
  std::uint32_t surprises = 1;          // then exhaustively, too
  std::uint32_t surprised_bound = 1;    // preemptions beside them
  std::uint64_t random = 2000;          // executions, then as many by priorities
  std::uint32_t sleeps = 1000;          // by the clock, of one task; more is a livelock
  std::vector<const char*> marks = {};  // that must have been reached
  struct Planted {
    sync::Mutant mutant;
    const char* name;
  };
  std::vector<Planted> mutants = {};
};

struct Search {
  enum class Kind { kDepthFirst, kRandom, kPriorities, kReplay };
  Kind kind = Kind::kDepthFirst;
  std::uint32_t bound = 2;       // depth first: preemptions
  std::uint32_t surprises = 0;   // depth first, beside them
  std::uint64_t executions = 0;  // random and priorities: how many. Depth first: at most; 0: all
  std::uint64_t seed = 1;
  std::uint32_t depth = 5;  // priorities: of which bugs, at most
  std::string replay;
  bool lenient = false;  // replay: what is not an alternative any more is not chosen
  sync::Mutant mutant = sync::Mutant::kNone;
};

struct Report {
  bool failed = false;
  std::string failure, replay, trace;
  std::uint64_t executions = 0;
  std::uint64_t steps = 0;  // of all executions
  std::uint32_t longest = 0;
  bool complete = false;  // depth first: nothing within the bound was left out
  std::vector<std::string> marks;
};

Report explore(const Scenario& scenario, const Search& search);

// Of the marks that the scenario must come by, those that are not among `reached`.
std::vector<std::string> never_reached(const Scenario& scenario, const std::vector<std::string>& reached);

// What a failure is told by: the scenario, how it was found, what it is, its trace, its replay text, and one
// command that has it again. `program` understands --scenario, --replay and --mutant; `mutant` may be empty.
std::string failure_text(const std::string& program, const Scenario& scenario, const Search& search,
                         const std::string& mutant, const Report& report);

// Ends the execution as failed.
[[noreturn]] void fail(const std::string& what);

}  // namespace coldpress::testing

#define MUST(condition)                                                                              \
  do {                                                                                               \
    if (!(condition)) {                                                                              \
      ::coldpress::testing::fail(std::string("not so: ") + #condition + " (" + __FILE_NAME__ + ":" + \
                                 std::to_string(__LINE__) + ")");                                    \
    }                                                                                                \
  } while (false)
