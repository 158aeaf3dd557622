// The engine on real memory, with a kernel that fails: each call of one kind in turn, and those after it, is
// refused, cut short, or done and said not to be. What every page reads is compared, in a forked child too,
// and nothing may be left over. As space_failures_test.cc on the simulated machine.
//
// The sources that make these calls are compiled here once more, with the calls replaced. Needs
// userfaultfd with UFFDIO_MOVE; where it is not allowed the program ends with 77.
#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <vector>

#include "base/units.h"
#include "os/linux/syscalls.h"
#include "os/linux/uffd_abi.h"
#include "sync/raw_syscall.h"

namespace coldpress::testing {

// What is done instead of a call.
enum class Instead { kRefuse, kShorten, kDoAndDeny };
struct Failure {
  const char* name;
  long number;            // of the system call
  unsigned long request;  // of an ioctl
  Instead instead;
  long error;
};
std::atomic<const Failure*> g_failure{nullptr};  // nullptr: nothing fails
std::atomic<std::uint64_t> g_calls{0}, g_at{0}, g_times{0};

inline bool is_its_turn() {
  std::uint64_t call = g_calls.fetch_add(1) + 1, at = g_at.load();
  return at <= call && call - at < g_times.load();
}

// MOVE, COPY and ZEROPAGE: as the kernel leaves their structures when they stop early.
struct Transfer {
  std::uint64_t* bytes;
  std::int64_t* done;
};
inline Transfer transfer_of(unsigned long request, long argument) {
  if (request == os::abi::kUffdioMove) {
    auto* move = reinterpret_cast<os::abi::UffdioMove*>(argument);
    return {&move->len, &move->move};
  }
  if (request == UFFDIO_COPY) {
    auto* copy = reinterpret_cast<uffdio_copy*>(argument);
    return {reinterpret_cast<std::uint64_t*>(&copy->len), reinterpret_cast<std::int64_t*>(&copy->copy)};
  }
  if (request == UFFDIO_ZEROPAGE) {
    auto* zero = reinterpret_cast<uffdio_zeropage*>(argument);
    return {reinterpret_cast<std::uint64_t*>(&zero->range.len),
            reinterpret_cast<std::int64_t*>(&zero->zeropage)};
  }
  return {nullptr, nullptr};
}

inline long faulty_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                           long f = 0) {
  auto call = [&] { return coldpress::raw_syscall(number, a, b, c, d, e, f); };
  const Failure* failure = g_failure.load();
  bool ioctl = number == SYS_ioctl;
  if (failure == nullptr || number != failure->number) return call();
  if (ioctl && static_cast<unsigned long>(b) != failure->request) return call();
  Transfer transfer = ioctl ? transfer_of(failure->request, c) : Transfer{nullptr, nullptr};
  if (transfer.bytes != nullptr && *transfer.bytes == 0 && failure->error != EAGAIN)
    return call();  // a question
  if (!is_its_turn()) return call();
  if (failure->instead != Instead::kRefuse && transfer.bytes != nullptr) {
    std::uint64_t all = *transfer.bytes;
    *transfer.bytes = std::min<std::uint64_t>(all, kPageBytes);
    long answer = call();
    *transfer.bytes = all;
    if (answer != 0 || (failure->instead == Instead::kShorten && all <= kPageBytes)) return answer;
    if (failure->instead == Instead::kShorten) return -EAGAIN;  // *done is a page
  }
  if (transfer.done != nullptr) *transfer.done = -failure->error;
  return -failure->error;
}

}  // namespace coldpress::testing

namespace coldpress::os {

// As in os/linux/syscalls.h, whose own stay what they are for everybody else.
inline long faulty_ioctl(int fd, unsigned long request, void* argument) {
  return testing::faulty_syscall(SYS_ioctl, fd, static_cast<long>(request), reinterpret_cast<long>(argument));
}
inline long faulty_read(int fd, void* buffer, std::size_t bytes) {
  return testing::faulty_syscall(SYS_read, fd, reinterpret_cast<long>(buffer), static_cast<long>(bytes));
}
inline long faulty_pread(int fd, void* buffer, std::size_t bytes, std::uint64_t offset) {
  return testing::faulty_syscall(SYS_pread64, fd, reinterpret_cast<long>(buffer), static_cast<long>(bytes),
                                 static_cast<long>(offset));
}
inline long faulty_madvise(void* start, std::size_t bytes, int advice) {
  return testing::faulty_syscall(SYS_madvise, reinterpret_cast<long>(start), static_cast<long>(bytes),
                                 advice);
}
inline long faulty_poll(pollfd* fds, unsigned count, std::int64_t timeout_ns) {
  timespec timeout{timeout_ns / 1000000000, timeout_ns % 1000000000};
  return testing::faulty_syscall(SYS_ppoll, reinterpret_cast<long>(fds), count,
                                 timeout_ns < 0 ? 0 : reinterpret_cast<long>(&timeout));
}

}  // namespace coldpress::os

