// What the kernel promises of userfaultfd and the engine is built on, asked of the kernel itself: after its
// own uffd-unit-tests.c. A kernel that does otherwise is one the engine must not run on.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "os/linux/uffd_abi.h"
#include "unit/os/linux/test_area.h"

namespace coldpress::os {
namespace {

using testing::all_bytes;
using testing::read_gives_bus_error;
using testing::TestArea;

class UserfaultKernelTest : public ::testing::Test {
 protected:
  void SetUp() override { fd_ = open_one(); }
  void TearDown() override { close(fd_); }
  static int open_one() {
    int fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
    if (fd >= 0) return fd;
    int device = ::open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
    fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    close(device);
    return fd;
  }
  static int call(int fd, unsigned long request, void* argument) {
    return ioctl(fd, request, argument) == 0 ? 0 : errno;
  }
  int begin(std::uint64_t features) {
    uffdio_api api{UFFD_API, features, 0};
    return call(fd_, UFFDIO_API, &api);
  }
  int enroll(PageRange range, std::uint64_t mode, std::uint64_t* calls = nullptr) {
    uffdio_register order{{range.begin.address(), range.pages() * kPageBytes}, mode, 0};
    int error = call(fd_, UFFDIO_REGISTER, &order);
    if (calls != nullptr) *calls = order.ioctls;
    return error;
  }
  int copy(PageIndex to, const std::byte* from) {
    uffdio_copy order{to.address(), reinterpret_cast<std::uint64_t>(from), kPageBytes, 0, 0};
    return call(fd_, UFFDIO_COPY, &order);
  }

