// The benchmark's driver: the same accesses to the same pages in every mode, each page that is read checked.
//
// In the modes `native`, `run`, `zram` and `zswap` its memory is an ordinary mapping, and whoever started it
// limits it; with --pager it is a region of libcoldpress. It first fills the memory (phase "fill"), then goes
// through the phases named, and prints one line of JSON for each.
//
//   driver --mib 256 --content FILE|random|zero --phases seq.read,rand.write,zipf.read --ops 100000
//          [--threads 2] [--window-mib 48] [--limit-mib 64] [--pager thread|signal] [--seed 1] [--step]
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <barrier>
#include <optional>
#include <thread>
#include <vector>

#include "coldpress/pager.h"
#include "latencies.h"
#include "patterns.h"

namespace coldbench {
namespace {

struct Options {
  std::uint64_t mib = 256, limit_mib = 64, window_mib = 0, ops = 100000, seed = 1;
  unsigned threads = 1;
  bool step = false;
  std::string content = "random", pager;
  std::vector<std::string> phases;
};

std::uint64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1000000000 + static_cast<std::uint64_t>(time.tv_nsec);
}

struct Usage {
  std::uint64_t wall_ns, cpu_ns;
  long minor, major;
  static Usage now() {
    rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return {now_ns(), now_ns(CLOCK_PROCESS_CPUTIME_ID), usage.ru_minflt, usage.ru_majflt};
  }
};

std::uint64_t rss_anon_kib() {
  FILE* status = std::fopen("/proc/self/status", "re");
  char line[256];
  unsigned long long kib = 0;
  while (status != nullptr && std::fgets(line, sizeof line, status) != nullptr) {
    if (std::sscanf(line, "RssAnon: %llu kB", &kib) == 1) break;
  }
  if (status != nullptr) std::fclose(status);
  return kib;
}

class Driver {
 public:
  explicit Driver(const Options& options)
      : options_(options), pages_(options.content), count_(options.mib << 8), versions_(count_) {
    std::size_t bytes = count_ * kPageBytes;
    if (options.pager.empty()) {
      void* mapped =
          mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (mapped == MAP_FAILED) die("no memory");
      // Pages of 4 KiB in every mode: huge ones would be another comparison.
      madvise(mapped, bytes, MADV_NOHUGEPAGE);
      memory_ = static_cast<char*>(mapped);
      return;
    }
    coldpress::PagerOptions pager{.limit_bytes = options.limit_mib << 20};
    if (options.pager == "signal") pager.fault_path = coldpress::FaultPath::kSignal;
    auto opened = coldpress::Pager::open(pager);
    if (!opened) die(opened.error);
    pager_ = std::move(opened.pager);
    region_ = pager_->map(bytes);
    if (!region_) die("the pager refused the region");
    memory_ = static_cast<char*>(region_.data());
  }

  void fill() {
    measure("fill", count_, [&](unsigned thread, Latencies& latencies) {
      for (std::uint64_t i = thread; i < count_; i += options_.threads) {
        std::uint64_t start = now_ns();
        *reinterpret_cast<volatile char*>(at(i)) = 0;
        latencies.add(now_ns() - start);
        pages_.fill(at(i), i, 0);
      }
    });
  }

  void phase(const std::string& name) {
    std::size_t dot = name.find('.');
    std::string kind = name.substr(dot == std::string::npos ? name.size() : dot + 1);
    if (kind != "read" && kind != "write") die("a phase is PATTERN.read or PATTERN.write, not " + name);
    bool write = kind == "write";
    ++phases_;
    measure(name, options_.ops, [&](unsigned thread, Latencies& latencies) {
      // Each thread has pages of its own, so that versions need no lock.
      std::uint64_t share = count_ / options_.threads;
      Pattern pattern({name.substr(0, dot), share, (options_.window_mib << 8) / options_.threads + 1,
                       options_.seed * 4096 + phases_ * 64 + thread});
      for (std::uint64_t i = 0; i < options_.ops / options_.threads; ++i) {
        std::uint64_t index = pattern.next() + share * thread;
        char* page = at(index);
        std::uint64_t start = now_ns();
        if (write) {
          pages_.write(page, versions_[index] + 1);
        } else {
          (void)*reinterpret_cast<volatile char*>(page);
        }
        latencies.add(now_ns() - start);
        if (write) ++versions_[index];
        if (!pages_.is(page, index, versions_[index])) {
          die("WRONG BYTES in page " + std::to_string(index) + " in " + name);
        }
      }
    });
  }

