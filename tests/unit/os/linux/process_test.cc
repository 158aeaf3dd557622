#include "os/linux/process.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "os/linux/syscalls.h"
#include "sync/atomic.h"

namespace coldpress::os {
namespace {

TEST(ParseMapping, TakesTheLinesThatTheKernelWrites) {
  Mapping m;
  ASSERT_TRUE(
      parse_mapping("55d0c8a00000-55d0c8a21000 rw-p 00000000 00:00 0                          [heap]", m));
  EXPECT_EQ(m.range, (PageRange{{0x55d0c8a00}, {0x55d0c8a21}}));
  EXPECT_TRUE(m.readable && m.writable && !m.executable && !m.shared && !m.file);
  EXPECT_EQ(m.name, "[heap]");

  ASSERT_TRUE(parse_mapping(
      "7f12a4000000-7f12a4021000 r-xs 00026000 fe:01 1835025                    /usr/lib/x86_64/libc.so.6",
      m));
  EXPECT_TRUE(m.readable && !m.writable && m.executable && m.shared && m.file);
  EXPECT_EQ(m.name, "/usr/lib/x86_64/libc.so.6");

  ASSERT_TRUE(parse_mapping("7f12a4000000-7f12a4021000 ---p 00000000 00:00 0 ", m));
  EXPECT_TRUE(!m.readable && !m.writable && !m.executable && !m.shared && !m.file);
  EXPECT_EQ(m.name, "");

  ASSERT_TRUE(parse_mapping("ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0      [vsyscall]", m));
  EXPECT_EQ(m.range.begin, PageIndex{0xffffffffff600});
  EXPECT_EQ(m.name, "[vsyscall]");
}

TEST(ParseMapping, KeepsOddNamesWhole) {
  Mapping m;
  ASSERT_TRUE(parse_mapping("1000-2000 rw-s 00000000 00:01 5   /tmp/a name: 1-2 rw-p (deleted)", m));
  EXPECT_EQ(m.name, "/tmp/a name: 1-2 rw-p (deleted)");
  EXPECT_TRUE(m.file);
  ASSERT_TRUE(parse_mapping("1000-2000 rw-p 00000000 00:00 0   [anon:my arena]", m));
  EXPECT_EQ(m.name, "[anon:my arena]");
}

TEST(ParseMapping, RefusesEverythingCutShort) {
  const std::string line = "7f12a4000000-7f12a4021000 r-xs 00026000 fe:01 1835025";
  std::size_t inode = line.rfind(' ') + 1;
  for (std::size_t length = 0; length < inode; ++length) {
    Mapping m;
    EXPECT_FALSE(parse_mapping(std::string_view(line).substr(0, length), m)) << line.substr(0, length);
  }
}

TEST(ParseMapping, RefusesWhatIsNoLine) {
  for (const char* line : {"", " ", "x", "-", "1000", "1000-", "1000-2000", "1000 2000 rw-p 00000000 00:00 0",
                           "1000-2000rw-p 00000000 00:00 0", "g000-2000 rw-p 00000000 00:00 0",
                           "2000-1000 rw-p 00000000 00:00 0", "1000-2000 rw-p xyz 00:00 0",
                           "1000-2000 rw-p 00000000 0000 0", "1000-2000 rw-p 00000000 00: 0",
                           "1000-2000 rw-p 00000000 :00 0", "Size: 132 kB", "VmFlags: rd wr mr mw me ac"}) {
    Mapping m;
    EXPECT_FALSE(parse_mapping(line, m)) << line;
  }
}

class ProcessViewTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(view_.open()); }
  void TearDown() override { view_.close(); }
  // Every mapping of this process, with its name kept.
  std::vector<std::pair<Mapping, std::string>> all(std::size_t buffer_bytes) {
    std::vector<char> buffer(buffer_bytes);
    std::vector<std::pair<Mapping, std::string>> found;
    found.reserve(1000);  // so that looking does not change what is looked at
    EXPECT_TRUE(view_.for_each_mapping(buffer, [&](const Mapping& m) { found.emplace_back(m, m.name); }));
    return found;
  }

  ProcessView view_;
};

