#include "runtime/config.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "unit/random.h"

namespace coldpress::runtime {
namespace {

std::string format(const Config& config) {
  char text[1024];
  EXPECT_TRUE(format_config(config, text, sizeof text));
  return text;
}

void expect_same(const Config& a, const Config& b) {
  EXPECT_EQ(a.limit_bytes, b.limit_bytes);
  EXPECT_EQ(a.codec.kind, b.codec.kind);
  EXPECT_EQ(a.codec.level, b.codec.level);
  EXPECT_EQ(a.fault_path, b.fault_path);
  EXPECT_EQ(a.quiet, b.quiet);
  EXPECT_EQ(a.root_pid, b.root_pid);
  EXPECT_STREQ(a.stats_path, b.stats_path);
}

TEST(Config, EveryConfigSurvivesTheWayThroughText) {
  testing::Random random(1);
  for (int i = 0; i < 2000; ++i) {
    Config config;
    config.limit_bytes = kMinLimitBytes + random.below(std::uint64_t{1} << random.between(1, 60));
    if (random.one_in(2)) {
      config.codec.kind = codec::Kind::kZstd;
      config.codec.level = random.one_in(2) ? static_cast<int>(random.between(1, 19))
                                            : -static_cast<int>(random.between(1, 7));
    }
    config.fault_path = random.one_in(2) ? FaultPath::kThread : FaultPath::kSignal;
    config.quiet = random.one_in(2);
    config.root_pid = static_cast<long>(random.between(1, 4194304));
    for (std::uint64_t n = random.below(60), at = 0; at < n; ++at) {
      config.stats_path[at] = static_cast<char>(random.between(1, 255));  // a path may hold anything but zero
    }
    Config back;
    std::string text = format(config);
    ASSERT_TRUE(parse_config(text, back)) << text;
    expect_same(config, back);
  }
}

TEST(Config, TheLongestPathFitsAndIsKept) {
  Config config;
  config.limit_bytes = kMinLimitBytes;
  std::memset(config.stats_path, 'p', sizeof config.stats_path - 1);
  Config back;
  ASSERT_TRUE(parse_config(format(config), back));
  expect_same(config, back);
  EXPECT_FALSE(parse_config(format(config) + "x", back)) << "one more does not fit";
}

TEST(Config, SaysWhenTheTextDoesNotFit) {
  Config config;
  config.limit_bytes = kMinLimitBytes;
  std::strcpy(config.stats_path, "/tmp/stats.json");
  std::string whole = format(config);
  for (std::size_t room = 0; room <= whole.size() + 1; ++room) {
    std::string buffer(whole.size() + 10, '#');
    bool fits = format_config(config, buffer.data(), room);
    ASSERT_EQ(fits, room > whole.size()) << room;
    ASSERT_EQ(buffer[room], '#') << "wrote behind its room";
    if (!fits) continue;
    ASSERT_EQ(buffer.c_str(), whole);
  }
}

TEST(Config, RefusesWhatFormatNeverWrites) {
  for (const char* text : {"",
                           "limit",
                           "limit=",
                           "limit=;",
                           "limit=x",
                           "limit=-1",
                           "limit=1",
                           "limit=8388607",
                           "limit=99999999999999999999",
                           "limit=16777216x",
                           "codec=lz4",
                           "path=thread",
                           "stats=/tmp/x",
                           "limit=16777216;codec=gzip",
                           "limit=16777216;codec=",
                           "limit=16777216;path=",
                           "limit=16777216;path=both",
                           "limit=16777216;root=x",
                           "limit=16777216;root=",
                           "limit=16777216;unknown=1",
                           "limit=16777216;quiet",
                           "=16777216",
                           ";;",
                           "limit 16777216",
                           "LIMIT=16777216",
                           " limit=16777216"}) {
    Config config;
    EXPECT_FALSE(parse_config(text, config)) << text;
  }
}

TEST(Config, AMissingPartIsItsDefault) {
  Config config, defaults;
  ASSERT_TRUE(parse_config("limit=16777216", config));
  defaults.limit_bytes = 16 << 20;
  expect_same(config, defaults);
}

TEST(Config, NothingIsLeftFromBefore) {
  Config config;
  ASSERT_TRUE(parse_config("limit=16777216;codec=zstd:7;quiet=1;root=5;stats=/tmp/a", config));
  ASSERT_TRUE(parse_config("limit=16777216;stats=/b", config));
  EXPECT_STREQ(config.stats_path, "/b");
  EXPECT_EQ(config.codec.kind, codec::Kind::kLz4);
  EXPECT_FALSE(config.quiet);
  EXPECT_EQ(config.root_pid, 0);
}

TEST(Config, APathMayLookLikeAnOption) {
  Config config;
  ASSERT_TRUE(parse_config("limit=16777216;stats=/tmp/a;limit=1;codec=x", config));
  EXPECT_STREQ(config.stats_path, "/tmp/a;limit=1;codec=x");
  EXPECT_EQ(config.limit_bytes, 16u << 20);
}

}  // namespace
}  // namespace coldpress::runtime
