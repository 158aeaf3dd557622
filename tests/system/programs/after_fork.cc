// Proves that memory which a fork has shared can still go. The child has ended long since, but the kernel
// moves only pages that are known to be this process's alone, and a page that is only read does not become
// that again.
//
//   after_fork MIB [SEED [ROUNDS]]
#include <sys/wait.h>

#include <vector>

#include "content.h"

namespace coldtest {
namespace {

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  int rounds = argc > 3 ? std::atoi(argv[3]) : 100;
  Rng rng(arguments.seed);
  std::size_t count = arguments.pages(), hot = count / 4;
  Byte* memory = map_pages(count, PROT_READ | PROT_WRITE);
  std::vector<std::uint64_t> keys(count);
  for (std::size_t i = 0; i < count; ++i) fill_page(memory + i * kPageSize, keys[i] = rng.page_key());
  pid_t child = fork();
  require(child >= 0, "fork");
  if (child == 0) _exit(0);
  int status = 0;
  require(waitpid(child, &status, 0) == child && status == 0, "the child");
  // What is in memory now is the end of it. The hot part at the beginning fits, if that can go.
  Digest digest;
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < hot; ++i) check_page("hot", memory + i * kPageSize, keys[i]);
  }
  for (std::size_t i = 0; i < count; ++i) {
    check_page("page", memory + i * kPageSize, keys[i]);
    digest.add(i, keys[i]);
  }
  print_digest("after_fork", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
