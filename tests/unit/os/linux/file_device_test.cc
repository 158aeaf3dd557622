#include "os/linux/file_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "support/heap_memory.h"

namespace coldpress::os {
namespace {

using testing::HeapMemory;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::int64_t kSecond = 1'000'000'000;

// With the ring and without.
class FileDeviceTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    char name[] = "/var/tmp/coldpress-file-device-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    path_ = directory_ + "/swap";
    buffer_ = memory_.allocate(kMiB);
    if (!GetParam()) device_.without_ring();
  }
  void TearDown() override {
    device_.close();
    unlink(path_.c_str());
    rmdir(directory_.c_str());
  }
  std::string open(std::uint64_t bytes) {
    auto status = device_.open(path_.c_str(), bytes);
    return status ? "" : std::string(status.error().text.view());
  }
  // Writes blocks that hold their number and `mark`, one write each; waits for all.
  std::vector<IoStatus> write(std::uint64_t first, std::size_t blocks, int mark) {
    std::vector<IoStatus> statuses;
    BlockDevice::Completion done[8];
    for (std::size_t i = 0; i < blocks; ++i) {
      std::byte* block = buffer_ + i % 8 * kBlockBytes;
      if (i >= 8) collect(statuses, done);
      std::snprintf(reinterpret_cast<char*>(block), kBlockBytes, "block %zu mark %d", std::size_t(first + i),
                    mark);
      device_.submit_write((first + i) * kBlockBytes, block, kBlockBytes, static_cast<std::uint32_t>(i % 8));
      if (i % 8 != 7) continue;
      while (statuses.size() < i + 1) collect(statuses, done);
    }
    while (statuses.size() < blocks) collect(statuses, done);
    return statuses;
  }
  void collect(std::vector<IoStatus>& statuses, BlockDevice::Completion (&done)[8]) {
    std::size_t count = device_.reap(done, kSecond);
    for (std::size_t i = 0; i < count; ++i) statuses.push_back(done[i].status);
  }
  std::string read(std::uint64_t block) {
    std::byte* into = buffer_ + 100 * kBlockBytes;
    if (device_.read(block * kBlockBytes, into, kBlockBytes) != IoStatus::kDone) return "error";
    return reinterpret_cast<char*>(into);
  }
  std::uint64_t allocated_bytes() const {
    struct stat about;
    return stat(path_.c_str(), &about) == 0 ? static_cast<std::uint64_t>(about.st_blocks) * 512 : 0;
  }

  HeapMemory memory_;
  std::string directory_, path_;
  std::byte* buffer_ = nullptr;
  FileDevice device_;
};

TEST_P(FileDeviceTest, ReadsWhatWasWritten) {
  ASSERT_EQ(open(4 * kMiB), "");
  EXPECT_EQ(device_.bytes(), 4 * kMiB);
  std::span<std::byte> buffers[] = {{buffer_, 32 * kBlockBytes}};
  device_.use_buffers(buffers);
  for (IoStatus status : write(0, 100, 1)) EXPECT_EQ(status, IoStatus::kDone);
  for (IoStatus status : write(1000, 24, 2)) EXPECT_EQ(status, IoStatus::kDone);
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(read(i), "block " + std::to_string(i) + " mark 1");
  EXPECT_EQ(read(1023), "block 1023 mark 2");
  BlockDevice::Completion none[1];
  EXPECT_EQ(device_.reap(none, 0), 0u);
  EXPECT_EQ(device_.reap(none, 1000), 0u) << "nothing is under way: no wait";
}

TEST_P(FileDeviceTest, DiscardGivesTheRoomBack) {
  ASSERT_EQ(open(4 * kMiB), "");
  write(0, 256, 1);
  std::uint64_t before = allocated_bytes();
  device_.discard(0, kMiB / 2);
  EXPECT_LT(allocated_bytes(), before);
  EXPECT_EQ(read(200), "block 200 mark 1");
}

