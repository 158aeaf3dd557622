// Stress on real memory, after the kernel's uffd-stress: threads bounce content that proves itself through
// all tiers (memory, pool, two devices), drop it and clone it, while others change limits and codecs, take
// devices away and give them back, and fork. Any byte that is not what was written last ends it with exit
// status 1.
//
//   stress SECONDS [thread|signal] [SEED]
//
// Not one test but as many as it has time for: ctest runs it shortly, `script/test --stress MINUTES` for
// long.
#include <coldpress/pager.h>
#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "../system/programs/content.h"

namespace coldtest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kPages = 64 * kMiB / kPageSize, kRun = 16, kRuns = kPages / kRun;
constexpr std::size_t kClonedPages = 4 * kMiB / kPageSize;
constexpr unsigned kBouncers = 3;

struct Counts {
  std::atomic<std::uint64_t> checked{0}, written{0}, dropped{0}, clones{0}, forks{0}, orders{0}, swapoffs{0};
};

// Pages in runs; a lock for each run, and the key that each page holds.
class Memory {
 public:
  Memory(coldpress::Pager& pager, const char* name, std::size_t pages)
      : name_(name), region_(pager.map(pages * kPageSize)), locks_(pages / kRun), keys_(pages) {
    require(bool(region_), "a region");
  }
  Byte* at(std::size_t page) const { return static_cast<Byte*>(region_.data()) + page * kPageSize; }
  coldpress::Region& region() { return region_; }
  std::mutex& lock_of(std::size_t run) { return locks_[run]; }
  std::size_t runs() const { return locks_.size(); }

  // With the run's lock held.
  void check(std::size_t page) const { check_page(name_, at(page), keys_[page]); }
  void write(std::size_t page, std::uint64_t key) {
    fill_page(at(page), key);
    keys_[page] = key;
  }
  void drop(std::size_t run) {
    region_.drop(run * kRun * kPageSize, kRun * kPageSize);
    for (std::size_t page = run * kRun; page < (run + 1) * kRun; ++page) keys_[page] = 0;
  }
  std::uint64_t key(std::size_t page) const { return keys_[page]; }

 private:
  const char* name_;
  coldpress::Region region_;
  std::deque<std::mutex> locks_;
  std::vector<std::uint64_t> keys_;
};

class Stress {
 public:
  Stress(coldpress::Pager& pager, std::uint64_t seed, std::string file)
      : pager_(pager), seed_(seed), file_(std::move(file)) {}

  void run(std::chrono::seconds time) {
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kBouncers; ++i) threads.emplace_back([this, i] { bounce(Rng(seed_ + i)); });
    threads.emplace_back([this] { clone(Rng(seed_ + 100)); });
    threads.emplace_back([this] { order(Rng(seed_ + 101)); });
    threads.emplace_back([this] { fork_now_and_then(); });
    watch(time);
    stop_ = true;
    for (std::thread& thread : threads) thread.join();
    for (std::size_t page = 0; page < kPages; ++page) memory_.check(page);
    std::printf(
        "stress: %lu pages checked, %lu written, %lu runs dropped, %lu clones, %lu forks, %lu orders, "
        "%lu swapoffs\n",
        counts_.checked.load(), counts_.written.load(), counts_.dropped.load(), counts_.clones.load(),
        counts_.forks.load(), counts_.orders.load(), counts_.swapoffs.load());
  }

 private:
  // Ends a run that stands still: that is a hang, not a slow machine.
  void watch(std::chrono::seconds time) {
    constexpr auto kPatience = std::chrono::seconds(60);
    std::uint64_t seen = 0;
    auto moved = Clock::now();
    for (auto end = Clock::now() + time; Clock::now() < end;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (std::uint64_t now = counts_.checked; now != seen) {
        seen = now;
        moved = Clock::now();
      }
      if (Clock::now() - moved > kPatience) die("FAILED: nothing has moved for a minute");
    }
  }

  void bounce(Rng rng) {
    while (!stop_) {
      std::size_t run = rng.one_in(4) ? rng.below(kRuns) : rng.below(kRuns / 4);
      std::lock_guard lock(memory_.lock_of(run));
      std::size_t offset = run * kRun * kPageSize, bytes = kRun * kPageSize;
      for (std::size_t page = run * kRun; page < (run + 1) * kRun; ++page) {
        memory_.check(page);
        ++counts_.checked;
        if (!rng.one_in(3)) continue;
        memory_.write(page, rng.page_key());
        ++counts_.written;
      }
      if (rng.one_in(64)) memory_.region().cold(offset, bytes);
      if (rng.one_in(64)) memory_.region().deactivate(offset, bytes);
      if (rng.one_in(128)) memory_.region().willneed(offset, bytes);
      if (rng.one_in(64)) {
        memory_.drop(run);
        ++counts_.dropped;
      }
      if (rng.one_in(256)) {
        require(memory_.region().pin(offset, bytes), "pin");
        for (std::size_t page = run * kRun; page < (run + 1) * kRun; ++page) memory_.check(page);
        memory_.region().unpin(offset, bytes);
      }
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
      ++counts_.orders;
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
      std::this_thread::sleep_for(std::chrono::milliseconds(rng.below(20)));
    }
  }

  // The child gets all that is out, from wherever it is, while everybody waits: so not often.
  void fork_now_and_then() {
    for (unsigned tenths = 0; !stop_; ++tenths) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (tenths % 50 != 5) continue;
      pid_t child = fork();
      if (child == 0) _exit(7);
      int status = 0;
      require(child > 0 && waitpid(child, &status, 0) == child && WEXITSTATUS(status) == 7, "a child");
      ++counts_.forks;
    }
  }

  coldpress::Pager& pager_;
  std::uint64_t seed_;
  std::string file_;
  Memory memory_{pager_, "region", kPages};
  Counts counts_;
  std::atomic<bool> stop_{false};
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
