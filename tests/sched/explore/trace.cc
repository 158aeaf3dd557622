#include "sched/explore/trace.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>

#include "sync/sched/names.h"

namespace coldpress::testing {
namespace {

using sched::Op;

constexpr std::size_t kMostSteps = 400;  // the last ones are shown
constexpr std::size_t kBefore = 40;      // these many before a circle

const char* name_of(Op op) {
  constexpr const char* kNames[] = {"load",   "store", "exchange", "compare", "update", "lock",   "try lock",
                                    "unlock", "wait",  "wake",     "sleep",   "end",    "choice", "mark"};
  return kNames[static_cast<std::size_t>(op)];
}

const char* kind_of(Op op) {
  switch (op) {
    case Op::kLock:
    case Op::kTryLock:
    case Op::kUnlock:
      return "mutex";
    case Op::kWait:
    case Op::kWake:
    case Op::kSleep:
      return "word";
    default:
      return "atomic";
  }
}

const char* last_part(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

std::string hex(std::uint64_t number) {
  char text[20];
  std::snprintf(text, sizeof text, "%llx", static_cast<unsigned long long>(number));
  return text;
}

std::string times(const Cycle& cycle) {
  return std::to_string(cycle.times) + " times the same " +
         (cycle.length == 1 ? "step" : std::to_string(cycle.length) + " steps") + ":\n";
}

// What makes two steps of a circle the same: not the values, which may count.
std::uint64_t identity(const sched::Step& step, const std::string& object) {
  return std::hash<std::string>()(std::to_string(step.task) + " " + name_of(step.op) + " " + object + " " +
                                  std::to_string(step.where.line()));
}

}  // namespace

// The sequence backwards, and for each shift how far it equals itself: what a shift of `length` leaves equal
// is that many elements repeated. (D. Gusfield's Z, in one pass.)
Cycle find_cycle(const std::vector<std::uint64_t>& elements) {
  std::vector<std::uint64_t> back(elements.rbegin(), elements.rend());
  std::size_t count = back.size(), left = 0, right = 0, most = 0;
  std::vector<std::size_t> equal(count);
  for (std::size_t i = 1; i < count; ++i) {
    std::size_t known = i < right ? std::min(right - i, equal[i - left]) : 0;
    while (i + known < count && back[known] == back[i + known]) ++known;
    equal[i] = known;
    if (i + known > right) {
      left = i;
      right = i + known;
    }
    if (known >= i) most = std::max(most, i + known);
  }
  for (std::size_t length = 1; length < count; ++length) {
    std::size_t covered = length + equal[length];
    if (covered < 2 * length || 2 * covered < most) continue;
    std::size_t times = covered / length;
    return {count - times * length, length, times};
  }
  return {};
}

void Trace::clear() {
  steps_.clear();
  numbered_.clear();
  counts_.clear();
}

void Trace::add(const sched::Step& step) {
  if (!steps_.empty() && step.text != nullptr && step.text[0] == '\0') {
    sched::Step& last = steps_.back().step;
    if (last.number == step.number && last.op == step.op && last.task == step.task) {
      last = step;
      return;
    }
  }
  steps_.push_back({step, object_name(step)});
}

std::string Trace::object_name(const sched::Step& step) {
  if (step.object == nullptr) return "";
  char text[sched::Names::kMostLetters + 1];
  if (sched::names().find(step.object, text)) return text;
  std::string& name = numbered_[step.object];
  if (name.empty()) {
    const char* kind = kind_of(step.op);
    name = std::string(kind) + " " + std::to_string(++counts_[kind]);
  }
  return name;
}

void Trace::put(std::string& out, const Named& named) const {
  const sched::Step& step = named.step;
  std::string values;
  if (step.text != nullptr && step.text[0] != '\0') {
    values = step.text;
  } else if (step.text != nullptr) {
    values = hex(step.before) + (step.before == step.after ? "" : " -> " + hex(step.after));
  }
  char line[400];
  std::snprintf(line, sizeof line, "%5u %c %*s%-*s %-9s %-16s %-36s %s:%u\n", step.number,
                step.preempts ? '!' : ' ', step.task * 3, "",
                static_cast<int>(12 + (sched::kMaxTasks - step.task) * 1),
                sched::scheduler().task_name(step.task), name_of(step.op), named.object.c_str(),
                values.c_str(), last_part(step.where.file_name()), step.where.line());
  out += line;
}

Cycle Trace::find_circle() const {
  std::vector<std::uint64_t> elements;
  for (const Named& named : steps_) elements.push_back(identity(named.step, named.object));
  return find_cycle(elements);
}

std::string Trace::text(bool circles) {
  Cycle cycle = circles ? find_circle() : Cycle{};
  if (2 * cycle.length * cycle.times < steps_.size()) cycle = {};  // the end of something else
  bool found = cycle.length != 0;
  std::size_t end = found ? cycle.begin : steps_.size(), most = found ? kBefore : kMostSteps;
  std::size_t first = end > most ? end - most : 0;
  std::string out;
  if (first > 0) out += "  (" + std::to_string(first) + " steps before these)\n";
  for (std::size_t i = first; i < end; ++i) put(out, steps_[i]);
  if (found) out += "  " + times(cycle);
  for (std::size_t i = 0; i < cycle.length; ++i) put(out, steps_[cycle.begin + i]);
  return out;
}

}  // namespace coldpress::testing
