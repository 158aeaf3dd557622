// Stress on real memory, after the kernel's uffd-stress: threads bounce content that proves itself through
// all tiers (memory, pool, two devices), drop it and clone it, or meet to fault together on one page; others
// change limits and codecs, take devices away and give them back, and fork children that look at what they
// got. Any byte that is not what was written last ends it with exit status 1.
//
//   stress SECONDS [thread|signal] [SEED]
//
// Not one test but as many as it has time for: ctest runs it shortly, `script/test --stress MINUTES` for
// long.
#include <coldpress/pager.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include "../system/programs/content.h"
#include "burst.h"
#include "children.h"
#include "memory.h"

namespace coldtest {
namespace {

constexpr std::size_t kClonedPages = 4 * kMiB / kPageSize;
constexpr unsigned kBouncers = 3;

// A count that must go on.
struct Watched {
  const char* what;
  const std::atomic<std::uint64_t>& count;
  std::uint64_t seen = 0;
  Clock::time_point moved = Clock::now();

  void look() {
    if (std::uint64_t now = count; now != seen) {
      seen = now;
      moved = Clock::now();
    }
    if (Clock::now() - moved > kPatience) die("FAILED: no %s for two minutes", what);
  }
};

class Stress {
 public:
  Stress(coldpress::Pager& pager, std::uint64_t seed, std::string file)
      : pager_(pager), seed_(seed), file_(std::move(file)) {}

  void run(std::chrono::seconds time) {
    for (unsigned i = 0; i < kBouncers; ++i) start([this, i] { bounce(Rng(seed_ + i)); });
    start([this] { burst_.lead(Rng(seed_ + 99), stop_); });
    for (unsigned i = 1; i < Burst::kThreads; ++i) start([this, i] { burst_.follow(i); });
    start([this] { clone(Rng(seed_ + 100)); });
    start([this] { order(Rng(seed_ + 101)); });
    start([this] { fork_now_and_then(Rng(seed_ + 102)); });
    watch(time);
    stop();
    for (std::size_t run = 0; run < kRuns; ++run) memory_.check_run(run);
    std::printf(
        "stress: %lu pages checked, %lu written, %lu runs dropped, %lu bursts, %lu clones, %lu forks, %lu "
        "pages checked there, %lu orders, %lu swapoffs\n",
        counts_.checked.load(), counts_.written.load(), counts_.dropped.load(), counts_.bursts.load(),
        counts_.clones.load(), counts_.forks.load(), counts_.checked_by_children.load(),
        counts_.orders.load(), counts_.swapoffs.load());
  }

 private:
  template <typename Body>
  void start(Body body) {
    ++running_;
    threads_.emplace_back([this, body] {
      body();
      --running_;
    });
  }

  // Ends a run in which something stands still: that is a hang, not a slow machine.
  void watch(std::chrono::seconds time) {
    Watched watched[] = {{"page is checked", counts_.checked},
                         {"burst ends", counts_.bursts},
                         {"child ends", counts_.forks},
                         {"order ends", counts_.orders}};
    for (auto end = Clock::now() + time; Clock::now() < end;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      for (Watched& each : watched) each.look();
    }
  }

  void stop() {
    stop_ = true;
    for (auto end = Clock::now() + kPatience; running_ > 0;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (Clock::now() > end) die("FAILED: %u threads do not end", running_.load());
    }
    for (std::thread& thread : threads_) thread.join();
  }

  void bounce(Rng rng) {
    while (!stop_) {
      std::size_t run = rng.one_in(4) ? rng.below(kRuns) : rng.below(kRuns / 4);
      if (rng.one_in(64)) {
        stream(run);
      } else if (rng.one_in(4)) {
        std::shared_lock lock(memory_.lock_of(run));
        memory_.check_run(run);
        counts_.checked += kRun;
      } else {
        std::unique_lock lock(memory_.lock_of(run));
        use(run, rng);
        advise(run, rng);
      }
    }
  }

  // Reads upwards, far enough for readahead at its full width, whose pages keep their copies.
  void stream(std::size_t run) {
    constexpr std::size_t kLength = 24;
    for (std::size_t i = run; i < std::min(run + kLength, kRuns); ++i) {
      std::shared_lock lock(memory_.lock_of(i));
      memory_.check_run(i);
      counts_.checked += kRun;
    }
  }

  void use(std::size_t run, Rng& rng) {
    for (std::size_t page = run * kRun; page < (run + 1) * kRun; ++page) {
      memory_.check(page);
      ++counts_.checked;
      if (!rng.one_in(3)) continue;
      memory_.write(page, rng.page_key());
      ++counts_.written;
    }
  }

  void advise(std::size_t run, Rng& rng) {
    std::size_t offset = run * kRunBytes;
    if (rng.one_in(64)) memory_.cold(run);
    if (rng.one_in(64)) memory_.region().deactivate(offset, kRunBytes);
    if (rng.one_in(128)) memory_.region().willneed(offset, kRunBytes);
    if (rng.one_in(64)) {
      memory_.drop(run);
      ++counts_.dropped;
    }
    if (rng.one_in(256)) {
      require(memory_.region().pin(offset, kRunBytes), "pin");
      memory_.check_run(run);
      memory_.region().unpin(offset, kRunBytes);
    }
  }

