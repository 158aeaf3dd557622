// A failing execution in columns: step, tasks (one column each), operation, object, values old and new,
// place.
//
// Objects that have no name (sync/sched/names.h) are numbered by kind in the order in which they were met. Of
// an execution that went round in circles the circle is shown, once. Thread safety: none.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sync/sched/scheduler.h"

namespace coldpress::testing {

// How a sequence ends: the same `length` elements `times` times, and then no more than a part of them.
// `begin`: of the first time. length 0: it does not.
struct Cycle {
  std::size_t begin = 0, length = 0, times = 0;
};
// The shortest one; a few equal elements at the end of a longer one are none.
Cycle find_cycle(const std::vector<std::uint64_t>& elements);

class Trace {
 public:
  void clear();
  // The same step again tells more of it.
  void add(const sched::Step& step);
  // `circles`: it did not end.
  std::string text(bool circles = false);

 private:
  struct Named {
    sched::Step step;
    std::string object;
  };
  std::string object_name(const sched::Step& step);
  Cycle find_circle() const;
  void put(std::string& out, const Named& named) const;

  std::vector<Named> steps_;
  std::map<const void*, std::string> numbered_;
  std::map<std::string, int> counts_;
};

}  // namespace coldpress::testing
