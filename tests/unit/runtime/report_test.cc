#include "runtime/report.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace coldpress::runtime {
namespace {

std::string line_of(const memgroup::Stats& stats) { return std::string(exit_line(stats).view()); }
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

TEST(ExitLine, SaysWhenNothingHappened) {
  memgroup::Stats stats;
  stats.limit_bytes.store(std::uint64_t{512} << 20);
  stats.peak_rss_anon_bytes.store(std::uint64_t{100} << 20);
  EXPECT_EQ(line_of(stats), "limit 512.0 MiB, peak 100.0 MiB; nothing had to be compressed");
}

TEST(ExitLine, CountsPagesOutAndBack) {
  memgroup::Stats stats;
  stats.limit_bytes.store(std::uint64_t{64} << 20);
  stats.zswpout.store(1000);
  stats.swpout_zero.store(24);
  stats.zswpin.store(300);
  stats.swpin_zero.store(7);
  stats.swap_cache_hit.store(55);
  stats.stored_pages.store(512);
  stats.pool_bytes.store(std::uint64_t{1} << 19);
  std::string line = line_of(stats);
  EXPECT_TRUE(has(line, "1024 pages out")) << line;
  EXPECT_TRUE(has(line, "307 back")) << line;
  EXPECT_TRUE(has(line, "55 put back")) << line;
  EXPECT_TRUE(has(line, "2.0 MiB lay compressed in 512.0 KiB")) << line;
  EXPECT_FALSE(has(line, "damaged")) << line;
  EXPECT_FALSE(has(line, "could not be held")) << line;
}

TEST(ExitLine, SaysWhatWentWrong) {
  memgroup::Stats stats;
  stats.zswpout.store(1);
  stats.limit_exceeded.store(1);
  stats.decompress_fail.store(3);
  EXPECT_TRUE(has(line_of(stats), "the limit could not be held"));
  EXPECT_TRUE(has(line_of(stats), "3 damaged pages"));
}

TEST(ExitLine, IsNotCutByTheLargestNumbers) {
  memgroup::Stats stats;
  auto* words = reinterpret_cast<sync::Atomic<std::uint64_t>*>(&stats);
  for (std::size_t i = 0; i < sizeof stats / sizeof *words; ++i) words[i].store(~std::uint64_t{0} >> 8);
  std::string line = line_of(stats);
  EXPECT_TRUE(has(line, "damaged pages")) << line;
  EXPECT_EQ(line.find('\n'), std::string::npos);
}

class StatsJson : public ::testing::Test {
 protected:
  StatsJson() : file_(std::tmpfile()) {}
  ~StatsJson() override { std::fclose(file_); }
  int fd() const { return fileno(file_); }
  nlohmann::json read() const {
    std::string text(1 << 20, ' ');
    ssize_t bytes = pread(fd(), text.data(), text.size(), 0);
    text.resize(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
    return nlohmann::json::parse(text);
  }

  FILE* file_;
};

TEST_F(StatsJson, HoldsEveryFieldExactly) {
  memgroup::Stats stats;
  auto* words = reinterpret_cast<sync::Atomic<std::uint64_t>*>(&stats);
  for (std::size_t i = 0; i < sizeof stats / sizeof *words; ++i) words[i].store(~std::uint64_t{0} - i);
  ASSERT_TRUE(write_stats_json(stats, fd()));
  nlohmann::json all = read();
  ASSERT_TRUE(all.is_object());
  std::size_t fields = 0;
  for_each_field(stats, [&](const char* name, std::uint64_t value) {
    ++fields;
    ASSERT_TRUE(all.contains(name)) << name;
    EXPECT_EQ(all[name].get<std::uint64_t>(), value) << name;
  });
  EXPECT_EQ(all.size(), fields);
}

TEST_F(StatsJson, ReplacesALongerContent) {
  std::string longer(100000, '}');
  ASSERT_EQ(pwrite(fd(), longer.data(), longer.size(), 0), static_cast<ssize_t>(longer.size()));
  memgroup::Stats stats;
  ASSERT_TRUE(write_stats_json(stats, fd()));
  EXPECT_EQ(read()["pgfault"], 0);
}

// Fails: the file is emptied, but written from where its descriptor stood.
TEST_F(StatsJson, ASecondReportReplacesTheFirst) {
  memgroup::Stats stats;
  ASSERT_TRUE(write_stats_json(stats, fd()));
  ASSERT_TRUE(write_stats_json(stats, fd()));
  EXPECT_EQ(read()["pgfault"], 0);
}

TEST_F(StatsJson, SaysWhenTheFileCanNotBeWritten) {
  memgroup::Stats stats;
  EXPECT_FALSE(write_stats_json(stats, -1));
  int read_only = open("/dev/null", O_RDONLY | O_CLOEXEC);
  EXPECT_FALSE(write_stats_json(stats, read_only));
  close(read_only);
  EXPECT_FALSE(write_stats_json(stats, 999999));
}

}  // namespace
}  // namespace coldpress::runtime
