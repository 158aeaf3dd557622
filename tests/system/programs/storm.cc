// Proves that many processes at a time may share what is out: children of a process past its limit, all alive
// together, each of which reads its parent's pages and writes its own; and a chain of generations, each the
// child of the one before it.
//
//   storm MIB ALIVE GENERATIONS ROUNDS
#include <signal.h>
#include <sys/wait.h>

#include <string>

#include "fork_memory.h"

namespace coldtest {
namespace {

struct Storm {
  std::size_t mib;
  unsigned alive, generations, rounds;
};

// Children say that they have seen what they should, and stay until they are told to go.
class Crowd {
 public:
  Crowd() { require(pipe(here_) == 0 && pipe(go_) == 0, "pipe"); }
  ~Crowd() {
    for (int fd : {here_[0], here_[1], go_[0], go_[1]}) close(fd);
  }
  void in_child() {
    close(go_[1]);
    char word = 1;
    require(write(here_[1], &word, 1) == 1, "write");
    close(here_[1]);
    while (read(go_[0], &word, 1) < 0 && errno == EINTR) {
    }
  }
  void wait_for(unsigned children) {
    close(here_[1]);  // so that the end of a child that says nothing is seen
    here_[1] = -1;
    char word;
    for (unsigned i = 0; i < children; ++i)
      require(read(here_[0], &word, 1) == 1, "a child has said nothing");
  }
  void let_go() {
    close(go_[1]);
    go_[1] = -1;
  }

 private:
  int here_[2], go_[2];
};

void expect_all_end_well(unsigned children) {
  for (unsigned i = 0; i < children; ++i) {
    int status = 0;
    require(wait(&status) > 0, "wait");
    if (status != 0) die("FAILED: a child ended with wait status %04x", status);
  }
}

void round(ForkMemory& memory, const Storm& storm, unsigned number) {
  Crowd crowd;
  for (unsigned i = 0; i < storm.alive; ++i) {
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
      Rng rng(number * 1000 + i);
      memory.verify("child", i % 7, 7);
      memory.modify(rng, 8);
      crowd.in_child();
      memory.verify("child, with all others alive", i % 11, 11);
      _exit(0);
    }
  }
  crowd.wait_for(storm.alive);
  Rng rng(number);
  memory.modify(rng, memory.pages() / 8);
  memory.verify("parent", 0, 5);
  crowd.let_go();
  expect_all_end_well(storm.alive);
}

// Each generation changes what the next one reads.
void generations(ForkMemory& memory, unsigned left) {
  if (left == 0) return;
  pid_t child = fork();
  require(child >= 0, "fork");
  if (child == 0) {
    Rng rng(left);
    memory.modify(rng, memory.pages() / 16);
    generations(memory, left - 1);
    memory.verify("a generation", left % 3, 3);
    _exit(0);
  }
  expect_all_end_well(1);
}

int run(const Storm& storm) {
  ForkMemory memory(storm.mib * kMiB / kPageSize, kDefaultSeed);
  for (unsigned i = 0; i < storm.rounds; ++i) round(memory, storm, i + 1);
  generations(memory, storm.generations);
  memory.verify("at the end");
  std::printf("whole\n");
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) {
  coldtest::require(argc == 5, "storm MIB ALIVE GENERATIONS ROUNDS");
  auto number = [&](int i) { return static_cast<unsigned>(std::stoul(argv[i])); };
  return coldtest::run({number(1), number(2), number(3), number(4)});
}
