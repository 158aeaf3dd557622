// Proves that every process of a tree has its own right memory: children and grandchildren forked
// from a process past its limit, while its other threads work, see every byte, change and extend
// their copies, are killed or leave at any time; the parent's memory stays as it was. Forks made
// without libc must see right bytes too, or be stopped by a signal; never zeros.
//
//   fork_tree MIB [SEED]
//   fork_tree MIB SEED exec     what it becomes when it forks and executes itself
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include <atomic>
#include <string>
#include <thread>

#include "fork_memory.h"

extern char** environ;

namespace coldtest {
namespace {

constexpr unsigned kWorkers = 2;
constexpr unsigned kSampleStep = 37;

std::string self_path;

// A child that neither ends nor gets on is a failure of its own kind, so it is not waited for
// forever.
int wait_for(pid_t child, const char* who) {
  constexpr int kPatienceMs = 60000;
  for (int waited = 0; waited < kPatienceMs; waited += 2) {
    int status = 0;
    pid_t got = waitpid(child, &status, WNOHANG);
    if (got == child) return status;
    if (got < 0) die("FAILED: waitpid for %s: %s", who, std::strerror(errno));
    usleep(2000);
  }
  kill(child, SIGKILL);
  die("FAILED: %s (pid %d) does not end", who, child);
}

void expect_exit(pid_t child, const char* who, int code = 0) {
  int status = wait_for(child, who);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != code) {
    die("FAILED: %s ended with wait status %04x, expected exit %d", who, status, code);
  }
}

pid_t vfork_and_exec() {
  pid_t child = vfork();
  if (child == 0) {
    execl("/bin/sh", "sh", "-c", "exit 7", nullptr);
    _exit(1);
  }
  return child;
}

template <typename Body>
pid_t fork_child(Body body) {
  pid_t child = fork();
  require(child >= 0, "fork");
  if (child == 0) {
    body();
    _exit(0);
  }
  return child;
}

class Tree {
 public:
  explicit Tree(const Arguments& arguments)
      : arguments_(arguments), memory_(arguments.pages() * 3 / 4, arguments.seed), rng_(arguments.seed) {
    for (unsigned i = 0; i < kWorkers; ++i) workers_.emplace_back([this, i] { work(i); });
  }

  void run(Digest& digest) {
    memory_.verify("before the first fork");
    generations();
    siblings();
    killed_children();
    many_short_children();
    raw_forks();
    fork_from_thread();
    other_programs();
    itself();
    done_ = true;
    for (std::thread& worker : workers_) worker.join();
    memory_.verify("parent at the end");
    memory_.add_to(digest);
  }

 private:
  // Allocates, changes and verifies while the others fork.
  void work(unsigned index) {
    std::size_t pages = arguments_.pages() / 8 / kWorkers;
    ForkMemory mine(pages, arguments_.seed + index + 1);
    Rng rng(index);
    while (!done_) {
      mine.modify(rng, pages / 8);
      mine.verify("worker");
      allocate_and_verify(256, rng.next());
    }
  }

  void use_as_own(const char* who, std::uint64_t seed) {
    Rng rng(seed);
    memory_.modify(rng, memory_.pages() / 8);
    allocate_and_verify(1024, seed);
    memory_.verify(who);
  }

  void generations() {
    pid_t child = fork_child([this] {
      memory_.verify("child");
      use_as_own("child after its changes", 11);
      pid_t grandchild = fork_child([this] {
        memory_.verify("grandchild");
        use_as_own("grandchild after its changes", 12);
      });
      memory_.verify("child beside its own child", 0, kSampleStep);
      expect_exit(grandchild, "grandchild");
      memory_.verify("child after its own child", 3, kSampleStep);
    });
    memory_.verify("parent beside its child", 1, kSampleStep);
    expect_exit(child, "child");
    memory_.verify("parent after its child");
  }

  // Several at a time, all changing the same pages in their own way, the parent too.
  void siblings() {
    pid_t children[3];
    for (unsigned i = 0; i < std::size(children); ++i) {
      children[i] = fork_child([this, i] { use_as_own("sibling", 20 + i); });
    }
    memory_.modify(rng_, memory_.pages() / 16);
    for (pid_t child : children) expect_exit(child, "sibling");
    memory_.verify("parent after siblings", 2, 3);
  }