#define sys_ioctl faulty_ioctl
#define sys_read faulty_read
#define sys_pread faulty_pread
#define sys_madvise faulty_madvise
#define sys_poll faulty_poll
#include "os/linux/linux_mmu.cc"
#include "os/linux/userfault.cc"
#undef sys_ioctl
#undef sys_read
#undef sys_pread
#undef sys_madvise
#undef sys_poll

#include "space_linux_machine.h"
#include "support/page_pattern.h"

namespace coldpress::testing {
namespace {

constexpr Failure kFailures[] = {
    {"move_changing", SYS_ioctl, os::abi::kUffdioMove, Instead::kRefuse, EAGAIN},
    {"move_busy", SYS_ioctl, os::abi::kUffdioMove, Instead::kRefuse, EBUSY},
    {"move_no_memory", SYS_ioctl, os::abi::kUffdioMove, Instead::kRefuse, ENOMEM},
    {"move_short", SYS_ioctl, os::abi::kUffdioMove, Instead::kShorten, EAGAIN},
    {"move_denied", SYS_ioctl, os::abi::kUffdioMove, Instead::kDoAndDeny, EEXIST},
    {"copy_changing", SYS_ioctl, UFFDIO_COPY, Instead::kRefuse, EAGAIN},
    {"copy_no_memory", SYS_ioctl, UFFDIO_COPY, Instead::kRefuse, ENOMEM},
    {"copy_short", SYS_ioctl, UFFDIO_COPY, Instead::kShorten, EAGAIN},
    {"zero_changing", SYS_ioctl, UFFDIO_ZEROPAGE, Instead::kRefuse, EAGAIN},
    {"zero_no_memory", SYS_ioctl, UFFDIO_ZEROPAGE, Instead::kRefuse, ENOMEM},
    {"zero_short", SYS_ioctl, UFFDIO_ZEROPAGE, Instead::kShorten, EAGAIN},
    {"poison_changing", SYS_ioctl, os::abi::kUffdioPoison, Instead::kRefuse, EAGAIN},
    {"poison_no_memory", SYS_ioctl, os::abi::kUffdioPoison, Instead::kRefuse, ENOMEM},
    {"register_no_memory", SYS_ioctl, UFFDIO_REGISTER, Instead::kRefuse, ENOMEM},
    {"unregister_no_memory", SYS_ioctl, UFFDIO_UNREGISTER, Instead::kRefuse, ENOMEM},
    {"scan_no_memory", SYS_ioctl, os::abi::kPagemapScan, Instead::kRefuse, ENOMEM},
    {"pagemap_not_read", SYS_pread64, 0, Instead::kRefuse, EIO},
    {"no_message_after_all", SYS_read, 0, Instead::kRefuse, EAGAIN},
    {"wait_interrupted", SYS_ppoll, 0, Instead::kRefuse, EINTR},
    {"madvise_no_memory", SYS_madvise, 0, Instead::kRefuse, ENOMEM},
};

sigjmp_buf g_back;
bool readable(const std::byte* at) {
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) { siglongjmp(g_back, 1); };
  action.sa_flags = SA_NODEFER;
  sigaction(SIGBUS, &action, &before);
  bool good = sigsetjmp(g_back, 1) == 0;
  if (good) (void)*reinterpret_cast<const volatile std::byte*>(at);
  sigaction(SIGBUS, &before, nullptr);
  return good;
}

class SpaceLinuxFailures : public ::testing::TestWithParam<Failure> {
 protected:
  static constexpr std::uint64_t kPages = 48, kDamaged = 11;

