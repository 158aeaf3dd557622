// Proves that a program which does what it likes with its own process keeps its memory: it closes
// and replaces descriptors it does not know, takes all signals, lowers its limits, locks memory,
// leaves its session, its directory and its privileges. Half of its memory is filled before, half
// after; all of it is verified, and a second thread works throughout.
//
//   hostile MIB SEED ACT...      acts: fds raw_fds signals rlimits locks identity privileges
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <atomic>
#include <csetjmp>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "content.h"

namespace coldtest {
namespace {

constexpr int kSignals = 64;
constexpr rlim_t kHeadroom = 16 * kMiB;
constexpr uid_t kNobody = 65534;
constexpr useconds_t kIdleUs = 250000;  // long enough for a limit to be seen held, or not

// As daemons do it, and once more in the blunt way.
void fds() {
  for (int fd = 3; fd < 1024; ++fd) close(fd);
  require(close_range(3, ~0U, 0) == 0, "close_range");
  int null = open("/dev/null", O_RDWR);
  require(null >= 0, "open /dev/null");
  for (int fd = 3; fd < 256; ++fd) require(dup2(null, fd) == fd, "dup2");
}

// By system call, past whatever stands in front of libc.
void raw_fds() {
  require(syscall(SYS_close_range, 3, ~0U, 0) == 0, "close_range by system call");
  long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR);
  require(null >= 0, "openat by system call");
  for (long fd = 3; fd < 256; ++fd) require(syscall(SYS_dup2, null, fd) == fd, "dup2 by system call");
}

sigjmp_buf after_fault;
std::atomic<int> caught{0};
void* volatile fault_address = nullptr;

void on_any(int number, siginfo_t*, void*) { caught = number; }

void on_fault(int number, siginfo_t* info, void*) {
  caught = number;
  fault_address = info->si_addr;
  siglongjmp(after_fault, 1);
}

void handle(int number, void (*action)(int, siginfo_t*, void*)) {
  struct sigaction handler {};
  handler.sa_sigaction = action;
  handler.sa_flags = SA_SIGINFO;
  require(sigaction(number, &handler, nullptr) == 0, "sigaction");
}

// The program's own faults must reach its own handler, with the right address.
void expect_fault(int number, const volatile Byte* address) {
  handle(number, on_fault);
  caught = 0;
  if (sigsetjmp(after_fault, 1) == 0) {
    static_cast<void>(*address);
    die("FAILED: no signal %d for a real fault", number);
  }
  if (caught != number || fault_address != address) {
    die("FAILED: signal %d at %p for a real fault, expected %d at %p", caught.load(), fault_address, number,
        const_cast<Byte*>(address));
  }
  signal(number, SIG_DFL);
}

void signals() {
  for (int number = 1; number <= kSignals; ++number) signal(number, SIG_IGN);
  for (int number = 1; number <= kSignals; ++number) {
    struct sigaction handler {};
    handler.sa_sigaction = on_any;
    handler.sa_flags = SA_SIGINFO | SA_RESTART;
    sigfillset(&handler.sa_mask);
    sigaction(number, &handler, nullptr);  // fails for a few, as it should
  }
  require(raise(SIGUSR1) == 0 && caught == SIGUSR1, "the program's own handler");
  expect_fault(SIGSEGV, map_pages(1, PROT_NONE) + 100);
  int file = static_cast<int>(syscall(SYS_memfd_create, "empty", 0));
  void* past_end = mmap(nullptr, kPageSize, PROT_READ, MAP_SHARED, file, 0);
  require(past_end != MAP_FAILED, "mmap of an empty file");
  expect_fault(SIGBUS, static_cast<Byte*>(past_end) + 8);
  close(file);
  sigset_t all;
  sigfillset(&all);
  require(pthread_sigmask(SIG_BLOCK, &all, nullptr) == 0, "pthread_sigmask");
  require(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, kSignals / 8) == 0, "rt_sigprocmask");
}

