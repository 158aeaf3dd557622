// A failing execution in columns: step, tasks (one column each), operation, object, values, place.
//
// Objects are named by kind and number in the order in which they were met. Thread safety: none.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sync/sched/scheduler.h"

namespace coldpress::testing {

class Trace {
 public:
  void clear() { steps_.clear(); }
  // The same step again tells more of it.
  void add(const sched::Step& step);
  std::string text() const;

 private:
  std::vector<sched::Step> steps_;
};

}  // namespace coldpress::testing