 private:
  char* at(std::uint64_t index) const { return memory_ + index * kPageBytes; }

  template <typename Body>
  void measure(const std::string& name, std::uint64_t ops, Body body) {
    std::vector<Latencies> latencies(options_.threads);
    std::vector<std::thread> threads;
    std::barrier start(static_cast<std::ptrdiff_t>(options_.threads + 1));
    for (unsigned i = 0; i < options_.threads; ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        body(i, latencies[i]);
      });
    }
    std::optional<coldpress::PagerStatistics> before = statistics();
    Usage from = Usage::now();
    start.arrive_and_wait();
    for (std::thread& thread : threads) thread.join();
    Usage to = Usage::now();
    Latencies all;
    for (const Latencies& part : latencies) all.add(part);
    std::uint64_t minor = static_cast<std::uint64_t>(to.minor - from.minor);
    std::uint64_t major = static_cast<std::uint64_t>(to.major - from.major);
    std::printf("{\"phase\": \"%s\", \"ops\": %llu, \"wall_ns\": %llu, \"cpu_ns\": %llu, \"touch_ns\": %llu",
                name.c_str(), word(ops), word(to.wall_ns - from.wall_ns), word(to.cpu_ns - from.cpu_ns),
                word(all.sum()));
    std::printf(", \"minflt\": %llu, \"majflt\": %llu, \"rss_anon_kib\": %llu", word(minor), word(major),
                word(rss_anon_kib()));
    if (before) {
      auto after = *statistics();
      std::printf(", \"pgfault\": %llu, \"pgmajfault\": %llu, \"pool_kib\": %llu, \"metadata_kib\": %llu",
                  word(after.pgfault - before->pgfault), word(after.pgmajfault - before->pgmajfault),
                  word(after.pool_bytes >> 10), word(after.metadata_bytes >> 10));
    }
    for (auto [key, share] : {std::pair{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}}) {
      std::printf(", \"%s_ns\": %llu", key, word(all.percentile(share)));
    }
    std::printf(", \"histogram\": [");
    const char* comma = "";
    all.for_each([&](std::uint64_t edge, std::uint64_t count) {
      std::printf("%s[%llu, %llu]", comma, word(edge), word(count));
      comma = ", ";
    });
    std::printf("]}\n");
    std::fflush(stdout);
    if (options_.step) std::getchar();
  }
  static unsigned long long word(std::uint64_t value) { return value; }
  std::optional<coldpress::PagerStatistics> statistics() const {
    return pager_ ? std::optional(pager_->statistics()) : std::nullopt;
  }

  Options options_;
  Pages pages_;
  std::uint64_t count_;
  std::vector<std::uint32_t> versions_;
  std::unique_ptr<coldpress::Pager> pager_;
  coldpress::Region region_;
  char* memory_ = nullptr;
  std::uint64_t phases_ = 0;  // so that no phase repeats the accesses of another
};

}  // namespace
}  // namespace coldbench

int main(int argc, char** argv) {
  coldbench::Options options;
  CLI::App app(
      "Accesses memory in a pattern, checks it, and prints what that cost, a line of JSON per phase");
  app.add_option("--mib", options.mib, "memory in all")->check(CLI::Range(1, 1 << 20));
  app.add_option("--limit-mib", options.limit_mib, "limit of the pager");
  app.add_option("--window-mib", options.window_mib, "what `shift` uses at a time");
  app.add_option("--content", options.content, "a file of pages, `random` or `zero`");
  app.add_option("--phases", options.phases, "PATTERN.read or .write; seq, rand, zipf, shift")
      ->delimiter(',');
  app.add_option("--ops", options.ops, "accesses of a phase");
  app.add_option("--threads", options.threads)->check(CLI::Range(1, 64));
  app.add_option("--pager", options.pager, "use libcoldpress")->check(CLI::IsMember({"thread", "signal"}));
  app.add_option("--seed", options.seed);
  app.add_flag("--step", options.step, "after each phase wait for a line of input");
  CLI11_PARSE(app, argc, argv);
  coldbench::Driver driver(options);
  driver.fill();
  for (const std::string& phase : options.phases) driver.phase(phase);
  return 0;
}