  static constexpr std::uint64_t kPages = 16;
  int fd_ = -1;
  TestArea area_{kPages}, other_{kPages};
};

TEST_F(UserfaultKernelTest, TheApiIsAskedForOnceAndInItsVersion) {
  uffdio_api wrong{UFFD_API + 1, 0, 0}, unknown{UFFD_API, std::uint64_t{1} << 63, 0};
  EXPECT_EQ(call(fd_, UFFDIO_API, &wrong), EINVAL);
  EXPECT_EQ(call(fd_, UFFDIO_API, &unknown), EINVAL);
  EXPECT_EQ(begin(0), 0);
  EXPECT_EQ(begin(0), EINVAL);
}

TEST_F(UserfaultKernelTest, ARegistrationSaysWhichCallsItAllows) {
  ASSERT_EQ(begin(0), 0);
  auto bit = [](int call) { return std::uint64_t{1} << call; };
  std::uint64_t calls = 0;
  ASSERT_EQ(enroll(area_.range(), UFFDIO_REGISTER_MODE_MISSING, &calls), 0);
  constexpr int kMove = 5, kPoison = 8;
  for (int needed : {_UFFDIO_WAKE, _UFFDIO_COPY, _UFFDIO_ZEROPAGE, kMove, kPoison}) {
    EXPECT_NE(calls & bit(needed), 0u) << "call " << needed;
  }
  ASSERT_EQ(enroll(other_.range(), UFFDIO_REGISTER_MODE_WP, &calls), 0);
  EXPECT_NE(calls & bit(_UFFDIO_WRITEPROTECT), 0u);
  EXPECT_EQ(enroll(area_.range(), 0), EINVAL) << "no mode";
  EXPECT_EQ(enroll(other_.range(), UFFDIO_REGISTER_MODE_MINOR), EINVAL) << "there is no page cache to it";
}

TEST_F(UserfaultKernelTest, ASecondZeroPageIsInTheWay) {
  ASSERT_EQ(begin(0), 0);
  ASSERT_EQ(enroll(area_.range(), UFFDIO_REGISTER_MODE_MISSING), 0);
  uffdio_zeropage order{{area_.first().address(), kPageBytes}, 0, 0};
  EXPECT_EQ(call(fd_, UFFDIO_ZEROPAGE, &order), 0);
  EXPECT_TRUE(all_bytes(area_.data(), 0));
  EXPECT_EQ(call(fd_, UFFDIO_ZEROPAGE, &order), EEXIST);
  EXPECT_EQ(order.zeropage, -EEXIST);
}

// The signal path: each missing page gives SIGBUS until it is there, and no message; a child of a fork has
// what is there.
TEST_F(UserfaultKernelTest, AMissingPageGivesOneSignalAndNoMessage) {
  ASSERT_EQ(begin(UFFD_FEATURE_SIGBUS), 0);
  ASSERT_EQ(enroll(area_.range(), UFFDIO_REGISTER_MODE_MISSING), 0);
  other_.fill();
  unsigned signals = 0;
  for (std::uint64_t i = 0; i + 1 < kPages; ++i) {
    signals += read_gives_bus_error(area_.data(i)) ? 1 : 0;
    ASSERT_EQ(copy(area_.first() + i, other_.data(i)), 0);
    signals += read_gives_bus_error(area_.data(i)) ? 1 : 0;
    EXPECT_TRUE(all_bytes(area_.data(i), static_cast<unsigned>(i + 1)));
  }
  EXPECT_EQ(signals, kPages - 1);
  pid_t child = fork();
  if (child == 0) _exit(all_bytes(area_.data(3), 4) && !read_gives_bus_error(area_.data(3)) ? 7 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 7);
  pollfd asked{fd_, POLLIN, 0};
  EXPECT_EQ(poll(&asked, 1, 0), 0) << "a message";
}

TEST_F(UserfaultKernelTest, EveryOtherPageIsPoisoned) {
  ASSERT_EQ(begin(abi::kFeaturePoison), 0);
  ASSERT_EQ(enroll(area_.range(), UFFDIO_REGISTER_MODE_MISSING), 0);
  other_.fill();
  for (std::uint64_t i = 0; i < kPages; ++i) {
    abi::UffdioPoison order{(area_.first() + i).address(), kPageBytes, 0, 0};
    ASSERT_EQ(i % 2 == 0 ? call(fd_, abi::kUffdioPoison, &order) : copy(area_.first() + i, other_.data(i)),
              0);
  }
  unsigned signals = 0;
  for (std::uint64_t i = 0; i < kPages; ++i) {
    bool poisoned = read_gives_bus_error(area_.data(i));
    signals += poisoned ? 1 : 0;
    EXPECT_EQ(poisoned, i % 2 == 0) << "page " << i;
    if (poisoned) continue;
    EXPECT_TRUE(all_bytes(area_.data(i), static_cast<unsigned>(i + 1)));
  }
  EXPECT_EQ(signals, kPages / 2);
}

// Pages of a huge page are captured one by one, or many at once, and put back where a huge page could be.
TEST_F(UserfaultKernelTest, PagesMoveOutOfAHugePageAndBack) {
  constexpr std::uint64_t kHuge = std::uint64_t{2} << 20, kCount = kHuge / kPageBytes;
  ASSERT_EQ(begin(abi::kFeatureMove), 0);
  void* mapped = mmap(nullptr, 2 * kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(mapped, MAP_FAILED);
  auto* huge =
      reinterpret_cast<std::byte*>((reinterpret_cast<std::uint64_t>(mapped) + kHuge - 1) / kHuge * kHuge);
  ASSERT_EQ(madvise(huge, kHuge, MADV_HUGEPAGE), 0);
  for (std::uint64_t i = 0; i < kCount; ++i)
    std::memset(huge + i * kPageBytes, static_cast<int>(i % 251), kPageBytes);
  std::uint64_t huge_kib = 0;
  std::ifstream smaps("/proc/self/smaps_rollup");
  for (std::string key; smaps >> key;) {
    if (key == "AnonHugePages:") smaps >> huge_kib;
  }
  if (huge_kib == 0) {
    munmap(mapped, 2 * kHuge);
    GTEST_SKIP() << "this kernel gave no huge page";
  }
  TestArea frames(kCount);
  ASSERT_EQ(enroll(frames.range(), UFFDIO_REGISTER_MODE_MISSING), 0);
  PageIndex first = page_of(reinterpret_cast<std::uint64_t>(huge));
  ASSERT_EQ(enroll({first, first + kCount}, UFFDIO_REGISTER_MODE_MISSING), 0);
  auto move = [&](PageIndex to, PageIndex from, std::uint64_t pages) {
    while (pages > 0) {
      abi::UffdioMove order{to.address(), from.address(), pages * kPageBytes, 0, 0};
      int error = call(fd_, abi::kUffdioMove, &order);
      if (error != 0 && error != EAGAIN) return error;
      std::uint64_t moved = order.move > 0 ? static_cast<std::uint64_t>(order.move) / kPageBytes : 0;
      to = to + moved, from = from + moved, pages -= moved;
    }
    return 0;
  };
  ASSERT_EQ(move(frames.first() + 5, first + 5, 1), 0);
  ASSERT_EQ(move(frames.first() + 32, first + 32, kCount - 32), 0);
  for (std::uint64_t i = 32; i < kCount; ++i) ASSERT_TRUE(all_bytes(frames.data(i), i % 251)) << i;
  ASSERT_EQ(move(first + 5, frames.first() + 5, 1), 0);
  ASSERT_EQ(move(first + 32, frames.first() + 32, kCount - 32), 0);
  for (std::uint64_t i = 0; i < kCount; ++i) EXPECT_TRUE(all_bytes(huge + i * kPageBytes, i % 251)) << i;
  munmap(mapped, 2 * kHuge);
}

}  // namespace
}  // namespace coldpress::os
