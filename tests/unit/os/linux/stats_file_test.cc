#include "os/linux/stats_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <string>

#include "memgroup/stats.h"

namespace coldpress::os {
namespace {

static_assert(sizeof(memgroup::Stats) <= kStatsFileBytes);

TEST(StatsFile, IsAPageThatAnotherMappingSees) {
  int fd = -1;
  auto* page = static_cast<char*>(create_stats_page(nullptr, &fd));
  ASSERT_NE(page, nullptr);
  ASSERT_GE(fd, 0);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  struct stat status;
  ASSERT_EQ(fstat(fd, &status), 0);
  EXPECT_EQ(status.st_size, static_cast<off_t>(kStatsFileBytes));
  for (std::size_t i = 0; i < kStatsFileBytes; ++i) ASSERT_EQ(page[i], 0);
  std::strcpy(page + 100, "seen");
  void* other = mmap(nullptr, kStatsFileBytes, PROT_READ, MAP_SHARED, fd, 0);
  ASSERT_NE(other, MAP_FAILED);
  EXPECT_STREQ(static_cast<char*>(other) + 100, "seen");
  munmap(other, kStatsFileBytes);
  munmap(page, kStatsFileBytes);
  close(fd);
}

TEST(StatsFile, IsFoundByItsName) {
  int fd = -1;
  void* page = create_stats_page(nullptr, &fd);
  ASSERT_NE(page, nullptr);
  auto link = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd)).string();
  EXPECT_EQ(link, std::string("/memfd:") + kStatsFileName + " (deleted)");
  munmap(page, kStatsFileBytes);
  close(fd);
}

TEST(StatsFile, ANewOneTakesThePlaceAndContentOfTheOld) {
  // What the child of a fork does: the parent must not see the child's counters.
  int old_fd = -1, new_fd = -1;
  auto* page = static_cast<char*>(create_stats_page(nullptr, &old_fd));
  ASSERT_NE(page, nullptr);
  std::strcpy(page, "kept");
  ASSERT_EQ(create_stats_page(page, &new_fd), page);
  EXPECT_NE(new_fd, old_fd);
  EXPECT_STREQ(page, "kept");
  std::strcpy(page, "child");
  char of_old[8] = {};
  ASSERT_EQ(pread(old_fd, of_old, sizeof of_old, 0), static_cast<ssize_t>(sizeof of_old));
  EXPECT_STREQ(of_old, "kept") << "the old file is not written any more";
  munmap(page, kStatsFileBytes);
  close(old_fd);
  close(new_fd);
}

}  // namespace
}  // namespace coldpress::os
