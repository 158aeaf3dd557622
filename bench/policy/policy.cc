// Policies of reclaim on recorded traces: how many loads (major faults) and put-backs (minor faults) each
// takes.
//
//   policy TRACE... [--percent 50]
//
// Memory is counted in pages, resident and resting together; what the pool takes is left out, the same for
// all. `belady` knows the future: no policy can have fewer loads. `lru` and `clock` see every access, as
// hardware does for the kernel; all others see only what an engine in user space sees: faults, and which
// pages were written.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <deque>
#include <filesystem>
#include <functional>
#include <list>
#include <set>

#include "trace.h"

namespace coldbench {
namespace {

struct Cost {
  std::uint64_t loads = 0, put_backs = 0, scans = 0;
};

Cost belady(const Trace& trace, std::uint32_t frames) {
  constexpr std::uint32_t kNever = ~0u;
  auto count = static_cast<std::uint32_t>(trace.touches.size());
  std::vector<std::uint32_t> next(count), last(trace.pages, kNever);
  for (std::uint32_t i = count; i-- > 0;) {
    next[i] = last[trace.touches[i].page];
    last[trace.touches[i].page] = i;
  }
  Cost cost;
  std::set<std::pair<std::uint32_t, std::uint32_t>> resident;  // next use, page
  std::vector<std::uint32_t> key(trace.pages, 0);
  std::vector<bool> in(trace.pages), seen(trace.pages);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::uint32_t page = trace.touches[i].page;
    if (in[page]) {
      resident.erase({key[page], page});
    } else {
      if (seen[page]) ++cost.loads;
      if (resident.size() >= frames) {
        auto victim = std::prev(resident.end());
        in[victim->second] = false;
        resident.erase(victim);
      }
    }
    in[page] = seen[page] = true;
    key[page] = next[i];
    resident.insert({next[i], page});
  }
  return cost;
}

Cost lru(const Trace& trace, std::uint32_t frames) {
  Cost cost;
  std::list<std::uint32_t> order;
  std::vector<std::list<std::uint32_t>::iterator> where(trace.pages, order.end());
  std::vector<bool> seen(trace.pages);
  for (const Touch& touch : trace.touches) {
    if (where[touch.page] != order.end()) {
      order.splice(order.begin(), order, where[touch.page]);
      continue;
    }
    if (seen[touch.page]) ++cost.loads;
    seen[touch.page] = true;
    if (order.size() >= frames) {
      where[order.back()] = order.end();
      order.pop_back();
    }
    order.push_front(touch.page);
    where[touch.page] = order.begin();
  }
  return cost;
}

// What the engine does, and what it might do.
struct HandOptions {
  double rest = 1.0 / 32;    // of the frames, that rest
  double soon = 1;           // of the frames: who comes back within so many captures came back too soon
  bool backoff = true;       // pages that came back are passed over for longer
  bool written = false;      // and pages written since the hand came by
  bool reads_count = false;  // an ideal: accesses instead of writes
  unsigned max_backoff = 7;
  bool decay = true;
  std::uint32_t batch = 32;
  bool young_first = false;  // two queues: what never came back goes first
};

class Hand {
 public:
  Hand(const Trace& trace, std::uint32_t frames, const HandOptions& options)
      : options_(options),
        frames_(frames),
        state_(trace.pages, kNew),
        backoff_(trace.pages),
        skip_(trace.pages),
        used_(trace.pages),
        left_at_(trace.pages),
        rest_target_(static_cast<std::uint32_t>(frames * options.rest)) {
    for (const Touch& touch : trace.touches) access(touch);
  }
  const Cost& cost() const { return cost_; }

 private:
  enum State : std::uint8_t { kNew, kResident, kResting, kOut };

  void access(const Touch& touch) {
    std::uint32_t page = touch.page;
    switch (state_[page]) {
      case kResident:
        break;
      case kResting:
        ++cost_.put_backs;
        --resting_;
        activate(page);
        enter(page);
        break;
      case kOut: {
        ++cost_.loads;
        std::uint64_t distance = captures_ - left_at_[page];
        if (static_cast<double>(distance) <= frames_ * options_.soon) {
          activate(page);
        } else {
          if (options_.decay && backoff_[page] > 0) --backoff_[page];
          skip_[page] = options_.backoff ? 1 : 0;
        }
        enter(page);
        break;
      }
      case kNew:
        enter(page);
        break;
    }
    if (touch.write || options_.reads_count) used_[page] = true;
  }

  void enter(std::uint32_t page) {
    state_[page] = kResident;
    used_[page] = true;
    ++resident_;
    while (resident_ + resting_ > frames_) make_room();
  }

  void activate(std::uint32_t page) {
    if (!options_.backoff) return;
    if (backoff_[page] < options_.max_backoff) ++backoff_[page];
    skip_[page] = static_cast<std::uint8_t>((1u << backoff_[page]) - 1);
  }

