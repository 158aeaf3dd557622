#include "sched/explore/strategies.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <numeric>

namespace coldpress::testing {
namespace {
// Of choices that cost something but no task can take at once: deadlines, surprises, errors.
constexpr std::uint32_t kSeldom = 16;
constexpr std::size_t kMostChoices = 1 << 20;
}  // namespace

std::uint32_t DepthFirst::choose(const sched::Question& question) {
  // Where surprises can be afforded and preemptions can not, those between are left out.
  std::uint32_t first = used_ < bound_ ? question.surprise : question.free;
  std::uint32_t allowed = first + (surprised_ < surprises_ ? question.count - question.surprise : 0);
  if (allowed < 2) return 0;
  if (depth_ == path_.size()) path_.push_back({0, allowed});
  Node& node = path_[depth_++];
  if (node.allowed != allowed) {
    sched::scheduler().fail("the same choices have led elsewhere: something else than choose() decides");
  }
  std::uint32_t chosen = node.chosen < first ? node.chosen : node.chosen - first + question.surprise;
  if (chosen >= question.surprise) {
    ++surprised_;
  } else if (chosen >= question.free) {
    ++used_;
  }
  return chosen;
}

bool DepthFirst::next() {
  if (depth_ != path_.size()) {
    sched::scheduler().fail("the same choices have ended earlier: something else than choose() decides");
  }
  while (!path_.empty() && path_.back().chosen + 1 == path_.back().allowed) path_.pop_back();
  if (path_.empty()) return false;
  ++path_.back().chosen;
  return true;
}

std::uint32_t AtRandom::choose(const sched::Question& question) {
  std::uint32_t likely = question.kind == sched::Kind::kTask ? question.can_run : question.free;
  return static_cast<std::uint32_t>(random_.below(random_.one_in(kSeldom) ? question.count : likely));
}

void ByPriority::begin() {
  longest_ = std::max(longest_, asked_);
  asked_ = 0;
  std::iota(priority_, priority_ + sched::kMaxTasks, depth_);
  for (std::uint32_t i = sched::kMaxTasks; i > 1; --i)
    std::swap(priority_[i - 1], priority_[random_.below(i)]);
  changes_.clear();
  for (std::uint64_t i = left_ % depth_; i > 0; --i) {
    changes_.push_back(static_cast<std::uint32_t>(random_.below(longest_)));
  }
  std::sort(changes_.begin(), changes_.end(), std::greater<>());
}

std::uint32_t ByPriority::choose(const sched::Question& question) {
  if (question.kind != sched::Kind::kTask) {
    return static_cast<std::uint32_t>(
        random_.below(random_.one_in(kSeldom) ? question.count : question.free));
  }
  ++asked_;
  bool timers = question.count > question.can_run;
  if (timers && (question.can_run == 0 || random_.one_in(kSeldom * kSeldom))) {
    return static_cast<std::uint32_t>(random_.below(question.count));
  }
  auto leader = [&] {
    std::uint32_t best = 0;
    for (std::uint32_t i = 1; i < question.can_run; ++i) {
      if (priority_[question.tasks[i]] > priority_[question.tasks[best]]) best = i;
    }
    return best;
  };
  while (!changes_.empty() && changes_.back() < asked_) {
    changes_.pop_back();
    priority_[question.tasks[leader()]] = static_cast<std::uint32_t>(changes_.size());
  }
  return leader();
}

std::uint32_t Again::choose(const sched::Question& question) {
  std::uint32_t chosen = at_ < choices_.size() ? choices_[at_] : 0;
  ++at_;
  if (chosen >= question.count && lenient_) return 0;
  if (chosen >= question.count) {
    sched::scheduler().fail("this replay is of another program: there are not so many alternatives");
  }
  return chosen;
}

std::string choices_text(const std::vector<std::uint8_t>& choices) {
  std::string text;
  std::size_t zeros = 0;
  for (std::uint8_t choice : choices) {
    if (choice == 0) {
      ++zeros;
      continue;
    }
    text += (text.empty() ? "" : ",") + std::to_string(zeros) + ":" + std::to_string(choice);
    zeros = 0;
  }
  return text.empty() ? "-" : text;
}

bool parse_choices(const std::string& text, std::vector<std::uint8_t>& choices) {
  choices.clear();
  if (text == "-") return true;
  const char* at = text.c_str();
  for (;;) {
    char* end;
    unsigned long zeros = std::strtoul(at, &end, 10);
    if (end == at || *end != ':' || zeros > kMostChoices) return false;
    at = end + 1;
    unsigned long choice = std::strtoul(at, &end, 10);
    if (end == at || choice == 0 || choice > 255) return false;
    choices.resize(choices.size() + zeros);
    choices.push_back(static_cast<std::uint8_t>(choice));
    if (*end == '\0') return true;
    if (*end != ',' || choices.size() > kMostChoices) return false;
    at = end + 1;
  }
}

}  // namespace coldpress::testing
