#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include "unit/sync/thread_checks.h"

namespace coldpress::sync {
namespace {

std::uint64_t own_signal_mask() {
  std::uint64_t mask = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, 0, reinterpret_cast<long>(&mask), sizeof mask);
  return mask;
}

TEST(ThreadPthread, RunsInThisProcessWithItsName) {
  Findings found;
  Thread thread{.entry = &look_around, .argument = &found, .name = "cp-unit"};
  ASSERT_TRUE(start_thread(thread));
  join_thread(thread);
  EXPECT_EQ(found.pid, getpid());
  EXPECT_NE(found.tid, 0);
  EXPECT_NE(found.tid, gettid());
  EXPECT_STREQ(found.name, "cp-unit");
}

TEST(ThreadPthread, BlocksEverySignalAndLeavesTheStartersMask) {
  std::uint64_t before = own_signal_mask();
  Findings found;
  Thread thread{.entry = &look_around, .argument = &found};
  ASSERT_TRUE(start_thread(thread));
  join_thread(thread);
  // The C library keeps two signals for itself (32 and 33).
  EXPECT_EQ(found.blocked | std::uint64_t{3} << 31, kAllSignals);
  EXPECT_EQ(own_signal_mask(), before);
}

TEST(ThreadPthread, RunsOnTheCpuItIsPinnedTo) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof allowed, &allowed), 0);
  for (int cpu = 0; cpu < 64; ++cpu) {
    if (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) continue;
    Findings found;
    Thread thread{.entry = &look_around, .argument = &found, .cpu = cpu};
    ASSERT_TRUE(start_thread(thread));
    join_thread(thread);
    EXPECT_EQ(found.cpus, 1ul << cpu);
  }
}

TEST(ThreadPthread, JoiningTwiceIsHarmless) {
  Findings found;
  Thread thread{.entry = &look_around, .argument = &found};
  ASSERT_TRUE(start_thread(thread));
  join_thread(thread);
  join_thread(thread);
  Thread never_started;
  join_thread(never_started);
}

}  // namespace
}  // namespace coldpress::sync