  // What a program does with memory; page kDamaged is lost on the way.
  void use_memory() {
    using vm::Space;
    LinuxMachine machine;
    Random random(7);
    std::vector<PageContent> expected;
    void* start = mmap(nullptr, kPages << kPageShift, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ASSERT_NE(start, MAP_FAILED);
    madvise(start, kPages << kPageShift, MADV_NOHUGEPAGE);
    auto* memory = static_cast<std::byte*>(start);
    auto range = [&] { return LinuxMachine::range(memory, kPages); };
    auto adopt = [&] {
      for (auto adopted = Space::Adopted::kLater; adopted != Space::Adopted::kYes;) {
        adopted = machine.space().adopt(range(), machine.worker());
        machine.space().handle_pending(machine.worker());
      }
    };
    auto write = [&](std::uint64_t i) {
      expected[i] = make_content(random_kind(random), random.next());
      std::memcpy(memory + (i << kPageShift), expected[i].data(), kPageBytes);
    };
    auto verify = [&](std::uint64_t from, std::uint64_t to) {
      for (std::uint64_t i = from; i < to; ++i) {
        if (i == kDamaged) continue;
        ASSERT_EQ(std::memcmp(memory + (i << kPageShift), expected[i].data(), kPageBytes), 0) << "page " << i;
      }
    };
    auto page_out = [&] { machine.page_out(memory, kPages); };

    make_plan();
    adopt();
    expected.resize(kPages);
    for (std::uint64_t i = 0; i < kPages; i += 3) ASSERT_EQ(memory[i << kPageShift], std::byte{0});
    for (std::uint64_t i = 0; i < kPages; ++i) write(i);
    expected[kDamaged] = make_content(ContentKind::kCompressible, 5);
    std::memcpy(memory + (kDamaged << kPageShift), expected[kDamaged].data(), kPageBytes);
    for (int tries = 0; !corrupt_page(machine.space(), range().begin + kDamaged); ++tries) {
      ASSERT_LT(tries, 20) << "a page does not go out";
      page_out();
    }
    ASSERT_FALSE(readable(memory + (kDamaged << kPageShift)));
    verify(0, kPages / 2);
    pid_t child = machine.has_fork_event() ? fork() : 0;
    if (child == 0 && machine.has_fork_event()) {
      for (std::uint64_t i = 0; i < kPages; ++i) {
        bool same =
            i == kDamaged || std::memcmp(memory + (i << kPageShift), expected[i].data(), kPageBytes) == 0;
        if (!same) _exit(1);
      }
      _exit(0);
    }
    int status = 0;
    if (child != 0) {
      ASSERT_EQ(waitpid(child, &status, 0), child);
    }
    // A child that could not be filled is ended rather than let read zeros.
    bool fills = failure_.request == UFFDIO_COPY || failure_.request == os::abi::kUffdioPoison;
    ASSERT_TRUE(status == 0 || (fills && WIFSIGNALED(status))) << "the child saw other bytes: " << status;
    whole_children_ += status == 0 ? 1 : 0;
    for (std::uint64_t i = 0; i < kPages; i += 5) {
      if (i != kDamaged) write(i);
    }
    page_out();
    machine.mmu().empty_trash(0);
    page_out();
    ASSERT_EQ(mprotect(memory, 10 << kPageShift, PROT_READ), 0);
    verify(0, 10);
    ASSERT_EQ(mprotect(memory, 10 << kPageShift, PROT_READ | PROT_WRITE), 0);
    page_out();
    void* place = mmap(nullptr, kPages << kPageShift, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void* moved =
        mremap(memory, kPages << kPageShift, kPages << kPageShift, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    ASSERT_EQ(moved, place);
    memory = static_cast<std::byte*>(moved);
    verify(20, 30);
    page_out();
    ASSERT_EQ(madvise(memory + (30 << kPageShift), 5 << kPageShift, MADV_DONTNEED), 0);
    for (std::uint64_t i = 30; i < 35; ++i) expected[i] = {};
    verify(25, 40);
    page_out();
    EXPECT_FALSE(machine.space().release(range(), machine.worker())) << "what is lost stays so";
    verify(0, kPages);
    ASSERT_FALSE(readable(memory + (kDamaged << kPageShift)));
    ASSERT_EQ(madvise(memory + (kDamaged << kPageShift), kPageBytes, MADV_DONTNEED), 0);
    for (int tries = 0; !machine.space().release(range(), machine.worker()) && tries < 3;) ++tries;
    verify(0, kPages);
    adopt();
    page_out();
    verify(0, kPages);
    g_failure.store(nullptr);
    munmap(memory, kPages << kPageShift);
  }

  void make_plan() {
    g_calls.store(0);
    g_at.store(at_);
    g_times.store(times_);
    g_failure.store(&failure_);
  }

  Failure failure_ = GetParam();
  std::uint64_t at_ = 0, times_ = 0, whole_children_ = 0;
};

TEST_P(SpaceLinuxFailures, OneAfterTheOther) {
  std::uint64_t calls = 0;
  for (std::uint64_t times : {1, 3}) {
    times_ = times;
    for (at_ = 1; at_ == 1 || at_ <= calls; at_ += times) {
      SCOPED_TRACE("call " + std::to_string(at_) + ", " + std::to_string(times) + " in a row");
      alarm(60);
      use_memory();
      g_failure.store(nullptr);
      calls = g_calls.load();
      if (HasFailure()) return;
    }
  }
  alarm(0);
  EXPECT_GT(whole_children_, 0u);
  EXPECT_GT(calls, 0u) << "nothing could fail: this proves nothing";
  std::cout << calls << " calls\n";
}

INSTANTIATE_TEST_SUITE_P(Of, SpaceLinuxFailures, ::testing::ValuesIn(kFailures),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace coldpress::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  coldpress::os::LinuxMmu probe;
  if (auto opened = probe.init({.frame_count = 32}); !opened) {
    std::string_view why = opened.error().text.view();
    std::printf("skipped: %.*s\n", static_cast<int>(why.size()), why.data());
    return 77;
  }
  probe.close();
  return RUN_ALL_TESTS();
}