TEST_P(FileDeviceTest, AFileThatEndsEarlyIsAnErrorNeverZeros) {
  ASSERT_EQ(open(4 * kMiB), "");
  write(0, 64, 1);
  ASSERT_EQ(truncate(path_.c_str(), 10 * kBlockBytes), 0);
  EXPECT_EQ(read(5), "block 5 mark 1");
  EXPECT_EQ(read(20), "error");
}

TEST_P(FileDeviceTest, OneProcessOneFile) {
  ASSERT_EQ(open(4 * kMiB), "");
  FileDevice other;
  auto status = other.open(path_.c_str(), 4 * kMiB);
  ASSERT_FALSE(status);
  EXPECT_NE(std::string(status.error().text.view()).find("in use by another process"), std::string::npos);
  device_.close();
  EXPECT_TRUE(other.open(path_.c_str(), 0)) << "its own header is known again, and its size";
  EXPECT_EQ(other.bytes(), 4 * kMiB);
  other.close();
  EXPECT_EQ(open(0), "") << "by the same object, too";
  EXPECT_EQ(device_.bytes(), 4 * kMiB);
}

TEST_P(FileDeviceTest, NobodysDataAreOverwritten) {
  std::string text(100000, 'x');
  std::ofstream(path_) << text;
  EXPECT_NE(open(4 * kMiB).find("holds something that is not swap"), std::string::npos);
  std::ifstream back(path_);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(back), {}), text);
}

TEST_P(FileDeviceTest, WhatMkswapMadeIsTaken) {
  std::string made(64 * kBlockBytes, '\0');
  made.replace(kBlockBytes - 10, 10, "SWAPSPACE2");
  std::ofstream(path_) << made;
  EXPECT_EQ(open(0), "");
  EXPECT_EQ(device_.bytes(), 63 * kBlockBytes) << "without the header";
}

TEST_P(FileDeviceTest, SaysWhatIsWrongWithAPath) {
  path_ = directory_ + "/nowhere/swap";
  EXPECT_NE(open(4 * kMiB).find("no such file or directory"), std::string::npos);
  path_ = directory_;
  EXPECT_NE(open(4 * kMiB).find("directory"), std::string::npos);
  path_ = "/dev/null";
  EXPECT_NE(open(4 * kMiB).find("neither a file nor a block device"), std::string::npos);
  path_ = directory_ + "/swap";
  EXPECT_NE(open(0).find("needs a size"), std::string::npos);
  std::ofstream(path_).close();
  EXPECT_NE(open(0).find("say how large"), std::string::npos);
}

TEST_P(FileDeviceTest, AFileWithoutANameIsNowhereToBeSeen) {
  int directory = ::open(directory_.c_str(), O_PATH | O_DIRECTORY);
  ASSERT_TRUE(device_.open_unlinked(directory, 4 * kMiB));
  write(0, 10, 3);
  EXPECT_EQ(read(9), "block 9 mark 3");
  ::close(directory);
  EXPECT_EQ(rmdir(directory_.c_str()), 0) << "the directory is empty";
}

TEST_P(FileDeviceTest, ANewDescriptorReadsOn) {
  ASSERT_EQ(open(4 * kMiB), "");
  write(0, 10, 3);
  int copy = dup(device_.descriptor());
  int old = device_.descriptor();
  device_.inherit(copy);
  ::close(old);
  EXPECT_EQ(read(9), "block 9 mark 3");
}

TEST_P(FileDeviceTest, AWriteThatFailsSaysSo) {
  ASSERT_EQ(open(4 * kMiB), "");
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit small = {kMiB, before.rlim_max};
  signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  auto statuses = write(600, 2, 1);
  setrlimit(RLIMIT_FSIZE, &before);
  for (IoStatus status : statuses) EXPECT_EQ(status, IoStatus::kError);
}

INSTANTIATE_TEST_SUITE_P(Ways, FileDeviceTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "Ring" : "Calls"; });

}  // namespace
}  // namespace coldpress::os