  void make_room() {
    if (resting_ <= rest_target_) capture();
    while (!queue_.empty() && (resting_ > rest_target_ || resident_ + resting_ > frames_)) {
      auto [page, number] = queue_.front();
      queue_.pop_front();
      if (state_[page] != kResting || left_at_[page] != number) continue;
      state_[page] = kOut;
      --resting_;
      if (resident_ + resting_ <= frames_ && resting_ <= rest_target_) break;
    }
  }

  void capture() {
    std::uint32_t taken = 0;
    for (std::uint64_t looked = 0; taken < options_.batch && looked < 300ull * state_.size(); ++looked) {
      hand_ = hand_ + 1 < state_.size() ? hand_ + 1 : 0;
      if (state_[hand_] != kResident) continue;
      ++cost_.scans;
      if (skip_[hand_] > 0) {
        --skip_[hand_];
        continue;
      }
      if ((options_.written || options_.reads_count) && used_[hand_]) {
        used_[hand_] = false;
        continue;
      }
      state_[hand_] = kResting;
      left_at_[hand_] = ++captures_;
      queue_.push_back({hand_, captures_});
      --resident_;
      ++resting_;
      ++taken;
    }
  }

  HandOptions options_;
  std::uint32_t frames_;
  Cost cost_;
  std::vector<State> state_;
  std::vector<std::uint8_t> backoff_, skip_;
  std::vector<bool> used_;
  std::vector<std::uint64_t> left_at_;
  std::deque<std::pair<std::uint32_t, std::uint64_t>> queue_;
  std::uint32_t rest_target_, resident_ = 0, resting_ = 0;
  std::size_t hand_ = 0;
  std::uint64_t captures_ = 0;
};

using Policy = std::function<Cost(const Trace&, std::uint32_t)>;

Policy hand(const HandOptions& options) {
  return [options](const Trace& trace, std::uint32_t frames) { return Hand(trace, frames, options).cost(); };
}

const std::vector<std::pair<const char*, Policy>>& policies() {
  static const std::vector<std::pair<const char*, Policy>> kAll = {
      {"belady", &belady},
      {"lru", &lru},
      {"clock (sees accesses)", hand({.rest = 0, .backoff = false, .reads_count = true, .batch = 1})},
      {"first in first out", hand({.rest = 0, .backoff = false})},
      {"rest 1/32", hand({.backoff = false})},
      {"rest 1/4", hand({.rest = 0.25, .backoff = false})},
      {"the engine's: rest 1/32, back-off within 40/64", hand({.soon = 40.0 / 64})},
      {"rest 1/32, back-off within 24/64", hand({.soon = 24.0 / 64})},
      {"rest 1/32, back-off within 64/64", hand({})},
      {"rest 1/8, back-off", hand({.rest = 0.125})},
      {"rest 1/4, back-off", hand({.rest = 0.25})},
      {"rest 1/32, back-off 3", hand({.max_backoff = 3})},
      {"rest 1/32, written", hand({.backoff = false, .written = true})},
      {"rest 1/32, back-off, written", hand({.written = true})},
      {"rest 1/8, back-off, written", hand({.rest = 0.125, .written = true})},
      {"rest 1/8, back-off 3, written", hand({.rest = 0.125, .written = true, .max_backoff = 3})},
      {"rest 1/4, written", hand({.rest = 0.25, .backoff = false, .written = true})},
  };
  return kAll;
}

}  // namespace
}  // namespace coldbench

int main(int argc, char** argv) {
  std::vector<std::string> traces;
  std::vector<unsigned> percents = {50};
  CLI::App app("Policies of reclaim on recorded traces");
  app.add_option("TRACE", traces)->required()->check(CLI::ExistingFile);
  app.add_option("--percent", percents, "memory, of the pages touched")->delimiter(',');
  CLI11_PARSE(app, argc, argv);
  for (const std::string& path : traces) {
    coldbench::Trace trace = coldbench::Trace::read(path);
    for (unsigned percent : percents) {
      auto frames = static_cast<std::uint32_t>(std::uint64_t{trace.pages} * percent / 100 + 1);
      std::printf(
          "\n%s at %u %%: %u pages, %zu touches\n\n| policy | loads | of belady | put back | looked at |\n"
          "|---|---:|---:|---:|---:|\n",
          std::filesystem::path(path).stem().stem().c_str(), percent, trace.pages, trace.touches.size());
      double floor = 0;
      for (const auto& [name, policy] : coldbench::policies()) {
        coldbench::Cost cost = policy(trace, frames);
        if (floor == 0) floor = static_cast<double>(cost.loads > 0 ? cost.loads : 1);
        std::printf("| %s | %llu | %.2f | %llu | %llu |\n", name, static_cast<unsigned long long>(cost.loads),
                    static_cast<double>(cost.loads) / floor, static_cast<unsigned long long>(cost.put_backs),
                    static_cast<unsigned long long>(cost.scans));
      }
    }
  }
  return 0;
}
