// The engine on the real machine: userfaultfd, real pages of this process, real munmap, mremap, fork.
//
// Servers take messages; the test's own threads are the program. Needs userfaultfd with UFFDIO_MOVE; where it
// is not allowed the program ends with 77.
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
#include <thread>
#include <vector>

#include "space_linux_machine.h"
#include "support/page_pattern.h"

namespace coldpress::testing {
namespace {

// ThreadSanitizer does not see that mremap() takes memory from one thread's past to another's present.
[[gnu::no_sanitize("thread")]] bool holds(const std::uint64_t* words, const PageContent& content) {
  for (std::size_t i = 0; i < kPageWords; ++i) {
    if (words[i] != content[i]) return false;
  }
  return true;
}

class SpaceLinux : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kPages = 400;

  void fill(std::byte* at, std::uint64_t pages = kPages) {
    Random random(reinterpret_cast<std::uint64_t>(at));
    expected_.clear();
    for (std::uint64_t i = 0; i < pages; ++i) {
      expected_.push_back(make_content(random_kind(random), random.next()));
      std::memcpy(at + (i << kPageShift), expected_[i].data(), kPageBytes);
    }
  }
  void expect_content(const std::byte* at, std::uint64_t from = 0, std::uint64_t pages = kPages) {
    for (std::uint64_t i = from; i < from + pages; ++i) {
      ASSERT_EQ(std::memcmp(at + (i << kPageShift), expected_[i].data(), kPageBytes), 0) << "page " << i;
    }
  }
  void expect_zeros(const std::byte* at, std::uint64_t pages) {
    for (std::uint64_t i = 0; i < pages << kPageShift; ++i) ASSERT_EQ(at[i], std::byte{0}) << "byte " << i;
  }
  static void drop(void* at, std::uint64_t pages) { munmap(at, pages << kPageShift); }

