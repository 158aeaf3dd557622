// library_orphan PATH: a process whose pager has most of its memory out forks, while threads fault, and exits
// at once; the child must have all of it.
#include <thread>

#include "pager_path.h"

using namespace coldtest;

int main(int argc, char** argv) {
  auto pager = open_pager(argc, argv, 16 * kMiB);
  constexpr std::size_t kPages = 96 * kMiB / kPageSize;
  auto region = pager->map(kPages * kPageSize);
  auto page = [bytes = static_cast<Byte*>(region.data())](std::size_t i) { return bytes + i * kPageSize; };
  for (std::size_t i = 0; i < kPages; ++i) fill_page(page(i), compressible_key(i));
  for (std::uint64_t id = 0; id < 2; ++id) {
    std::thread([=] {
      for (Rng random(id);;) {
        std::size_t i = random.below(kPages);
        check_page("parent", page(i), compressible_key(i));
      }
    }).detach();
  }
  usleep(50000);
  pid_t child = fork();
  require(child >= 0, "fork");
  if (child > 0) _exit(0);
  for (std::size_t i = kPages; i-- > 0;) check_page("orphan", page(i), compressible_key(i));
  std::puts("whole");
  std::fflush(stdout);
  _exit(0);
}
