#include "sched/explore/explore.h"

#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>

#include "base/log.h"
#include "sched/explore/strategies.h"
#include "sched/explore/trace.h"
#include "sync/sched/names.h"

// A process that explores ends at once: nothing of it goes on that could still race.
extern "C" const char* __tsan_default_options() { return "atexit_sleep_ms=0"; }

namespace coldpress::testing {
namespace {

constexpr std::size_t kMostChoices = 1 << 16, kMostMarks = 64, kTraceBytes = 1 << 20;
constexpr std::uint64_t kCheckEvery = 512;  // executions, of which one is run twice
constexpr int kShorterTries = 300;
constexpr char kNoEnd[] = "an execution does not end";

// What the exploring process leaves to its parent, also when it dies.
struct Shared {
  std::uint64_t executions, steps;
  std::uint32_t longest;
  bool complete;
  std::uint32_t choice_count;
  std::uint8_t choices[kMostChoices];
  char failure[4096];
  char message[1024];  // the last one of the engine
  std::uint32_t mark_count;
  char marks[kMostMarks][64];
  char trace[kTraceBytes];
};

void put(char* into, std::size_t room, std::string_view text) {
  std::size_t count = std::min(room - 1, text.size());
  std::memcpy(into, text.data(), count);
  into[count] = '\0';
}

Shared* shared = nullptr;

class Recorder final : public sched::Listener {
 public:
  void begin() {
    shared->choice_count = 0;
    shared->message[0] = '\0';
    if (trace_) trace_->clear();
  }
  void on_step(const sched::Step& step) override {
    if (trace_) trace_->add(step);
  }
  void on_choice(std::uint32_t chosen) override {
    if (shared->choice_count < kMostChoices) {
      shared->choices[shared->choice_count++] = static_cast<std::uint8_t>(chosen);
    }
  }
  void on_mark(const char* name) override {
    for (std::uint32_t i = 0; i < shared->mark_count; ++i) {
      if (std::strcmp(shared->marks[i], name) == 0) return;
    }
    if (shared->mark_count < kMostMarks) {
      put(shared->marks[shared->mark_count++], sizeof shared->marks[0], name);
    }
  }
  [[noreturn]] void on_failure(std::string_view what) override {
    put(shared->failure, sizeof shared->failure, what);
    finish_trace(what.starts_with("livelock"));
    _exit(1);
  }
  void trace_into(Trace* trace) { trace_ = trace; }
  bool traced() const { return trace_ != nullptr; }
  void finish_trace(bool circles = false) {
    if (trace_) put(shared->trace, sizeof shared->trace, trace_->text(circles));
  }

