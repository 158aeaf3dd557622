// Proves that a hot set in constant use and a large cold set seldom used both keep their content,
// that threads which fault on the same cold page at once all see it, and that no write is lost
// while pages leave and return.
//
//   cold_hot MIB [SEED [PASSES]]
#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

#include "content.h"

namespace coldtest {
namespace {

constexpr unsigned kWalkers = 3;
constexpr std::size_t kCounterPages = 512;

// A page of counters: one that all threads add to, one for each thread alone.
struct alignas(kPageSize) CounterPage {
  std::atomic<std::uint32_t> shared;
  std::uint32_t own[kWalkers];
};
static_assert(sizeof(CounterPage) == kPageSize);

class ColdHot {
 public:
  ColdHot(const Arguments& arguments, unsigned passes)
      : passes_(passes),
        pages_(arguments.pages() - kCounterPages),
        hot_pages_(pages_ / 16),
        rng_(arguments.seed),
        base_(map_pages(pages_)),
        keys_(pages_),
        counters_(reinterpret_cast<CounterPage*>(map_pages(kCounterPages))) {
    for (std::size_t i = 0; i < pages_; ++i) write(i);
  }

  void run() {
    std::thread hot([this] { use_hot_set(); });
    std::vector<std::thread> walkers;
    for (unsigned i = 0; i < kWalkers; ++i) walkers.emplace_back([this, i] { walk_cold_set(i); });
    for (std::thread& walker : walkers) walker.join();
    done_ = true;
    hot.join();
  }

  void verify_all(Digest& digest) {
    for (std::size_t i = 0; i < pages_; ++i) {
      check_page("at the end", page(i), keys_[i]);
      digest.add(i, keys_[i]);
    }
    for (std::size_t i = 0; i < kCounterPages; ++i) {
      const CounterPage& counters = counters_[i];
      bool right = counters.shared == passes_ * kWalkers;
      for (std::uint32_t own : counters.own) right = right && own == passes_;
      if (!right) {
        die("MISMATCH: counters of page %zu: shared %u of %u, own %u %u %u of %u", i, counters.shared.load(),
            passes_ * kWalkers, counters.own[0], counters.own[1], counters.own[2], passes_);
      }
      digest.add(i, counters.shared);
    }
  }

 private:
  Byte* page(std::size_t i) const { return base_ + i * kPageSize; }

  void write(std::size_t i) { fill_page(page(i), keys_[i] = rng_.page_key()); }

  // The first pages; only this thread writes them, and only every fourth.
  void use_hot_set() {
    for (std::size_t turn = 0; !done_; ++turn) {
      for (std::size_t i = 0; i < hot_pages_; ++i) {
        check_page("hot page", page(i), keys_[i]);
        if (i % 4 == 0) fill_page(page(i), keys_[i]);
      }
    }
  }

  // All walkers go the same way, so that they meet at the same pages.
  void walk_cold_set(unsigned self) {
    for (unsigned pass = 0; pass < passes_; ++pass) {
      together_.arrive_and_wait();
      for (std::size_t i = 0; i < kCounterPages; ++i) {
        ++counters_[i].shared;
        ++counters_[i].own[self];
      }
      for (std::size_t i = hot_pages_; i < pages_; ++i) check_page("cold page", page(i), keys_[i]);
      together_.arrive_and_wait();
      if (self != 0) continue;
      for (std::size_t i = hot_pages_; i < pages_; i += 16) write(i);
    }
  }

  unsigned passes_;
  std::size_t pages_;
  std::size_t hot_pages_;
  Rng rng_;
  Byte* base_;
  std::vector<std::uint64_t> keys_;
  CounterPage* counters_;
  std::atomic<bool> done_{false};
  std::barrier<> together_{kWalkers};
};

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  ColdHot program(arguments, argc > 3 ? static_cast<unsigned>(std::atoi(argv[3])) : 4);
  program.run();
  Digest digest;
  program.verify_all(digest);
  print_digest("cold_hot", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