  void killed_children() {
    for (unsigned i = 0; i < 6; ++i) {
      pid_t child = fork_child([this, i] {
        prctl(PR_SET_PDEATHSIG, SIGKILL);  // nor does it outlive a parent that failed
        for (;;) use_as_own("child about to be killed", 40 + i);
      });
      usleep(static_cast<useconds_t>(rng_.below(60000)));
      kill(child, SIGKILL);
      int status = wait_for(child, "killed child");
      if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        die("FAILED: child before its kill: %04x", status);
      memory_.verify("parent after a kill", i, kSampleStep);
    }
  }

  void many_short_children() {
    for (unsigned i = 0; i < 100; ++i) {
      pid_t child = fork_child([this, i] {
        if (i % 4 != 0) memory_.verify("short child", i, 97);
        _exit(static_cast<int>(i));
      });
      if (i % 10 == 0) memory_.modify(rng_, 20);
      expect_exit(child, "short child", static_cast<int>(i));
    }
  }

  // No libc function knows of these; the child may use none that needs to.
  void raw_forks() {
    for (unsigned i = 0; i < 4; ++i) {
      long child =
          i % 2 == 0 ? syscall(SYS_fork) : syscall(SYS_clone, SIGCHLD, nullptr, nullptr, nullptr, nullptr);
      require(child >= 0, "fork by system call");
      if (child == 0) {
        memory_.verify("child of a raw fork", i, 11);
        _exit(0);
      }
      int status = wait_for(static_cast<pid_t>(child), "child of a raw fork");
      if (WIFSIGNALED(status)) {
        std::printf("raw fork: stopped by signal %d\n", WTERMSIG(status));
      } else if (status == 0) {
        std::printf("raw fork: right bytes\n");
      } else {
        die("FAILED: child of a raw fork: wait status %04x", status);
      }
      std::fflush(stdout);
    }
    memory_.verify("parent after raw forks", 4, kSampleStep);
  }

  void fork_from_thread() {
    std::thread([this] {
      pid_t child = fork_child([this] {
        memory_.verify("child of a thread", 0, 3);
        std::thread([this] { use_as_own("thread in a child of a thread", 60); }).join();
      });
      expect_exit(child, "child of a thread");
    }).join();
  }

  void other_programs() {
    for (unsigned i = 0; i < 5; ++i) {
      expect_exit(vfork_and_exec(), "vfork and exec", 7);

      pid_t child = -1;
      const char* arguments[] = {"sh", "-c", "exit 8", nullptr};
      require(posix_spawn(&child, "/bin/sh", nullptr, nullptr, const_cast<char**>(arguments), environ) == 0,
              "posix_spawn");
      expect_exit(child, "posix_spawn", 8);

      int status = std::system("exit 9");
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 9) die("FAILED: system(): %04x", status);

      std::FILE* pipe = popen("echo $((6 * 7))", "r");
      int answer = 0;
      if (pipe == nullptr || std::fscanf(pipe, "%d", &answer) != 1 || answer != 42 || pclose(pipe) != 0) {
        die("FAILED: popen()");
      }
      memory_.modify(rng_, 50);
    }
    memory_.verify("parent after other programs", 5, kSampleStep);
  }

  void itself() {
    std::string mib = std::to_string(arguments_.bytes / kMiB / 4);
    pid_t child = fork_child([&] {
      execl(self_path.c_str(), "fork_tree", mib.c_str(), "5", "exec", nullptr);
      _exit(1);
    });
    expect_exit(child, "fork and exec of itself");
  }

  Arguments arguments_;
  ForkMemory memory_;
  Rng rng_;
  std::atomic<bool> done_{false};
  std::vector<std::thread> workers_;
};

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  if (argc > 3 && std::string(argv[3]) == "exec") {
    allocate_and_verify(arguments.pages(), arguments.seed);
    return 0;
  }
  char path[4096];
  ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  require(length > 0, "readlink of /proc/self/exe");
  self_path.assign(path, static_cast<std::size_t>(length));
  Digest digest;
  Tree(arguments).run(digest);
  print_digest("fork_tree", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
