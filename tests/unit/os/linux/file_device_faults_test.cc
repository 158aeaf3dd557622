// The file device, with a kernel that fails: every transfer in turn is cut short or refused, by the ring, by
// pwrite() and by pread(), and the ring refuses to take a write. What is said to be written must be there.
//
// The device's source is compiled here once more, with the system calls that it uses replaced. And without
// any of that: a file system that is full, a file with a limit.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <liburing.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "support/heap_memory.h"
#include "sync/raw_syscall.h"

namespace coldpress::testing {

// From the at-th transfer on, `times` of them: -errno, or so many bytes at most.
struct Plan {
  std::uint64_t at = 0, times = 1;
  long answer = 0;
};
Plan g_plan;
std::uint64_t g_transfers = 0;  // since the plan was made
bool g_refuse_submit = false;   // the plan is for those, and for nothing else
bool g_any_call = false;        // the plan is for every call but close()
int g_forced[64];               // results of writes in the ring, by tag; 0: its own

void make_plan(const Plan& plan, bool of_submits = false) {
  g_plan = plan;
  g_transfers = 0;
  g_refuse_submit = of_submits;
}
bool planned() {
  ++g_transfers;
  return g_plan.at != 0 && g_plan.at <= g_transfers && g_transfers - g_plan.at < g_plan.times;
}

inline long faulty_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                           long f = 0) {
  bool transfer = number == SYS_pread64 || number == SYS_pwrite64 || (g_any_call && number != SYS_close);
  if (!transfer || g_refuse_submit || !planned()) return coldpress::raw_syscall(number, a, b, c, d, e, f);
  if (g_plan.answer <= 0) return g_plan.answer;
  return coldpress::raw_syscall(number, a, b, std::min(c, g_plan.answer), d, e, f);
}

int faulty_submit(io_uring* ring) {
  io_uring_sqe* entry = &ring->sq.sqes[(ring->sq.sqe_tail - 1) & ring->sq.ring_mask];
  if (g_refuse_submit) {
    if (!planned()) return io_uring_submit(ring);
    // As the library does it: what was prepared is in the queue, and the kernel has not taken it.
    __atomic_store_n(ring->sq.ktail, ring->sq.sqe_tail, __ATOMIC_RELEASE);
    ring->sq.sqe_head = ring->sq.sqe_tail;
    return static_cast<int>(g_plan.answer);
  }
  g_forced[entry->user_data] = 0;
  if (planned()) {
    if (g_plan.answer > 0) {
      entry->len = std::min(entry->len, static_cast<unsigned>(g_plan.answer));
    } else {
      std::uint64_t tag = entry->user_data;
      io_uring_prep_nop(entry);
      io_uring_sqe_set_data64(entry, tag);
      g_forced[tag] = static_cast<int>(g_plan.answer);
    }
  }
  return io_uring_submit(ring);
}

inline int forced(int status, io_uring_cqe** entry) {
  if (status == 0 && (*entry)->user_data < 64 && g_forced[(*entry)->user_data] != 0)
    (*entry)->res = g_forced[(*entry)->user_data];
  return status;
}
inline int faulty_peek(io_uring* ring, io_uring_cqe** entry) {
  return forced(io_uring_peek_cqe(ring, entry), entry);
}
inline int faulty_wait(io_uring* ring, io_uring_cqe** entry, __kernel_timespec* timeout) {
  return forced(io_uring_wait_cqe_timeout(ring, entry, timeout), entry);
}

}  // namespace coldpress::testing

#define raw_syscall ::coldpress::testing::faulty_syscall
#define io_uring_submit ::coldpress::testing::faulty_submit
#define io_uring_peek_cqe ::coldpress::testing::faulty_peek
#define io_uring_wait_cqe_timeout ::coldpress::testing::faulty_wait
#include "os/linux/file_device.cc"
#undef raw_syscall
#undef io_uring_submit
#undef io_uring_peek_cqe
#undef io_uring_wait_cqe_timeout

