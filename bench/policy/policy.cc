// Policies of reclaim on recorded traces: how many loads (major faults) and put-backs (minor faults) each
// takes.
//
//   policy TRACE... [--percent 50]
//
// Memory is counted in pages, resident and resting together; what the pool takes is left out, the same for
// all. `belady` knows the future: no policy can have fewer loads. `lru` and `clock` see every access, as
// hardware does for the kernel; all others see only what an engine in user space sees: faults, which pages
// were written, and (by /proc) which chunks were accessed. A table for all traces; Belady's is checked to be
// the floor.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <list>
#include <set>

#include "hands.h"

namespace coldbench {
namespace {

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

using Policy = std::function<Cost(const Trace&, std::uint32_t)>;

Policy hand(const HandOptions& options) {
  return [options](const Trace& trace, std::uint32_t frames) { return Hand(trace, frames, options).cost(); };
}

Policy two_queues(double rest, double probation) {
  return [=](const Trace& trace, std::uint32_t frames) {
    return TwoQueues(trace, frames, rest, probation).cost();
  };
}

Policy by_arrival(double rest, unsigned most_backoff) {
  return [=](const Trace& trace, std::uint32_t frames) {
    return ByArrival(trace, frames, rest, most_backoff).cost();
  };
}

const std::vector<std::pair<const char*, Policy>>& policies() {
  static const std::vector<std::pair<const char*, Policy>> kAll = {
      {"Belady's", &belady},
      {"least recently used", &lru},
      {"clock", hand({.rest = 0, .backoff = false, .reads_count = true, .batch = 1})},
      {"round the addresses, no second chance", hand({.rest = 0, .backoff = false})},
      {"a rest of 1/32", hand({.backoff = false})},
      {"a rest of 1/4", hand({.rest = 0.25, .backoff = false})},
      {"back-off, back within 64/64 is too soon", hand({})},
      {"back-off, 24/64", hand({.soon = 24.0 / 64})},
      {"the engine's: back-off, 40/64", hand({.soon = kSoon})},
      {"the engine's, and written bits", hand({.soon = kSoon, .written = true})},
      {"the engine's, a rest of 1/8", hand({.rest = 0.125, .soon = kSoon})},
      {"the engine's, by the age of chunks", hand({.soon = kSoon, .chunk = 32})},
      {"by age, ages of 1/2 at most", hand({.soon = kSoon, .chunk = 32, .young = 0.5})},
      {"by age, a rest of 1/8", hand({.rest = 0.125, .soon = kSoon, .chunk = 32})},
      {"the engine's, accessed bits of 64 KiB", hand({.soon = kSoon, .accessed = 16})},
      {"the engine's, accessed bits of 256 KiB", hand({.soon = kSoon, .accessed = 64})},
      {"the engine's, accessed bits of 2 MiB", hand({.soon = kSoon, .accessed = 512})},
      {"in the order of arrival, back-off", by_arrival(1.0 / 32, 7)},
      {"two queues, probation of 1/10", two_queues(1.0 / 32, 0.1)},
      {"two queues, probation of 1/4", two_queues(1.0 / 32, 0.25)},
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
  for (unsigned percent : percents) {
    std::vector<std::vector<coldbench::Cost>> costs;
    std::string head, line;
    for (const std::string& path : traces) {
      coldbench::Trace trace = coldbench::Trace::read(path);
      auto frames = static_cast<std::uint32_t>(std::uint64_t{trace.pages} * percent / 100 + 1);
      head += " | " + std::filesystem::path(path).stem().stem().string() + ", " +
              std::to_string(trace.pages >> 8) + " MiB";
      line += "---:|";
      costs.emplace_back();
      for (const auto& [name, policy] : coldbench::policies()) costs.back().push_back(policy(trace, frames));
      // Nothing is better than what knows the future: else one of the two is wrong.
      for (const coldbench::Cost& cost : costs.back()) {
        if (cost.loads >= costs.back()[0].loads) continue;
        std::fprintf(stderr, "%s: a policy has fewer loads than Belady's\n", path.c_str());
        return 1;
      }
    }
    std::printf("\n| %u %%: loads, put back%s |\n|---|%s\n", percent, head.c_str(), line.c_str());
    for (std::size_t i = 0; i < coldbench::policies().size(); ++i) {
      std::printf("| %s", coldbench::policies()[i].first);
      for (const auto& of_trace : costs) {
        std::printf(" | %llu, %llu", static_cast<unsigned long long>(of_trace[i].loads),
                    static_cast<unsigned long long>(of_trace[i].put_backs));
      }
      std::printf(" |\n");
    }
  }
  return 0;
}
