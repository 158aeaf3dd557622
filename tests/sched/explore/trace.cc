#include "sched/explore/trace.h"

#include <cstdio>
#include <cstring>

namespace coldpress::testing {
namespace {

using sched::Op;

constexpr std::size_t kMostSteps = 400;  // the last ones are shown

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
      return "word";
    default:
      return "atomic";
  }
}

const char* last_part(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash != nullptr ? slash + 1 : path;
}

}  // namespace

void Trace::add(const sched::Step& step) {
  if (!steps_.empty() && step.text != nullptr && step.text[0] == '\0' &&
      steps_.back().number == step.number && steps_.back().op == step.op && steps_.back().task == step.task) {
    steps_.back() = step;
  } else {
    steps_.push_back(step);
  }
}

std::string Trace::text() const {
  std::map<const void*, std::string> names;
  std::map<std::string, int> counts;
  std::string out;
  std::size_t first = steps_.size() > kMostSteps ? steps_.size() - kMostSteps : 0;
  if (first > 0) out += "  (" + std::to_string(first) + " steps before these)\n";
  for (std::size_t i = first; i < steps_.size(); ++i) {
    const sched::Step& step = steps_[i];
    std::string object;
    if (step.object != nullptr) {
      std::string& name = names[step.object];
      if (name.empty()) {
        const char* kind = kind_of(step.op);
        name = std::string(kind) + " " + std::to_string(++counts[kind]);
      }
      object = name;
    }
    std::string values;
    bool has_values = step.text != nullptr && step.text[0] == '\0';
    char buffer[256];
    if (has_values) {
      if (step.before == step.after) {
        std::snprintf(buffer, sizeof buffer, "%llx", static_cast<unsigned long long>(step.after));
      } else {
        std::snprintf(buffer, sizeof buffer, "%llx -> %llx", static_cast<unsigned long long>(step.before),
                      static_cast<unsigned long long>(step.after));
      }
      values = buffer;
    } else if (step.text != nullptr) {
      values = step.text;
    }
    std::snprintf(buffer, sizeof buffer, "%5u %c %*s%-*s %-9s %-10s %-36s %s:%u\n", step.number,
                  step.preempts ? '!' : ' ', step.task * 3, "",
                  static_cast<int>(12 + (sched::kMaxTasks - step.task) * 1),
                  sched::scheduler().task_name(step.task), name_of(step.op), object.c_str(), values.c_str(),
                  last_part(step.where.file_name()), step.where.line());
    out += buffer;
  }
  return out;
}

}  // namespace coldpress::testing
