#include "runtime/config.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "unit/random.h"

namespace coldpress::runtime {
namespace {

std::string format(const Config& config) {
  char text[4096];
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
  EXPECT_EQ(a.max_pool_percent, b.max_pool_percent);
  ASSERT_EQ(a.swap_count, b.swap_count);
  for (std::size_t i = 0; i < a.swap_count; ++i) {
    EXPECT_EQ(a.swap[i].kind, b.swap[i].kind);
    EXPECT_EQ(a.swap[i].priority, b.swap[i].priority);
    EXPECT_EQ(a.swap[i].bytes, b.swap[i].bytes);
    EXPECT_STREQ(a.swap[i].path, b.swap[i].path);
  }
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
    config.max_pool_percent = static_cast<std::uint32_t>(random.below(101));
    config.swap_count = random.below(kMaxSwap + 1);
    for (std::size_t s = 0; s < config.swap_count; ++s) {
      SwapSpec& spec = config.swap[s];
      spec.kind = static_cast<SwapSpec::Kind>(random.between(1, 3));
      spec.priority = static_cast<int>(random.below(32768));
      spec.bytes = random.next() >> random.between(1, 60);
      for (std::uint64_t n = random.below(60), at = 0; at < n; ++at) {
        spec.path[at] = static_cast<char>(random.between(1, 255));
      }
    }
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

TEST(Config, SwapIsReadAsPeopleWriteIt) {
  SwapSpec spec;
  EXPECT_EQ(parse_swap("/var/swap,size=4G,prio=7", spec).view(), "");
  EXPECT_EQ(spec.kind, SwapSpec::Kind::kFile);
  EXPECT_STREQ(spec.path, "/var/swap");
  EXPECT_EQ(spec.bytes, std::uint64_t{4} << 30);
  EXPECT_EQ(spec.priority, 7);
  EXPECT_EQ(parse_swap("/dev/sdb", spec).view(), "");
  EXPECT_EQ(spec.bytes, 0u);
  EXPECT_EQ(parse_swap("ram:64M,prio=32767", spec).view(), "");
  EXPECT_EQ(spec.kind, SwapSpec::Kind::kRam);
  EXPECT_EQ(spec.bytes, std::uint64_t{64} << 20);
  for (const char* bad : {"", ",size=4G", "/x,size=", "/x,size=4", "/x,prio=-1", "/x,prio=32768",
                          "/x,prio=", "/x,", "/x,colour=red", "ram:", "ram:x", "ram:64M,size=64M"}) {
    EXPECT_NE(parse_swap(bad, spec).view(), "") << bad;
  }
  EXPECT_NE(parse_swap(std::string(300, 'p'), spec).view(), "");
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
