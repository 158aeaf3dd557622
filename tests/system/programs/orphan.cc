// A process that forks past its limit, while three threads fault, and is gone at once; the child must have
// all of its memory, or be stopped.
//
//   orphan MIB exit    it exits as soon as fork() has returned, as a daemon's parent does
//   orphan MIB kill    it is killed some time after the fork has begun
#include <signal.h>

#include <string_view>
#include <thread>

#include "content.h"

using namespace coldtest;

int main(int argc, char** argv) {
  if (argc != 3) die("usage: orphan MIB exit|kill");
  bool killed = std::string_view(argv[2]) == "kill";
  std::size_t pages = std::strtoull(argv[1], nullptr, 10) * kMiB / kPageSize;
  Byte* base = map_pages(pages);
  for (std::size_t i = 0; i < pages; ++i) fill_page(base + i * kPageSize, compressible_key(i));
  for (std::uint64_t id = 0; id < 3; ++id) {
    std::thread([=] {
      for (Rng random(id);;) {
        std::size_t i = random.below(pages);
        check_page("parent", base + i * kPageSize, compressible_key(i));
      }
    }).detach();
  }
  usleep(100000);
  if (killed) {
    std::thread([] {
      usleep(static_cast<useconds_t>(mix(static_cast<std::uint64_t>(getpid())) % 3000));
      kill(getpid(), SIGKILL);
    }).detach();
  }
  pid_t child = fork();
  require(child >= 0, "fork");
  if (child > 0 && killed) pause();
  if (child > 0) _exit(0);
  for (std::size_t i = 0; i < pages; ++i) check_page("orphan", base + i * kPageSize, compressible_key(i));
  std::puts("whole");
}
