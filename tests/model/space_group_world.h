// Memory groups on the simulated machine, for tests: three ranges, and what a program and the monitor do.
// Thread safety: none.
#pragma once

#include <gtest/gtest.h>

#include "space_world.h"
#include "support/space_access.h"

namespace coldpress::testing {

using memgroup::AccountId;
using memgroup::kProcess;

inline constexpr std::uint64_t kPages = 200;
inline constexpr PageRange kFirst{World::kBase, World::kBase + kPages};
inline constexpr PageRange kSecond{World::kBase + 512, World::kBase + 512 + kPages};
inline constexpr PageRange kThird{World::kBase + 1024, World::kBase + 1024 + kPages};

class GroupWorld {
 public:
  explicit GroupWorld(std::uint64_t device_bytes = 0)
      : world_({.seed = 5, .limit_pages = 50000, .device_bytes = device_bytes, .counted = true}) {
    world_.allow_steps(100000);
  }
  ~GroupWorld() {
    if (!world_.broken()) world_.close();
  }
  World& world() { return world_; }
  vm::Space& space() { return world_.space(); }
  memgroup::Accounts& accounts() { return world_.group().accounts(); }
  AccountId open(const memgroup::Limits& limits, AccountId parent = kProcess) {
    AccountId id = accounts().open(parent, limits);
    EXPECT_NE(id, kProcess);
    return id;
  }
  void map(PageRange range, AccountId account) {
    ASSERT_TRUE(space().give_to(range, account));
    world_.map_range(range, true);
  }
  void write(PageRange range, ContentKind kind = ContentKind::kCompressible) {
    for (PageIndex page = range.begin; page < range.end; page = page + 1) {
      world_.allow_steps(100000);
      ASSERT_TRUE(world_.write_page(page, make_content(kind, page.value)));
    }
  }
  std::int64_t usage(AccountId id) { return accounts()[id].usage(); }
  std::uint64_t out(PageRange range) {
    std::uint64_t pages = 0;
    for (PageIndex page = range.begin; page < range.end; page = page + 1) {
      pages += space().pages().get(page).is_entry() ? 1 : 0;
    }
    return pages;
  }
  void unmap(PageRange range) {
    os::ChangeId change = world_.sim().begin_unmap(range);
    while (!world_.sim().advance(change)) world_.take_one_message();
    world_.check_structure();
  }
  // All that may go to the devices, of the account and those below it.
  void write_back(AccountId account) {
    for (int i = 0; i < 20; ++i) {
      space().write_back(vm::Space::WritebackNeed::kLastResort, world_.worker(), account);
      finish_writes();
    }
  }
  // As the monitor does, with what it has sent away settled each time.
  void look_often() {
    for (int i = 0; i < 20; ++i) {
      space().watch_groups(world_.worker());
      finish_writes();
    }
  }
  // As the monitor does, a slice at each look.
  void watch(AccountId id, std::int64_t usage_wanted) {
    for (int looks = 0; looks < 1000 && usage(id) > usage_wanted; ++looks) {
      world_.allow_steps(100000);
      space().watch_groups(world_.worker());
    }
  }
  void finish_writes() { EXPECT_TRUE(space().finish_writes(1'000'000'000)); }

 private:
  World world_;
};

}  // namespace coldpress::testing
