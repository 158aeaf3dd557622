// Ways through the tree of choices: depth first with bounds on preemptions and on surprises, at random, by
// random priorities, and one way again.
//
// Depth first needs no more memory than one path: the choices of the last execution, counted up like an
// odometer. With bounds 0, 1, 2 ... the first that fails gives a schedule with few switches.
// Priorities: S. Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding bugs"
// (PCT): a random order of the tasks, and d - 1 moments at which the running one falls behind all others; d
// goes round from 1 to the depth that is asked for.
//
// Thread safety: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sync/sched/scheduler.h"
#include "unit/random.h"

namespace coldpress::testing {

class SearchStrategy : public sched::Strategy {
 public:
  virtual ~SearchStrategy() = default;
  virtual void begin() = 0;
  // After an execution. false: there is nothing left to try.
  virtual bool next() = 0;
};

class DepthFirst final : public SearchStrategy {
 public:
  DepthFirst(std::uint32_t bound, std::uint32_t surprises) : bound_(bound), surprises_(surprises) {}
  void begin() override { depth_ = used_ = surprised_ = 0; }
  bool next() override;
  std::uint32_t choose(const sched::Question& question) override;

 private:
  struct Node {
    std::uint32_t chosen, allowed;
  };
  std::uint32_t bound_, surprises_, used_ = 0, surprised_ = 0;
  std::size_t depth_ = 0;
  std::vector<Node> path_;
};

class AtRandom final : public SearchStrategy {
 public:
  AtRandom(std::uint64_t seed, std::uint64_t executions) : random_(seed), left_(executions) {}
  void begin() override {}
  bool next() override { return --left_ > 0; }
  std::uint32_t choose(const sched::Question& question) override;

 private:
  Random random_;
  std::uint64_t left_;
};

class ByPriority final : public SearchStrategy {
 public:
  ByPriority(std::uint64_t seed, std::uint64_t executions, std::uint32_t depth)
      : random_(seed), left_(executions), depth_(depth) {}
  void begin() override;
  bool next() override { return --left_ > 0; }
  std::uint32_t choose(const sched::Question& question) override;

 private:
  Random random_;
  std::uint64_t left_;
  std::uint32_t depth_;
  std::uint32_t asked_ = 0, longest_ = 1;
  std::uint32_t priority_[sched::kMaxTasks] = {};
  std::vector<std::uint32_t> changes_;  // at which question the leader falls behind, ascending
};

class Again final : public SearchStrategy {
 public:
  Again(std::vector<std::uint8_t> choices, bool lenient) : choices_(std::move(choices)), lenient_(lenient) {}
  void begin() override { at_ = 0; }
  bool next() override { return false; }
  std::uint32_t choose(const sched::Question& question) override;

 private:
  std::vector<std::uint8_t> choices_;
  bool lenient_;
  std::size_t at_ = 0;
};

// A list of choices as text: for each that is not 0, how many zeros come before it and what it is.
std::string choices_text(const std::vector<std::uint8_t>& choices);
// false: not such a text.
bool parse_choices(const std::string& text, std::vector<std::uint8_t>& choices);

}  // namespace coldpress::testing
