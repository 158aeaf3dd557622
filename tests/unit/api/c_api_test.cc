// Calls of the C library that are wrong and need no pager to say so; with one:
// tests/system/programs/library_c.c.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "coldpress/coldpress.h"

namespace {

const coldpress_options kOptions = COLDPRESS_OPTIONS_INIT;
const coldpress_group_limits kLimits = COLDPRESS_GROUP_LIMITS_INIT;

struct Opened {
  coldpress_status status;
  bool none;
  std::string text;
};

Opened open(const coldpress_options* options) {
  coldpress_pager* pager = reinterpret_cast<coldpress_pager*>(8);
  coldpress_error error;
  std::memset(&error, 'x', sizeof error);
  coldpress_status status = coldpress_open(options, &pager, &error);
  return {status, pager == nullptr, std::string(error.text, strnlen(error.text, sizeof error.text))};
}

coldpress_options with(void (*change)(coldpress_options&)) {
  coldpress_options options = kOptions;
  options.limit_bytes = 32 << 20;
  change(options);
  return options;
}

TEST(CApi, EveryStatusHasItsSentence) {
  std::vector<std::string> seen;
  for (int i = COLDPRESS_OK; i <= COLDPRESS_DAMAGED; ++i) {
    std::string text = coldpress_status_text(static_cast<coldpress_status>(i));
    for (const std::string& other : seen) EXPECT_NE(text, other);
    EXPECT_FALSE(text.empty());
    seen.push_back(text);
  }
}

TEST(CApi, TheInitialisersAreOfTheFirstVersion) {
  EXPECT_EQ(kOptions.struct_size, 48u);
  EXPECT_EQ(kLimits.struct_size, 48u);
  EXPECT_EQ(kLimits.zswap_max_bytes, COLDPRESS_NO_LIMIT);
  EXPECT_EQ(kLimits.zswap_writeback, 1);
}

TEST(CApi, OptionsThatCanNotBe) {
  static const char* const none[] = {nullptr};
  static const char* const many[] = {"ram:1M", "ram:1M", "ram:1M", "ram:1M", "ram:1M",
                                     "ram:1M", "ram:1M", "ram:1M", "ram:1M"};
  const coldpress_options wrong[] = {
      with([](coldpress_options& o) { o.compression = 2; }),
      with([](coldpress_options& o) { o.fault_path = -1; }),
      with([](coldpress_options& o) { o.swap_count = 1; }),
      with([](coldpress_options& o) { o.swap = none, o.swap_count = 1; }),
      with([](coldpress_options& o) { o.struct_size = 0; }),
      with([](coldpress_options& o) { o.struct_size = SIZE_MAX; }),
      with([](coldpress_options& o) { o.struct_size -= 1; }),
  };
  for (const coldpress_options& options : wrong) {
    Opened opened = open(&options);
    EXPECT_EQ(opened.status, COLDPRESS_INVALID) << opened.text;
    EXPECT_TRUE(opened.none);
    EXPECT_GT(opened.text.size(), 10u);
  }
  const coldpress_options refused[] = {
      with([](coldpress_options& o) { o.limit_bytes = 4096; }),
      with([](coldpress_options& o) { o.compression = COLDPRESS_ZSTD, o.zstd_level = 20; }),
      with([](coldpress_options& o) { o.max_pool_percent = 101; }),
      with([](coldpress_options& o) { o.swap = many, o.swap_count = SIZE_MAX; }),
  };
  for (const coldpress_options& options : refused) {
    Opened opened = open(&options);
    EXPECT_EQ(opened.status, COLDPRESS_REFUSED) << opened.text;
    EXPECT_TRUE(opened.none);
    EXPECT_GT(opened.text.size(), 10u);
  }
}

TEST(CApi, AnErrorIsCutAndEnds) {
  std::string path = "ram:" + std::string(2000, 'x');
  const char* const swap[] = {path.c_str()};
  coldpress_options options = kOptions;
  options.limit_bytes = 32 << 20;
  options.swap = swap;
  options.swap_count = 1;
  Opened opened = open(&options);
  EXPECT_EQ(opened.status, COLDPRESS_REFUSED);
  EXPECT_LT(opened.text.size(), sizeof(coldpress_error::text));
}

TEST(CApi, NothingAtAll) {
  coldpress_error error;
  EXPECT_EQ(coldpress_open(nullptr, nullptr, nullptr), COLDPRESS_INVALID);
  EXPECT_EQ(open(nullptr).status, COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_close(nullptr), COLDPRESS_OK);
  EXPECT_EQ(coldpress_set_limit(nullptr, 1, &error), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_reclaim(nullptr, 1, nullptr), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_writeback(nullptr, 1, &error), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_set(nullptr, "codec=lz4", &error), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_set(nullptr, nullptr, &error), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_swapon(nullptr, "ram:1M", &error), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_swapoff(nullptr, "ram", &error), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_get_statistics(nullptr, nullptr, 0), COLDPRESS_INVALID);
  std::size_t all = 0;
  EXPECT_EQ(coldpress_get_devices(nullptr, nullptr, 0, sizeof(coldpress_device), &all, &error),
            COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_get_settings(nullptr, error.text, sizeof error.text, nullptr), COLDPRESS_INVALID);

  coldpress_region* region = reinterpret_cast<coldpress_region*>(8);
  EXPECT_EQ(coldpress_map(nullptr, 4096, nullptr, &region), COLDPRESS_INVALID);
  EXPECT_EQ(region, nullptr);
  EXPECT_EQ(coldpress_map(nullptr, 4096, nullptr, nullptr), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_region_clone(nullptr, &region), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_region_clone(nullptr, nullptr), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_region_data(nullptr), nullptr);
  EXPECT_EQ(coldpress_region_size(nullptr), 0u);
  for (auto* hint : {coldpress_region_cold, coldpress_region_deactivate, coldpress_region_willneed,
                     coldpress_region_pin, coldpress_region_unpin, coldpress_region_drop}) {
    EXPECT_EQ(hint(nullptr, 0, 0), COLDPRESS_INVALID);
  }
  coldpress_unmap(nullptr);

  coldpress_group* group = reinterpret_cast<coldpress_group*>(8);
  coldpress_group_limits limits = kLimits;
  EXPECT_EQ(coldpress_group_create(nullptr, nullptr, nullptr, &group), COLDPRESS_INVALID);
  EXPECT_EQ(group, nullptr);
  EXPECT_EQ(coldpress_group_set_limits(nullptr, &limits), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_group_get_limits(nullptr, &limits, sizeof limits), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_group_reclaim(nullptr, 1), COLDPRESS_INVALID);
  EXPECT_EQ(coldpress_group_get_statistics(nullptr, nullptr, 0), COLDPRESS_INVALID);
  coldpress_group_destroy(nullptr);
}

}  // namespace