namespace coldpress::os {
namespace {

using testing::HeapMemory;
using testing::make_plan;
using testing::Plan;

constexpr std::size_t kPart = 16 * kBlockBytes;  // of one write
constexpr std::uint32_t kParts = 24, kAtOnce = 4;

class FileDeviceFaults : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    char name[] = "/var/tmp/coldpress-file-faults-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    buffers_ = memory_.allocate((kAtOnce + 1) * kPart);
    begin();
  }
  void TearDown() override {
    make_plan({});
    device_.close();
    unlink(path().c_str());
    rmdir(directory_.c_str());
  }
  std::string path() const { return directory_ + "/swap"; }
  void begin() {
    device_.close();
    if (!GetParam()) device_.without_ring();
    auto status = device_.open(path().c_str(), kParts * kPart);
    ASSERT_TRUE(status) << status.error().text.view();
    statuses_.assign(kParts, {});
  }
  std::byte* buffer(std::uint32_t tag) { return buffers_ + tag * kPart; }
  static std::uint64_t word(std::uint32_t part, std::uint64_t round, std::size_t at) {
    return (round << 40 | std::uint64_t{part} << 20 | at) * 0x9e3779b97f4a7c15;
  }
  // Writes every part, several at once, from buffers that are used again and again.
  void write_all(std::uint64_t round) {
    std::uint32_t part_of[kAtOnce] = {}, written = 0, next = 0;
    std::vector<std::uint32_t> free;
    for (std::uint32_t tag = 0; tag < kAtOnce; ++tag) free.push_back(tag);
    for (int waits = 0; written < kParts; ++waits) {
      ASSERT_LT(waits, 1000) << "a write does not end";
      for (; !free.empty() && next < kParts; ++next) {
        std::uint32_t tag = free.back();
        free.pop_back();
        part_of[tag] = next;
        auto* words = reinterpret_cast<std::uint64_t*>(buffer(tag));
        for (std::size_t i = 0; i < kPart / 8; ++i) words[i] = word(next, round, i);
        device_.submit_write(next * kPart, buffer(tag), kPart, tag);
      }
      BlockDevice::Completion done[kAtOnce];
      std::size_t count = device_.reap(done, 1'000'000'000);
      for (std::size_t i = 0; i < count; ++i, ++written) {
        statuses_[part_of[done[i].tag]] = done[i].status;
        std::memset(buffer(done[i].tag), 0xdb, kPart);  // nobody reads it any more
        free.push_back(done[i].tag);
      }
    }
  }
  IoStatus read(std::uint32_t part) { return device_.read(part * kPart, buffer(kAtOnce), kPart); }
  bool holds(std::uint32_t part, std::uint64_t round) {
    auto* words = reinterpret_cast<std::uint64_t*>(buffer(kAtOnce));
    for (std::size_t i = 0; i < kPart / 8; ++i) {
      if (words[i] != word(part, round, i)) return false;
    }
    return true;
  }
  // What was said to be written is there. Returns how many were not.
  std::uint32_t verify(std::uint64_t round) {
    std::uint32_t failed = 0;
    for (std::uint32_t part = 0; part < kParts; ++part) {
      if (statuses_[part] != IoStatus::kDone) {
        ++failed;
        continue;
      }
      EXPECT_EQ(read(part), IoStatus::kDone);
      EXPECT_TRUE(holds(part, round)) << "part " << part;
    }
    return failed;
  }

  HeapMemory memory_;
  std::string directory_;
  std::byte* buffers_ = nullptr;
  FileDevice device_;
  std::vector<IoStatus> statuses_;
};

TEST_P(FileDeviceFaults, EveryWriteIsCutShortOrRefused) {
  std::uint64_t round = 0;
  for (long answer : {long{-EIO}, long{-ENOSPC}, long{-EDQUOT}, long{-EINTR}, long{-EAGAIN}, long{-ENOMEM},
                      long{kBlockBytes}, long{kPart - kBlockBytes}, long{100}}) {
    for (std::uint64_t times : {1, 3}) {
      for (std::uint64_t at = 1; at <= kParts; ++at) {
        SCOPED_TRACE("transfer " + std::to_string(at) + " answers " + std::to_string(answer));
        make_plan({at, times, answer});
        ++round;
        write_all(round);
        make_plan({});
        std::uint32_t failed = verify(round);
        bool helps = answer >= long{kBlockBytes} || answer == -EINTR;  // to go on
        bool full = answer == -ENOSPC || answer == -EDQUOT;
        EXPECT_LE(failed, helps ? 0u : times);
        EXPECT_GE(failed, full || answer == -EIO ? 1u : 0u);
        for (IoStatus status : statuses_) EXPECT_TRUE(status != IoStatus::kNoSpace || full);
        if (HasFailure()) return;
      }
    }
  }
  write_all(++round);
  EXPECT_EQ(verify(round), 0u) << "afterwards it goes on as before";
}

std::size_t open_descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

// A device that could not be opened says why, keeps nothing open, and can be opened afterwards.
TEST_P(FileDeviceFaults, EveryCallOfOpeningFails) {
  int directory = open(directory_.c_str(), O_PATH | O_DIRECTORY);
  ASSERT_GE(directory, 0);
  for (bool unlinked : {false, true}) {
    device_.close();
    auto open_it = [&] {
      return unlinked ? device_.open_unlinked(directory, kParts * kPart)
                      : device_.open(path().c_str(), kParts * kPart);
    };
    for (long answer : {long{-EIO}, long{-EACCES}, long{-ENOMEM}}) {
      std::uint64_t at = 1;
      for (bool all = false; !all; ++at) {
        SCOPED_TRACE("call " + std::to_string(at) + " answers " + std::to_string(answer));
        std::size_t before = open_descriptors();
        make_plan({at, 1, answer});
        testing::g_any_call = true;
        auto status = open_it();
        testing::g_any_call = false;
        all = testing::g_transfers < at;
        make_plan({});
        if (status) {
          EXPECT_TRUE(all || answer == -ENOMEM) << "a read may be tried again, nothing else";
          device_.close();
        } else {
          EXPECT_GT(status.error().text.view().size(), 20u);
        }
        EXPECT_EQ(open_descriptors(), before);
        auto again = open_it();
        EXPECT_TRUE(again) << again.error().text.view();
        device_.close();
      }
      EXPECT_GT(at, 3u);
    }
  }
  close(directory);
}

// The buffer of a write that the ring did not take is used again.
TEST_P(FileDeviceFaults, TheRingTakesNoMore) {
  io_uring probe;
  if (GetParam() && io_uring_queue_init(4, &probe, 0) != 0) GTEST_SKIP() << "io_uring is refused here";
  if (GetParam()) io_uring_queue_exit(&probe);
  std::uint64_t round = 0;
  for (long answer : {-EAGAIN, -EBUSY, -ENOMEM}) {
    for (std::uint64_t at = 1; at <= kParts; ++at) {
      SCOPED_TRACE("submit " + std::to_string(at) + " answers " + std::to_string(answer));
      begin();
      make_plan({at, 1, answer}, true);
      ++round;
      write_all(round);
      // By calls nothing is submitted.
      EXPECT_EQ(testing::g_transfers >= at, GetParam()) << testing::g_transfers;
      make_plan({});
      ASSERT_EQ(verify(round), 0u);
      ++round;
      write_all(round);
      ASSERT_EQ(verify(round), 0u);
      ASSERT_FALSE(HasFailure());
    }
  }
}

TEST_P(FileDeviceFaults, EveryReadIsCutShortOrRefused) {
  write_all(1);
  for (long answer : {long{-EIO}, long{-EINTR}, long{-EAGAIN}, long{-ENOMEM}, long{kBlockBytes},
                      long{kPart - kBlockBytes}, long{100}, long{0}}) {
    for (std::uint64_t times : {1, 3}) {
      for (std::uint32_t part = 0; part < kParts; part += 5) {
        make_plan({1, times, answer});
        std::memset(buffer(kAtOnce), 0, kPart);
        IoStatus status = read(part);
        make_plan({});
        EXPECT_TRUE(status != IoStatus::kDone || holds(part, 1)) << answer;
        bool lost = answer == -EIO || answer == 0;
        // What is cut within a block is an error where only whole blocks can be read.
        EXPECT_TRUE(answer == 100 || status == (lost ? IoStatus::kError : IoStatus::kDone)) << answer;
        EXPECT_EQ(read(part), IoStatus::kDone);
        EXPECT_TRUE(holds(part, 1));
      }
    }
  }
}

// In each block in turn the file may not grow any more: the kernel itself cuts the write short.
TEST_P(FileDeviceFaults, AFileWithALimit) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  signal(SIGXFSZ, SIG_IGN);
  for (std::uint64_t blocks = 2; blocks < 40; ++blocks) {
    rlimit small = {blocks * kBlockBytes, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    write_all(blocks);
    setrlimit(RLIMIT_FSIZE, &before);
    EXPECT_EQ(kParts - verify(blocks), (blocks - 1) / 16);
    ASSERT_FALSE(HasFailure());
  }
}

TEST_P(FileDeviceFaults, AFileThatIsCutOff) {
  write_all(1);
  for (std::uint64_t blocks = kParts * 16; blocks > 0; blocks -= 7) {
    std::uint64_t bytes = blocks * kBlockBytes - blocks % 3 * 100;
    ASSERT_EQ(truncate(path().c_str(), static_cast<off_t>(kBlockBytes + bytes)), 0);
    for (std::uint32_t part = 0; part < kParts; ++part) {
      bool whole = (part + 1) * kPart <= bytes;
      ASSERT_EQ(read(part), whole ? IoStatus::kDone : IoStatus::kError);
      ASSERT_TRUE(!whole || holds(part, 1));
    }
    if (blocks < 7) break;
  }
}

// A file system of its own, in namespaces of their own: 77 where that is not allowed.
TEST_P(FileDeviceFaults, AFileSystemThatIsFull) {
  device_.close();
  pid_t child = fork();
  if (child == 0) {
    auto only = [](auto id) { return "0 " + std::to_string(id) + " 1"; };
    std::string user = only(getuid()), group = only(getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) _exit(77);
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << user;
    std::ofstream("/proc/self/gid_map") << group;
    if (mount("none", directory_.c_str(), "tmpfs", 0, "size=512k") != 0) _exit(77);
    begin();
    if (HasFailure()) _exit(1);
    write_all(1);
    std::uint32_t failed = verify(1);
    EXPECT_GT(failed, kParts / 2);
    EXPECT_LT(failed, kParts);
    for (IoStatus status : statuses_) EXPECT_NE(status, IoStatus::kError);
    device_.discard(0, kPart * 4);
    device_.submit_write(kPart * 20, buffer(0), kPart, 0);
    BlockDevice::Completion done[1];
    while (device_.reap(done, 1'000'000'000) == 0) continue;
    EXPECT_EQ(done[0].status, IoStatus::kDone) << "there is room again";
    _exit(HasFailure() ? 1 : 0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "mounting is not allowed here";
  EXPECT_EQ(status, 0);
}

INSTANTIATE_TEST_SUITE_P(Ways, FileDeviceFaults, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Ring" : "Calls"; });

}  // namespace
}  // namespace coldpress::os