  // A region of its own, so that a clone's content is known; both are written to afterwards.
  void clone(Rng rng) {
    Memory source(pager_, "cloned", kClonedPages);
    while (!stop_) {
      for (std::size_t page = 0; page < kClonedPages; ++page) {
        if (rng.one_in(4)) source.write(page, rng.page_key());
      }
      if (rng.one_in(2)) source.region().cold(0, kClonedPages * kPageSize);
      coldpress::Region copy = source.region().clone();
      if (!copy) continue;  // no memory for it now
      auto* bytes = static_cast<Byte*>(copy.data());
      for (std::size_t page = 0; page < kClonedPages; ++page) {
        if (rng.one_in(8)) {
          std::uint64_t key = rng.page_key();
          fill_page(bytes + page * kPageSize, key);
          check_page("clone", bytes + page * kPageSize, key);
        } else {
          check_page("clone", bytes + page * kPageSize, source.key(page));
        }
        source.check(page);
      }
      ++counts_.clones;
    }
  }

  // What is refused (no room elsewhere, nothing to do) is refused; what is broken shows in the content.
  void order(Rng rng) {
    while (!stop_) {
      switch (rng.below(9)) {
        case 0:
        case 1:
          require(pager_.set_limit((24 + rng.below(40)) * kMiB).empty(), "set_limit");
          break;
        case 2:
          (void)pager_.reclaim((1 + rng.below(16)) * kMiB);
          break;
        case 3:
          (void)pager_.writeback((1 + rng.below(8)) * kMiB);
          break;
        case 4:
          require(pager_.set(rng.one_in(2) ? "codec=lz4" : "codec=zstd:1").empty(), "set codec");
          break;
        case 5:
          require(pager_.set("max_pool_percent=" + std::to_string(5 + rng.below(90))).empty(), "set pool");
          break;
        case 6:
          require(pager_.set(rng.one_in(2) ? "shrinker=1" : "shrinker=0").empty(), "set shrinker");
          break;
        default: {
          std::string device = rng.one_in(2) ? "ram" : file_;
          if (!pager_.swapoff(device).empty()) break;
          ++counts_.swapoffs;
          require(pager_.swapon(device == "ram" ? "ram:64M" : file_ + ",size=128M").empty(), "swapon");
          unlink(file_.c_str());
        }
      }
      ++counts_.orders;
      std::this_thread::sleep_for(std::chrono::milliseconds(rng.below(20)));
    }
  }

  // The child gets all that is out, from wherever it is, while everybody waits: so not often.
  void fork_now_and_then(Rng rng) {
    for (unsigned tenths = 0; !stop_; ++tenths) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (tenths % 20 == 5) children_.fork_one(rng);
    }
  }

  coldpress::Pager& pager_;
  std::uint64_t seed_;
  std::string file_;
  Memory memory_{pager_, "region", kPages};
  Counts counts_;
  Burst burst_{memory_, counts_};
  Children children_{memory_, counts_};
  std::atomic<bool> stop_{false};
  std::atomic<unsigned> running_{0};
  std::vector<std::thread> threads_;
};

int stress(long seconds, bool signal, std::uint64_t seed) {
  char directory[] = "/var/tmp/coldpress-stress-XXXXXX";
  require(mkdtemp(directory) != nullptr, "a directory");
  std::string file = std::string(directory) + "/swap";
  coldpress::PagerOptions options{.limit_bytes = 32 * kMiB};
  options.swap = {"ram:64M", file + ",size=128M"};
  options.max_pool_percent = 30;
  if (signal) options.fault_path = coldpress::FaultPath::kSignal;
  auto opened = coldpress::Pager::open(options);
  unlink(file.c_str());  // it is open, or never was
  if (!opened) {
    rmdir(directory);
    std::printf("skipped: %s\n", opened.error.c_str());
    return 77;
  }
  Stress(*opened.pager, seed, file).run(std::chrono::seconds(seconds));
  for (int tries = 0; opened.pager->statistics().stored_pages + opened.pager->statistics().swap_pages > 0;) {
    require(++tries < 2000, "nothing is left");
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  auto end = opened.pager->statistics();
  require(end.decompress_fail == 0 && end.swap_read_fail == 0, "nothing was damaged");
  std::printf("stress: %lu faults, %lu from the pool, %lu from devices, %lu to them; whole\n", end.pgfault,
              end.zswpin, end.pswpin, end.pswpout);
  opened.pager.reset();
  unlink(file.c_str());
  rmdir(directory);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) {
  if (argc < 2 || std::atol(argv[1]) <= 0) {
    std::fprintf(stderr, "usage: %s SECONDS [thread|signal] [SEED]\n", argv[0]);
    return 2;
  }
  bool signal = argc > 2 && std::strcmp(argv[2], "signal") == 0;
  return coldtest::stress(std::atol(argv[1]), signal,
                          argc > 3 ? std::strtoull(argv[3], nullptr, 0) : coldtest::kDefaultSeed);
}
