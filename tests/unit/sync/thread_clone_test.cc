#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "unit/sync/thread_checks.h"

namespace coldpress::sync {
namespace {

constexpr std::size_t kStackBytes = 64 << 10;

class ThreadClone : public ::testing::Test {
 protected:
  ThreadClone() {
    stack_ = static_cast<std::byte*>(
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  }
  ~ThreadClone() override { munmap(stack_, kStackBytes); }

  void run(Findings& found, bool own_descriptors = false, int cpu = -1) {
    Thread thread{.entry = &look_around,
                  .argument = &found,
                  .name = "cp-clone",
                  .cpu = cpu,
                  .own_descriptors = own_descriptors,
                  .stack = stack_,
                  .stack_bytes = kStackBytes};
    ASSERT_TRUE(start_thread(thread));
    join_thread(thread);
    EXPECT_EQ(thread.tid.load(), 0u);
  }

  std::byte* stack_;
};

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

TEST_F(ThreadClone, RunsInThisProcessWithItsName) {
  Findings found;
  run(found);
  EXPECT_EQ(found.pid, getpid());
  EXPECT_NE(found.tid, 0);
  EXPECT_NE(found.tid, gettid());
  EXPECT_STREQ(found.name, "cp-clone");
}

TEST_F(ThreadClone, BlocksEverySignalAndLeavesTheStartersMask) {
  sigset_t some, before, after;
  sigemptyset(&some);
  sigaddset(&some, SIGUSR1);
  sigprocmask(SIG_SETMASK, &some, &before);
  Findings found;
  run(found);
  sigprocmask(SIG_SETMASK, &before, &after);
  EXPECT_EQ(found.blocked, kAllSignals);
  EXPECT_TRUE(sigismember(&after, SIGUSR1));
  EXPECT_FALSE(sigismember(&after, SIGUSR2));
}

TEST_F(ThreadClone, RunsOnTheCpuItIsPinnedTo) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  for (int cpu = 0; cpu < 64; ++cpu) {
    if (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) continue;
    Findings found;
    run(found, false, cpu);
    EXPECT_EQ(found.cpus, 1ul << cpu);
  }
}

TEST_F(ThreadClone, OwnDescriptorsAreOutOfTheProgramsReach) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  Findings found;
  found.close_fd = fd;
  run(found, true);
  EXPECT_EQ(found.closed, 0) << "the thread's copy of the table had it";
  EXPECT_TRUE(is_open(fd)) << "the thread closed its own copy only";
  close(fd);
}

TEST_F(ThreadClone, WithoutOwnDescriptorsTheTableIsShared) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  Findings found;
  found.close_fd = fd;
  run(found, false);
  EXPECT_EQ(found.closed, 0);
  EXPECT_FALSE(is_open(fd));
}

TEST_F(ThreadClone, TheProgramCanNotCloseWhatAThreadOwns) {
  int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  struct Shared {
    int fd;
    Atomic<std::uint32_t> closed_by_program{0};
    long answer = -1;
  } shared{fd};
  auto entry = [](void* argument) {
    auto& both = *static_cast<Shared*>(argument);
    while (both.closed_by_program.load() == 0) futex_wait(&both.closed_by_program, 0);
    both.answer = raw_syscall(SYS_fcntl, both.fd, F_GETFD);
  };
  Thread thread{.entry = entry,
                .argument = &shared,
                .own_descriptors = true,
                .stack = stack_,
                .stack_bytes = kStackBytes};
  ASSERT_TRUE(start_thread(thread));
  EXPECT_NE(thread.tid.load(), 0u) << "lives, and says so";
  close(fd);
  shared.closed_by_program.store(1);
  futex_wake(&shared.closed_by_program, 1);
  join_thread(thread);
  EXPECT_EQ(shared.answer, FD_CLOEXEC);
}

TEST_F(ThreadClone, LeavesTheProgramsThreadLocalStorageAlone) {
  static thread_local std::uint64_t mine = 77;
  errno = 4321;
  Findings found;
  run(found);
  run(found);
  EXPECT_EQ(mine, 77u);
  EXPECT_EQ(errno, 4321);
}

TEST_F(ThreadClone, AStackCanBeUsedAgain) {
  for (int i = 0; i < 50; ++i) {
    Findings found;
    run(found, i % 2 == 0);
    ASSERT_EQ(found.pid, getpid());
  }
}

}  // namespace
}  // namespace coldpress::sync