  std::vector<PageContent> expected_;
  LinuxMachine machine_;
};

TEST_F(SpaceLinux, PagesComeBackAsTheyWere) {
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  for (int round = 0; round < 5; ++round) {
    EXPECT_GT(machine_.page_out(memory, kPages), kPages / 2);
    EXPECT_GT(machine_.stats().stored_pages.load(), 0u);
    expect_content(memory);
    memory[round << kPageShift] = expected_[round][0] == 0 ? std::byte{1} : std::byte{0};
    std::memcpy(expected_[round].data(), memory + (round << kPageShift), kPageBytes);
  }
  drop(memory, kPages);
}

TEST_F(SpaceLinux, AnUnmappedRangeIsForgottenAndItsAddressReadsZero) {
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  machine_.page_out(memory, kPages);
  drop(memory, kPages);
  // At once, before another thread, or a sanitizer, maps something there.
  void* again = mmap(memory, kPages << kPageShift, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
  // munmap() returns when its message was taken; managed() waits until it was processed.
  EXPECT_FALSE(machine_.space().managed(LinuxMachine::range(memory, kPages)));
  EXPECT_EQ(machine_.stats().stored_pages.load(), 0u);
  ASSERT_EQ(again, memory);
  machine_.adopt(memory, kPages);
  expect_zeros(memory, kPages);
  drop(memory, kPages);
}

TEST_F(SpaceLinux, MovedPagesAreFoundWhereTheyAreNow) {
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  machine_.page_out(memory, kPages);
  void* reserve = mmap(nullptr, kPages << kPageShift, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  auto* moved = static_cast<std::byte*>(
      mremap(memory, kPages << kPageShift, kPages << kPageShift, MREMAP_MAYMOVE | MREMAP_FIXED, reserve));
  ASSERT_EQ(moved, reserve);
  expect_content(moved, 0, kPages / 2);
  machine_.page_out(moved, kPages);
  // MREMAP_DONTUNMAP: the old place stays, empty.
  auto* kept = static_cast<std::byte*>(
      mremap(moved, kPages << kPageShift, kPages << kPageShift, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, nullptr));
  ASSERT_NE(kept, MAP_FAILED);
  expect_zeros(moved, kPages);
  expect_content(kept);
  drop(moved, kPages);
  drop(kept, kPages);
}

TEST_F(SpaceLinux, DroppedPagesReadZeroAndKeepWhatIsWrittenAfter) {
  std::byte* memory = machine_.map(kPages);
  for (int round = 0; round < 20; ++round) {
    fill(memory);
    if (round % 2 == 0) machine_.page_out(memory, kPages / 2);
    ASSERT_EQ(madvise(memory, kPages << kPageShift, MADV_DONTNEED), 0);
    if (round % 3 == 0) machine_.page_out(memory, kPages);
    expect_zeros(memory, kPages);
  }
  fill(memory);
  machine_.page_out(memory, kPages);
  expect_content(memory);
  drop(memory, kPages);
}

TEST_F(SpaceLinux, ReadOnlyPagesComeBackByCopy) {
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  machine_.page_out(memory, kPages);
  ASSERT_EQ(mprotect(memory, kPages << kPageShift, PROT_READ), 0);
  expect_content(memory);
  EXPECT_EQ(machine_.page_out(memory, kPages), 0u) << "the kernel moves writable pages only";
  ASSERT_EQ(mprotect(memory, kPages << kPageShift, PROT_READ | PROT_WRITE), 0);
  EXPECT_GT(machine_.page_out(memory, kPages), 0u);
  expect_content(memory);
  drop(memory, kPages);
}

TEST_F(SpaceLinux, ReleasedMemoryIsThePrograms) {
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  machine_.page_out(memory, kPages);
  ASSERT_TRUE(machine_.space().release(LinuxMachine::range(memory, kPages), machine_.worker()));
  EXPECT_EQ(machine_.stats().stored_pages.load(), 0u);
  expect_content(memory);
  drop(memory, kPages);
}

sigjmp_buf back;
void on_sigbus(int) { siglongjmp(back, 1); }

// Reads a byte. false: SIGBUS.
bool readable(const std::byte* at) {
  struct sigaction action {
  }, before{};
  action.sa_handler = on_sigbus;
  action.sa_flags = SA_NODEFER;
  sigaction(SIGBUS, &action, &before);
  bool good = sigsetjmp(back, 1) == 0;
  if (good) (void)*reinterpret_cast<const volatile std::byte*>(at);
  sigaction(SIGBUS, &before, nullptr);
  return good;
}

TEST_F(SpaceLinux, ADamagedPageGivesSigbusAndNoOtherDoes) {
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  machine_.page_out(memory, kPages);
  std::vector<std::uint64_t> damaged;
  PageIndex first = LinuxMachine::range(memory, 1).begin;
  for (std::uint64_t i = 0; i < kPages; i += 7) {
    if (corrupt_page(machine_.space(), first + i)) damaged.push_back(i);
  }
  ASSERT_GT(damaged.size(), 2u);
  for (std::uint64_t i = 0; i < kPages; ++i) {
    bool is_damaged = std::find(damaged.begin(), damaged.end(), i) != damaged.end();
    ASSERT_EQ(readable(memory + (i << kPageShift)), !is_damaged) << "page " << i;
    if (!is_damaged) expect_content(memory, i, 1);
  }
  EXPECT_EQ(machine_.stats().decompress_fail.load(), damaged.size());
  // Given up and written again, the page is a page.
  std::byte* one = memory + (damaged[0] << kPageShift);
  ASSERT_EQ(madvise(one, kPageBytes, MADV_DONTNEED), 0);
  EXPECT_TRUE(readable(one));
  drop(memory, kPages);
}

TEST_F(SpaceLinux, AForkedChildHasTheWholeContent) {
  if (!machine_.has_fork_event()) GTEST_SKIP() << "no fork event: needs CAP_SYS_PTRACE";
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  machine_.page_out(memory, kPages);
  expect_content(memory, 0, 50);  // some in, most out
  for (int round = 0; round < 3; ++round) {
    pid_t child = fork();
    if (child == 0) {
      // Only comparing: nothing of the C++ library in a child of a threaded process.
      for (std::uint64_t i = 0; i < kPages; ++i) {
        if (std::memcmp(memory + (i << kPageShift), expected_[i].data(), kPageBytes) != 0) _exit(1);
      }
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0) << "the child saw other bytes";
    // Shared pages are refused until they are written; nothing is lost meanwhile.
    machine_.page_out(memory, kPages);
    expect_content(memory);
    fill(memory);
    machine_.page_out(memory, kPages);
  }
  expect_content(memory);
  drop(memory, kPages);
}

TEST_F(SpaceLinux, FreedPagesThatTheKernelTookReadZeroOrAsBefore) {
  std::byte* memory = machine_.map(kPages);
  fill(memory);
  ASSERT_TRUE(machine_.space().release(LinuxMachine::range(memory, kPages), machine_.worker()));
  ASSERT_EQ(madvise(memory, kPages << kPageShift, MADV_FREE), 0);
  machine_.adopt(memory, kPages);
  machine_.page_out(memory, kPages);
  static constexpr PageContent kZeros{};
  for (std::uint64_t i = 0; i < kPages; ++i) {
    const std::byte* page = memory + (i << kPageShift);
    ASSERT_TRUE(std::memcmp(page, expected_[i].data(), kPageBytes) == 0 ||
                std::memcmp(page, kZeros.data(), kPageBytes) == 0);
  }
  drop(memory, kPages);
}

// Threads write and read real pages while they are captured and compressed all the time.
TEST_F(SpaceLinux, ManyThreadsUnderConstantReclaim) {
  constexpr int kThreads = 3;
  std::byte* memory = machine_.map(kThreads * kPages);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      std::byte* own = memory + (static_cast<std::uint64_t>(t) * kPages << kPageShift);
      Random random(static_cast<std::uint64_t>(t));
      std::vector<PageContent> expected(kPages, PageContent{});
      while (!stop && !HasFailure()) {
        std::uint64_t i = random.below(kPages);
        if (random.one_in(3)) {
          expected[i] = make_content(random_kind(random), random.next());
          std::memcpy(own + (i << kPageShift), expected[i].data(), kPageBytes);
        } else if (random.one_in(50)) {
          std::uint64_t pages = 1 + random.below(std::min<std::uint64_t>(kPages - i, 8));
          ASSERT_EQ(madvise(own + (i << kPageShift), pages << kPageShift, MADV_DONTNEED), 0);
          for (std::uint64_t j = i; j < i + pages; ++j) expected[j] = {};
        }
        ASSERT_EQ(std::memcmp(own + (i << kPageShift), expected[i].data(), kPageBytes), 0) << "page " << i;
      }
    });
  }
  std::int64_t until = sync::now_ns() + 3'000'000'000;
  while (sync::now_ns() < until && !HasFailure()) machine_.page_out(memory, kThreads * kPages);
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_GT(machine_.stats().zswpin.load(), 100u);
  drop(memory, kThreads * kPages);
}