 private:
  Trace* trace_ = nullptr;
};

Recorder recorder;

void keep_message(std::string_view line) { put(shared->message, sizeof shared->message, line); }

void on_crash(int number) {
  recorder.finish_trace();  // as far as it got
  signal(number, SIG_DFL);
  raise(number);
}

// An execution without points is not ended by the limit of steps: a list that has become a ring.
constexpr unsigned kLookS = 20;
void on_alarm(int) {
  static std::uint64_t seen = ~std::uint64_t{0};
  if (shared->executions == seen) recorder.on_failure(kNoEnd);
  seen = shared->executions;
  alarm(kLookS);
}

std::unique_ptr<SearchStrategy> make_strategy(const Search& search) {
  switch (search.kind) {
    case Search::Kind::kDepthFirst:
      return std::make_unique<DepthFirst>(search.bound, search.surprises);
    case Search::Kind::kRandom:
      return std::make_unique<AtRandom>(search.seed, search.executions);
    case Search::Kind::kPriorities:
      return std::make_unique<ByPriority>(search.seed, search.executions, search.depth);
    case Search::Kind::kReplay:
      break;
  }
  std::vector<std::uint8_t> choices;
  if (!parse_choices(search.replay, choices)) fail("this is no replay text: " + search.replay);
  return std::make_unique<Again>(std::move(choices), search.lenient);
}

// One execution; its digest.
std::uint64_t execute(const Scenario& scenario, SearchStrategy& strategy) {
  recorder.begin();
  strategy.begin();
  sched::names().begin(recorder.traced());
  sched::scheduler().reset(strategy, recorder, {.sleeps = scenario.sleeps}, recorder.traced());
  Run run;
  scenario.body(run);
  return sched::scheduler().digest();
}

[[noreturn]] void explore_here(const Scenario& scenario, const Search& search, bool traced) {
  set_message_sink(keep_message);
  // What one execution frees the next one takes: no system calls for it.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  static Trace trace;
  if (traced) recorder.trace_into(&trace);
  sync::active_mutant = search.mutant;
  std::unique_ptr<SearchStrategy> strategy = make_strategy(search);
  do {
    std::uint64_t digest = execute(scenario, *strategy);
    ++shared->executions;
    shared->steps += sched::scheduler().steps();
    shared->longest = std::max(shared->longest, sched::scheduler().steps());
    if (shared->executions % kCheckEvery == 1) {
      Again again({shared->choices, shared->choices + shared->choice_count}, false);
      if (execute(scenario, again) != digest) {
        recorder.on_failure("the same choices did something else: what decides is not choose() alone");
      }
    }
    if (search.kind == Search::Kind::kDepthFirst && shared->executions == search.executions) _exit(0);
  } while (strategy->next());
  shared->complete = search.kind == Search::Kind::kDepthFirst;
  recorder.finish_trace();
  _exit(0);
}

Report explore_in_child(const Scenario& scenario, const Search& search, bool traced) {
  if (shared == nullptr) {
    void* memory = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      perror("explore: mmap");
      exit(2);
    }
    shared = static_cast<Shared*>(memory);
  }
  std::memset(static_cast<void*>(shared), 0, sizeof(Shared));
  fflush(stdout);
  pid_t child = fork();
  if (child < 0) {
    perror("explore: fork");
    exit(2);
  }
  if (child == 0) {
    rlimit none{};
    setrlimit(RLIMIT_CORE, &none);
    static char stack[1 << 16];  // a task may have used up its own
    stack_t other{.ss_sp = stack, .ss_flags = 0, .ss_size = sizeof stack};
    sigaltstack(&other, nullptr);
    struct sigaction crash {};
    crash.sa_handler = on_crash;
    crash.sa_flags = SA_ONSTACK;
    for (int number : {SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGTRAP}) sigaction(number, &crash, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGALRM, on_alarm);
    alarm(kLookS);
    explore_here(scenario, search, traced);
  }
  int status = 0;
  waitpid(child, &status, 0);
  Report report;
  report.executions = shared->executions;
  report.steps = shared->steps;
  report.longest = shared->longest;
  report.complete = shared->complete;
  for (std::uint32_t i = 0; i < shared->mark_count; ++i) report.marks.emplace_back(shared->marks[i]);
  report.trace = shared->trace;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return report;
  report.failed = true;
  report.failure = shared->failure;
  if (report.failure.empty()) {
    report.failure = shared->message[0] != '\0' && WIFSIGNALED(status)
                         ? shared->message
                         : "the process ended by status " + std::to_string(status);
  }
  report.replay = choices_text({shared->choices, shared->choices + shared->choice_count});
  return report;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// Chance switches more often than it must: of its choices, as many as possible are taken back, more at a
// time first.
std::string shortened(const Scenario& scenario, Search search, const Report& report) {
  search.kind = Search::Kind::kReplay;
  search.lenient = true;
  std::vector<std::uint8_t> best;
  if (!parse_choices(report.replay, best)) return report.replay;
  auto made = [](const std::vector<std::uint8_t>& choices) {
    return choices.size() - static_cast<std::size_t>(std::count(choices.begin(), choices.end(), 0));
  };
  // Without `count` choices from number `from` on. true: it still fails, by fewer choices.
  auto take_back = [&](std::size_t from, std::size_t count) {
    std::vector<std::uint8_t> fewer = best, done;
    std::size_t number = 0;
    for (std::uint8_t& choice : fewer) {
      if (choice != 0 && number++ - from < count) choice = 0;
    }
    search.replay = choices_text(fewer);
    Report tried = explore_in_child(scenario, search, false);
    if (!tried.failed || first_line(tried.failure) != first_line(report.failure)) return false;
    if (!parse_choices(tried.replay, done) || made(done) >= made(best)) return false;
    best = done;
    return true;
  };
  int tries = 0;
  for (std::size_t count = made(best); count > 0 && tries < kShorterTries;) {
    bool shorter = false;
    for (std::size_t from = 0; from < made(best) && tries < kShorterTries; ++tries) {
      if (take_back(from, count)) {
        shorter = true;
      } else {
        from += count;
      }
    }
    if (count > 1) {
      count = (count + 1) / 2;
    } else if (!shorter) {
      break;
    }
  }
  return choices_text(best);
}

}  // namespace

void fail(const std::string& what) { recorder.on_failure(what); }

void Run::add(const char* name, std::function<void()> body, bool daemon) {
  using Body = std::function<void()>;
  bodies_.push_back(std::make_unique<Body>(std::move(body)));
  sched::scheduler().add(
      name, [](void* body) { (*static_cast<Body*>(body))(); }, bodies_.back().get(), daemon);
}

void Run::go() { sched::scheduler().run(); }
bool Run::stopping() { return sched::scheduler().stopping(); }

Report explore(const Scenario& scenario, const Search& search) {
  Report report = explore_in_child(scenario, search, search.kind == Search::Kind::kReplay);
  if (!report.failed || search.kind == Search::Kind::kReplay) return report;
  // Each attempt at an execution that does not end would take kLookS again.
  bool quick = first_line(report.failure) != kNoEnd;
  if (search.kind != Search::Kind::kDepthFirst && quick) report.replay = shortened(scenario, search, report);
  Search again = search;
  again.kind = Search::Kind::kReplay;
  again.replay = report.replay;
  Report traced = explore_in_child(scenario, again, true);
  report.trace = traced.trace;
  if (!traced.failed) {
    report.failure += "\n(the replay did not fail: what decides is not choose() alone)";
  } else if (first_line(traced.failure) == first_line(report.failure)) {
    report.failure = traced.failure;
  } else {
    report.failure += "\n(the replay fails otherwise: what decides is not choose() alone)\n" + traced.failure;
  }
  return report;
}

std::vector<std::string> never_reached(const Scenario& scenario, const std::vector<std::string>& reached) {
  std::vector<std::string> missing(scenario.marks.begin(), scenario.marks.end());
  std::erase_if(missing, [&](const std::string& mark) { return std::ranges::count(reached, mark) > 0; });
  return missing;
}

std::string failure_text(const std::string& program, const Scenario& scenario, const Search& search,
                         const std::string& mutant, const Report& report) {
  std::string how;
  std::string seed = ", seed " + std::to_string(search.seed);
  switch (search.kind) {
    case Search::Kind::kDepthFirst:
      how = "depth first, bound " + std::to_string(search.bound) + ", surprises " +
            std::to_string(search.surprises);
      break;
    case Search::Kind::kRandom:
      how = "at random" + seed;
      break;
    case Search::Kind::kPriorities:
      how = "by priorities, depth " + std::to_string(search.depth) + seed;
      break;
    case Search::Kind::kReplay:
      how = "a replay";
  }
  std::string with = mutant.empty() ? "" : ", mutant " + mutant;
  std::string option = mutant.empty() ? "" : " --mutant " + mutant;
  return std::string("FAILED ") + scenario.name + with + ": " + how + ", after " +
         std::to_string(report.executions) + " executions\n" + report.failure + "\n\n" + report.trace +
         "\nagain: " + program + " --scenario " + scenario.name + option + " --replay '" + report.replay +
         "'\n";
}

}  // namespace coldpress::testing
