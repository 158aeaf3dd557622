// library_orphan PATH: a process whose pager has most of its memory out forks, while threads fault, and exits
// at once; the child must have all of it.
#include <coldpress/pager.h>

#include <string_view>
#include <thread>

#include "content.h"

using namespace coldtest;

int main(int argc, char** argv) {
  if (argc != 2) die("usage: library_orphan thread|signal");
  coldpress::PagerOptions options{.limit_bytes = 16 * kMiB};
  if (std::string_view(argv[1]) == "signal") options.fault_path = coldpress::FaultPath::kSignal;
  auto opened = coldpress::Pager::open(options);
  if (!opened) die("%s", opened.error.c_str());
  constexpr std::size_t kPages = 96 * kMiB / kPageSize;
  auto region = opened.pager->map(kPages * kPageSize);
  auto page = [bytes = static_cast<Byte*>(region.data())](std::size_t i) { return bytes + i * kPageSize; };
  auto key = [](std::size_t i) { return (mix(i) & ~std::uint64_t{31}) | 5; };
  for (std::size_t i = 0; i < kPages; ++i) fill_page(page(i), key(i));
  for (std::uint64_t id = 0; id < 2; ++id) {
    std::thread([=] {
      for (Rng random(id);;) {
        std::size_t i = random.below(kPages);
        check_page("parent", page(i), key(i));
      }
    }).detach();
  }
  usleep(50000);
  pid_t child = fork();
  require(child >= 0, "fork");
  if (child > 0) _exit(0);
  for (std::size_t i = kPages; i-- > 0;) check_page("orphan", page(i), key(i));
  std::puts("whole");
  std::fflush(stdout);
  _exit(0);
}
