#include "memgroup/stats.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace coldpress::memgroup {
namespace {

TEST(Stats, FitTheirPage) { EXPECT_LE(sizeof(Stats), 4096u); }

TEST(Stats, AreLockFreeWords) {
  EXPECT_TRUE(sync::Atomic<std::uint64_t>::is_always_lock_free);
  EXPECT_EQ(sizeof(Stats) % 8, 0u);
}

TEST(Stats, FieldNamesAreUniqueAndComplete) {
  Stats stats;
  std::set<std::string> names;
  std::size_t fields = 0;
  for_each_field(stats, [&](const char* name, std::uint64_t value) {
    ++fields;
    names.insert(name);
    EXPECT_EQ(value, 0u) << name;
  });
  EXPECT_EQ(names.size(), fields);
  // Every word but magic and pid is a field that can be seen.
  EXPECT_EQ(fields, sizeof(Stats) / 8 - 2);
}

TEST(Stats, TheKernelsNamesAreThere) {
  Stats stats;
  std::set<std::string> names;
  for_each_field(stats, [&](const char* name, std::uint64_t) { names.insert(name); });
  for (const char* name :
       {"pgfault", "pgmajfault", "pswpin", "pswpout", "zswpin", "zswpout", "zswpwb", "swpin_zero",
        "swpout_zero", "workingset_refault", "pool_limit_hit", "reject_compress_poor", "reject_alloc_fail",
        "decompress_fail", "written_back_pages", "stored_pages"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
}

TEST(Stats, EveryFieldShowsItsOwnWord) {
  Stats stats;
  auto* words = reinterpret_cast<sync::Atomic<std::uint64_t>*>(&stats);
  std::size_t count = sizeof(Stats) / sizeof *words;
  for (std::size_t i = 0; i < count; ++i) words[i].store(i);
  std::vector<std::uint64_t> seen;
  for_each_field(stats, [&](const char*, std::uint64_t value) { seen.push_back(value); });
  ASSERT_EQ(seen.size(), count - 2);
  for (std::size_t i = 0; i < seen.size(); ++i)
    EXPECT_EQ(seen[i], i + 2) << "events first, then gauges, in order";
}

TEST(Stats, AddAndTake) {
  Stats stats;
  add_to(stats.zswpout);
  add_to(stats.zswpout, 5);
  EXPECT_EQ(stats.zswpout.load(), 6u);
  add_to(stats.stored_bytes, 100);
  take_from(stats.stored_bytes, 30);
  take_from(stats.stored_bytes);
  EXPECT_EQ(stats.stored_bytes.load(), 69u);
}

}  // namespace
}  // namespace coldpress::memgroup