// Blocks grow and go in several threads, as by realloc() and free(): addresses that one gives up are taken by
// another at once, before the engine has heard of either.
TEST_F(SpaceLinux, AddressesThatChangeHandsKeepTheRightContent) {
  constexpr int kThreads = 4;
  constexpr std::uint64_t kBlock = 16;
  std::atomic<bool> stop{false};
  std::atomic<int> moves{0}, refused{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      HeapMemory memory;
      vm::Worker worker;
      ASSERT_TRUE(make_worker(memory, {codec::Kind::kLz4, 1}, worker));
      Random random(static_cast<std::uint64_t>(t) + 99);
      while (!stop && !HasFailure()) {
        std::byte* block = machine_.map(kBlock, worker);
        std::uint64_t mark = random.next();
        for (std::uint64_t i = 0; i < kBlock; ++i) {
          PageContent content = make_content(ContentKind::kCompressible, mark + i);
          std::memcpy(block + (i << kPageShift), content.data(), kPageBytes);
        }
        machine_.space().page_out(LinuxMachine::range(block, kBlock), worker);
        machine_.space().handle_pending(worker);
        // Neighbours rarely leave room, so most of these move, often to where another thread just was.
        std::uint64_t pages = kBlock + 1 + random.below(3);
        void* moved = mremap(block, kBlock << kPageShift, pages << kPageShift, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED) {
          // The place was another thread's a moment ago and is still half known as managed: adopted in parts,
          // and the kernel moves one mapping at a time.
          ASSERT_EQ(errno, EFAULT);
          moved = block;
          pages = kBlock;
          ++refused;
        }
        moves += moved != block ? 1 : 0;
        auto* bytes = static_cast<std::byte*>(moved);
        for (std::uint64_t i = 0; i < kBlock; ++i) {
          PageContent content = make_content(ContentKind::kCompressible, mark + i);
          auto* words = reinterpret_cast<const std::uint64_t*>(bytes + (i << kPageShift));
          ASSERT_TRUE(holds(words, content)) << "page " << i << " has word " << std::hex << words[0]
                                             << " for " << content[0] << (moved != block ? ", moved" : "");
        }
        munmap(bytes, pages << kPageShift);
      }
    });
  }
  sync::sleep_ns(3'000'000'000);
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_GT(moves.load(), 20);
  RecordProperty("refused", refused.load());
}

bool userfaultfd_allowed() {
  os::LinuxMmu probe;
  Status opened = probe.init({.frame_count = 32});
  if (!opened) {
    std::string_view why = opened.error().text.view();
    std::printf("skipped: %.*s\n", static_cast<int>(why.size()), why.data());
  }
  probe.close();
  return static_cast<bool>(opened);
}

}  // namespace
}  // namespace coldpress::testing

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (!coldpress::testing::userfaultfd_allowed()) return 77;
  return RUN_ALL_TESTS();
}