TEST_F(ProcessViewTest, SeesAMappingOfThisProcess) {
  constexpr std::size_t kBytes = 16 * kPageBytes;
  void* area = mmap(nullptr, kBytes, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(area, MAP_FAILED);
  PageIndex first = page_of(reinterpret_cast<std::uint64_t>(area));
  bool seen = false;
  for (const auto& [m, name] : all(64 << 10)) {
    if (!m.range.contains(first)) continue;
    seen = true;
    EXPECT_EQ(m.range, (PageRange{first, first + 16}));
    EXPECT_TRUE(m.readable && !m.writable && !m.executable && m.shared);
  }
  EXPECT_TRUE(seen);
  munmap(area, kBytes);
}

TEST_F(ProcessViewTest, SeesTheSameThroughASmallBuffer) {
  // Reading allocates, and a sanitizer's allocator makes mappings: compare two readings between which the
  // mappings stood still, as a third one shows.
  auto large = all(64 << 10);
  auto small = all(4096 + 512);  // lines straddle the reads
  auto again = all(64 << 10);
  for (int i = 0; i < 50 && again.size() != large.size(); ++i) {
    large = std::move(again);
    small = all(4096 + 512);
    again = all(64 << 10);
  }
  EXPECT_GT(large.size(), 10u);
  ASSERT_EQ(again.size(), large.size());
  EXPECT_EQ(small.size(), large.size());
  bool stack = false;
  for (const auto& [m, name] : small) stack = stack || name == "[stack]";
  EXPECT_TRUE(stack);
}

TEST_F(ProcessViewTest, SaysWhenALineDoesNotFitTheBuffer) {
  char buffer[16];
  EXPECT_FALSE(view_.for_each_mapping(buffer, [](const Mapping&) {}));
}

TEST_F(ProcessViewTest, AnonymousMemoryIsCounted) {
  constexpr std::uint64_t kPages = 4096;
  std::uint64_t before = view_.rss_anon_pages();
  EXPECT_GT(before, 0u);
  void* area = mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  ASSERT_NE(area, MAP_FAILED);
  std::uint64_t with = view_.rss_anon_pages();
  munmap(area, kPages * kPageBytes);
  std::uint64_t after = view_.rss_anon_pages();
  // The kernel batches its counters per thread and cpu: leave it some room.
  EXPECT_GE(with, before + kPages - 512);
  EXPECT_LE(after, with - kPages + 512);
}

TEST_F(ProcessViewTest, FindsTheBlocksOfThreads) {
  sync::Atomic<bool> done{false};
  sync::Atomic<std::uint64_t> on_stack{0};
  std::size_t threads = view_.thread_count();
  EXPECT_GE(threads, 1u);
  std::thread thread([&] {
    // Not the address of a variable: a sanitizer may keep those elsewhere.
    on_stack.store(reinterpret_cast<std::uint64_t>(__builtin_frame_address(0)));
    while (!done.load()) std::this_thread::yield();
  });
  while (on_stack.load() == 0) std::this_thread::yield();
  EXPECT_GT(view_.thread_count(), threads);
  std::uint64_t blocks[64];
  std::size_t count = view_.thread_blocks(blocks);
  EXPECT_GE(count, 2u);
  // One of them lies in the thread's own stack mapping.
  bool found = false;
  for (const auto& [m, name] : all(64 << 10)) {
    if (!m.range.contains(page_of(on_stack.load()))) continue;
    for (std::size_t i = 0; i < count; ++i) found = found || m.range.contains(page_of(blocks[i]));
  }
  EXPECT_TRUE(found);
  EXPECT_EQ(view_.thread_blocks(blocks), count) << "and finds them again";
  EXPECT_EQ(view_.thread_blocks({blocks, 1}), 1u);
  done.store(true);
  thread.join();
}

TEST_F(ProcessViewTest, NamesItsDescriptors) {
  int fds[3];
  view_.descriptors(fds);
  for (int fd : fds) EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  view_.close();
  for (int fd : fds) EXPECT_EQ(fcntl(fd, F_GETFD), -1);
  view_.descriptors(fds);
  for (int fd : fds) EXPECT_EQ(fd, -1);
}

TEST(Machine, ItsSizeIsWhatTheLibrarySays) {
  auto expected = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) * kPageBytes;
  EXPECT_EQ(physical_memory_bytes(), expected);
}

TEST(Machine, AllowedCpusAreThoseOfTheMask) {
  cpu_set_t set;
  ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
  int cpus[1024];
  std::size_t count = allowed_cpus(cpus);
  ASSERT_EQ(count, static_cast<std::size_t>(CPU_COUNT(&set)));
  for (std::size_t i = 0; i < count; ++i) EXPECT_TRUE(CPU_ISSET(static_cast<unsigned>(cpus[i]), &set));
  EXPECT_EQ(allowed_cpus({cpus, 1}), 1u);
}

}  // namespace
}  // namespace coldpress::os