void lower(decltype(RLIMIT_AS) resource, rlim_t to) {
  rlimit limit{to, to};
  require(setrlimit(resource, &limit) == 0, "setrlimit");
}

// All memory that the program itself will use is mapped already.
void rlimits() {
  unsigned long size = 0;
  unsigned long data = 0;
  std::FILE* statm = std::fopen("/proc/self/statm", "r");
  require(statm != nullptr && std::fscanf(statm, "%lu %*u %*u %*u %*u %lu", &size, &data) == 2,
          "/proc/self/statm");
  std::fclose(statm);
  lower(RLIMIT_AS, size * kPageSize + kHeadroom);
  lower(RLIMIT_DATA, data * kPageSize + kHeadroom);
  lower(RLIMIT_NOFILE, 4);
  lower(RLIMIT_MEMLOCK, 0);
  lower(RLIMIT_STACK, kMiB);
}

void locks() {
  require(mlockall(MCL_FUTURE) == 0, "mlockall");
  Byte* locked = map_pages(64);
  for (unsigned i = 0; i < 64; ++i) check_page("locked page", locked + i * kPageSize, 0);
  require(munlockall() == 0, "munlockall");
  require(munmap(locked, 64 * kPageSize) == 0, "munmap");
}

void identity() {
  require(chdir("/") == 0, "chdir");
  setsid();  // fails for a group leader, which is no matter
  umask(0777);
  require(prctl(PR_SET_DUMPABLE, 0) == 0, "PR_SET_DUMPABLE");
  require(prctl(PR_SET_NAME, "something-else") == 0, "PR_SET_NAME");
  require(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS");
  require(clearenv() == 0, "clearenv");
}

void privileges() {
  if (geteuid() != 0) return;  // there are none to drop
  require(setresgid(kNobody, kNobody, kNobody) == 0, "setresgid");
  require(setresuid(kNobody, kNobody, kNobody) == 0, "setresuid");
}

struct Act {
  std::string_view name;
  void (*perform)();
};

constexpr Act kHostileActs[] = {
    {"fds", fds},     {"raw_fds", raw_fds},   {"signals", signals},       {"rlimits", rlimits},
    {"locks", locks}, {"identity", identity}, {"privileges", privileges},
};

void perform(std::string_view name) {
  for (const Act& act : kHostileActs) {
    if (act.name == name) return act.perform();
  }
  die("FAILED: no act '%s'", std::string(name).c_str());
}

class Memory {
 public:
  Memory(std::size_t pages, std::uint64_t seed) : base_(map_pages(pages)), keys_(pages), rng_(seed) {}

  void fill(std::size_t first, std::size_t end) {
    for (std::size_t i = first; i < end; ++i) fill_page(base_ + i * kPageSize, keys_[i] = rng_.page_key());
  }

  void verify(std::size_t first, std::size_t end) const {
    for (std::size_t i = first; i < end; ++i) check_page("page", base_ + i * kPageSize, keys_[i]);
  }

  void add_to(Digest& digest) const {
    for (std::size_t i = 0; i < keys_.size(); ++i) digest.add(i, keys_[i]);
  }

 private:
  Byte* base_;
  std::vector<std::uint64_t> keys_;
  Rng rng_;
};

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  std::size_t pages = arguments.pages() * 3 / 4;
  std::size_t worker_pages = arguments.pages() - pages;
  Memory memory(pages, arguments.seed);
  Memory worker_memory(worker_pages, ~arguments.seed);
  std::atomic<bool> done{false};
  worker_memory.fill(0, worker_pages);
  std::thread worker([&] {
    while (!done) worker_memory.verify(0, worker_pages);
  });
  memory.fill(0, pages / 2);
  for (int i = 3; i < argc; ++i) perform(argv[i]);
  memory.fill(pages / 2, pages);
  for (unsigned pass = 0; pass < 2; ++pass) {
    memory.verify(0, pages);
    usleep(kIdleUs);
  }
  done = true;
  worker.join();
  Digest digest;
  memory.add_to(digest);
  print_digest("hostile", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
