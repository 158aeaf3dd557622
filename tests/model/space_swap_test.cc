// Pages on swap devices: what a device that loses, tears or forges does to them, and swapoff.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/log.h"
#include "space_world.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

using Need = vm::Space::WritebackNeed;

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kPages = 600;

class SwapWorld {
 public:
  explicit SwapWorld(std::uint64_t device_bytes = 8 * kMiB)
      : world_({.seed = 3, .limit_pages = 5000, .device_bytes = device_bytes}) {
    world_.allow_steps(100000);
    world_.map_range({World::kBase, World::kBase + kPages}, true);
    Random random(9);
    for (std::uint64_t i = 0; i < kPages; ++i) {
      contents_.push_back(make_content(random_kind(random), random.next()));
      EXPECT_TRUE(world_.write_page(World::kBase + i, contents_[i]));
    }
  }
  ~SwapWorld() {
    if (!world_.broken() && !lossy_) world_.close();
  }
  void page_out() { world_.space().page_out({World::kBase, World::kBase + kPages}, world_.worker()); }
  void write_back() {
    for (int i = 0; i < 100 && world_.space().write_back(Need::kLastResort, world_.worker()); ++i) {
    }
    world_.space().finish_writes(1'000'000'000);
  }
  std::uint64_t in_state(swap::State state) {
    std::uint64_t count = 0;
    for (std::uint64_t i = 0; i < kPages; ++i) {
      auto owner = owner_of(world_.space(), World::kBase + i);
      count += owner && owner->state == state ? 1 : 0;
    }
    return count;
  }
  // Right, or SIGBUS; never other bytes. Returns how many gave SIGBUS.
  std::uint64_t count_lost() {
    lossy_ = true;
    std::uint64_t lost = 0;
    for (std::uint64_t i = kPages; i-- > 0;) {  // downwards: each page by itself
      PageContent actual;
      os::Access access = world_.sim().read(World::kBase + i, 0, actual.data(), kPageBytes);
      if (access == os::Access::kSigbus) {
        ++lost;
        continue;
      }
      EXPECT_EQ(access, os::Access::kOk);
      EXPECT_EQ(actual, contents_[i]) << "page " << i;
    }
    return lost;
  }
  World& world() { return world_; }

 private:
  World world_;
  std::vector<PageContent> contents_;
  bool lossy_ = false;
};

TEST(SpaceSwap, TheShrinkerTakesLessWhenItTookTooMuch) {
  SwapWorld s;
  s.page_out();
  std::uint64_t compressed = s.in_state(swap::State::kZswap);
  std::uint64_t most = s.world().space().shrinkable(0);
  EXPECT_GT(most, 0u);
  EXPECT_LT(most, compressed) << "each frees only what it takes";
  s.write_back();
  ASSERT_EQ(s.in_state(swap::State::kDevice), compressed);
  EXPECT_EQ(s.world().space().shrinkable(0), 0u) << "there is nothing in the pool";
  EXPECT_EQ(s.count_lost(), 0u);  // all of it is loaded from the device
  s.page_out();
  EXPECT_EQ(s.world().space().shrinkable(0), 0u) << "as many came back as there are";
  EXPECT_GE(s.world().space().shrinkable(0), most / 2) << "and that is accounted for";
}

// mm/zswap.c, zswap_shrinker_count(): (objects - loads from devices) * bytes / pages stored, each look for
// itself.
TEST(SpaceSwap, TheShrinkersShareIsTheKernelsFormula) {
  SwapWorld s;
  vm::Space& space = s.world().space();
  auto expect_share = [&](std::uint64_t loads) {
    memgroup::Stats& stats = s.world().stats();
    std::uint64_t objects = space.zswap().listed(0), stored = stats.stored_pages.load();
    ASSERT_GT(objects, loads);
    EXPECT_EQ(space.shrinkable(0), (objects - loads) * stats.stored_bytes.load() / (stored * kPageBytes));
    EXPECT_EQ(space.shrinkable(0), objects * stats.stored_bytes.load() / (stored * kPageBytes));
  };
  s.page_out();
  expect_share(0);
  space.write_back(Need::kLastResort, s.world().worker());
  space.finish_writes(1'000'000'000);
  for (std::uint64_t wanted : {1, 3, 8}) {
    std::uint64_t before = s.world().stats().pswpin.load();
    for (std::uint64_t i = kPages; i-- > 0 && s.world().stats().pswpin.load() < before + wanted;) {
      auto owner = owner_of(space, World::kBase + i);
      if (owner && owner->state == swap::State::kDevice) s.world().check_page(World::kBase + i);
    }
    // What has come back is out again, in the pool.
    s.page_out();
    ASSERT_GE(s.world().stats().pswpin.load(), before + wanted);
    expect_share(s.world().stats().pswpin.load() - before);
  }
}

TEST(SpaceSwap, TheShrinkerWorksWhileThePoolIsNotFull) {
  for (bool enabled : {false, true}) {
    SwapWorld s;
    s.world().space().set_shrinker(enabled);
    s.world().keep_usage(true);
    PageRange cold{World::kBase, World::kBase + kPages / 2}, hot{cold.end, World::kBase + kPages};
    s.world().space().page_out(cold, s.world().worker());
    for (int turn = 0; turn < 60; ++turn) {
      for (PageIndex page = hot.begin; page < hot.end; page = page + 1)
        ASSERT_TRUE(s.world().check_page(page));
      s.world().space().make_old(hot);
      s.world().allow_steps(6);
      s.world().group().set_usage(1000);
      s.world().space().reclaim_to(999, s.world().worker());
      s.world().space().finish_writes(1'000'000'000);
    }
    EXPECT_EQ(s.world().stats().zswpwb.load() > 0, enabled);
  }
}

TEST(SpaceSwap, EverythingCompressedGoesToTheDeviceAndComesBack) {
  SwapWorld s;
  s.page_out();
  std::uint64_t compressed = s.in_state(swap::State::kZswap);
  ASSERT_GT(compressed, kPages / 3);
  s.write_back();
  EXPECT_EQ(s.in_state(swap::State::kZswap), 0u);
  EXPECT_EQ(s.in_state(swap::State::kDevice), compressed);
  EXPECT_EQ(s.world().space().zswap().pool().pages(), 0u);
  EXPECT_EQ(s.world().stats().zswpwb.load(), compressed);
  EXPECT_EQ(s.count_lost(), 0u);
  EXPECT_EQ(s.world().stats().pswpin.load(), compressed);
  EXPECT_EQ(s.world().space().devices().records(), 0u);
}

TEST(SpaceSwap, SwapoffBringsEverythingBackIntoThePool) {
  SwapWorld s;
  s.page_out();
  s.write_back();
  std::uint64_t out = s.in_state(swap::State::kDevice);
  s.world().allow_steps(100000);
  for (std::size_t area : {0, 1}) {
    EXPECT_EQ(s.world().space().swap_off(area, false, s.world().worker()), vm::Space::SwapOff::kDone);
    s.world().device(area).scribble(0, s.world().device(area).bytes());
  }
  EXPECT_EQ(s.in_state(swap::State::kDevice), 0u);
  EXPECT_EQ(s.in_state(swap::State::kZswap), out);
  EXPECT_EQ(s.world().space().swap_off(0, false, s.world().worker()), vm::Space::SwapOff::kNotThere);
  s.world().verify_everything();
}

TEST(SpaceSwap, SwapoffRefusesWhatDoesNotFitAndLeavesTheDeviceInUse) {
  SwapWorld s;
  s.page_out();
  s.write_back();
  std::uint64_t out = s.in_state(swap::State::kDevice);
  ASSERT_GT(out, 0u);
  s.world().space().trim_pool(true);  // what it keeps would be room
  // Higher priority first: all of it lies on the second.
  s.world().group().init(10, &s.world().stats());
  s.world().group().set_usage(10);
  s.world().keep_usage(true);
  EXPECT_EQ(s.world().swap_off(1), vm::Space::SwapOff::kNoMemory)
      << "the first has room, but nothing gets there";
  s.world().keep_usage(false);
  s.world().group().init(5000, &s.world().stats());
  EXPECT_GT(s.in_state(swap::State::kDevice), 0u);
  s.page_out();
  s.write_back();
  EXPECT_EQ(s.in_state(swap::State::kZswap), 0u) << "it takes pages again";
  s.world().verify_everything();
}

TEST(SpaceSwap, SwapoffCanBeInterrupted) {
  SwapWorld s;
  s.page_out();
  s.write_back();
  s.world().allow_steps(20);
  EXPECT_EQ(s.world().space().swap_off(1, false, s.world().worker()), vm::Space::SwapOff::kGoesOn);
  EXPECT_GT(s.in_state(swap::State::kDevice), 0u);
  s.world().allow_steps(100000);
  EXPECT_EQ(s.world().space().swap_off(1, true, s.world().worker()), vm::Space::SwapOff::kDone);
  s.world().verify_everything();
}

TEST(SpaceSwap, ASwapoffThatIsGivenUpLeavesTheDeviceInUse) {
  SwapWorld s;
  s.page_out();
  s.write_back();
  s.world().allow_steps(20);
  EXPECT_EQ(s.world().space().swap_off(1, false, s.world().worker()), vm::Space::SwapOff::kGoesOn);
  s.world().space().devices().thaw_area(1);
  ASSERT_GT(s.in_state(swap::State::kZswap), 0u);
  s.world().allow_steps(100000);
  s.write_back();
  EXPECT_EQ(s.in_state(swap::State::kZswap), 0u) << "it takes pages again";
  EXPECT_EQ(s.world().swap_off(1), vm::Space::SwapOff::kDone);
  s.world().verify_everything();
}

TEST(SpaceSwap, SwapoffOfADamagedDeviceLosesWhatIsDamagedAndNothingElse) {
  SwapWorld s;
  s.page_out();
  s.write_back();
  std::uint64_t out = s.in_state(swap::State::kDevice);
  s.world().device(1).scribble(0, 200000);
  s.world().allow_steps(100000);
  EXPECT_EQ(s.world().swap_off(1), vm::Space::SwapOff::kDone);
  std::uint64_t lost = s.in_state(swap::State::kLost);
  EXPECT_GT(lost, 0u);
  EXPECT_LT(lost, out);
  EXPECT_EQ(s.in_state(swap::State::kZswap), out - lost);
  EXPECT_EQ(s.world().space().accounts().view(), "");
  EXPECT_EQ(s.count_lost(), lost);
  EXPECT_EQ(s.in_state(swap::State::kLost), 0u) << "the page says so itself, now";
}

TEST(SpaceSwap, SwapoffIsRefusedWhileTheDeviceCanNotBeRead) {
  SwapWorld s;
  s.page_out();
  s.write_back();
  s.world().allow_steps(100000);
  s.world().device(1).set_faults({.read_error = 1});
  EXPECT_EQ(s.world().swap_off(1), vm::Space::SwapOff::kUnreadable);
  s.world().device(1).set_faults({});
  EXPECT_EQ(s.world().swap_off(1), vm::Space::SwapOff::kDone);
  s.world().verify_everything();
}

TEST(SpaceSwap, LostTornAndForgedWritesAreNeverBelieved) {
  for (auto faults : {os::SimDevice::Faults{.torn_write = 1}, os::SimDevice::Faults{.lost_write = 1}}) {
    SwapWorld s;
    s.page_out();
    for (std::size_t number : {0, 1}) s.world().device(number).set_faults(faults);
    s.write_back();
    ASSERT_GT(s.in_state(swap::State::kDevice), 0u);
    EXPECT_GT(s.count_lost(), 0u);
    EXPECT_GT(s.world().stats().decompress_fail.load(), 0u);
  }
  SwapWorld s;
  s.page_out();
  s.write_back();
  s.world().device(1).scribble(0, 200000);
  EXPECT_GT(s.count_lost(), 0u);
}

TEST(SpaceSwap, PagesThatCanNotBeReadGiveSigbusTheRestGoesOn) {
  SwapWorld s;
  s.page_out();
  s.write_back();
  s.world().device(1).set_faults({.read_error = 2});
  std::uint64_t lost = s.count_lost();
  EXPECT_GT(lost, 0u);
  EXPECT_LT(lost, kPages / 2);
  EXPECT_EQ(s.world().stats().swap_read_fail.load(), lost);
}

TEST(SpaceSwap, ADeviceThatNeverAnswersKeepsNobodyFromTheirPages) {
  SwapWorld s;
  s.page_out();
  for (std::size_t number : {0, 1}) s.world().device(number).set_faults({.answers_never = true});
  for (int i = 0; i < 8; ++i) s.world().space().write_back(Need::kLastResort, s.world().worker());
  EXPECT_GT(s.world().space().devices().under_way_bytes(), 0u);
  EXPECT_EQ(s.in_state(swap::State::kDevice), 0u);
  s.world().verify_everything();
  EXPECT_FALSE(s.world().space().finish_writes(1000));
}

std::vector<std::string>& messages() {
  static std::vector<std::string> all;
  return all;
}

TEST(SpaceSwap, ADeviceThatNeverAnswersIsWaitedForASecondAndSaid) {
  SwapWorld s;
  s.page_out();
  for (std::size_t number : {0, 1}) s.world().device(number).set_faults({.answers_never = true});
  messages().clear();
  set_message_sink([](std::string_view line) { messages().emplace_back(line); });
  for (int turn = 0; turn < 3; ++turn) {
    s.world().keep_usage(true);
    s.world().group().set_usage(s.world().group().limit());
    s.world().allow_steps(1000000);
    s.world().space().reclaim_to(0, s.world().worker());
  }
  set_message_sink(nullptr);
  auto of_it = std::count_if(messages().begin(), messages().end(), [](const std::string& line) {
    return line.find("has not answered") != std::string::npos;
  });
  EXPECT_EQ(of_it, 1);
  EXPECT_EQ(s.in_state(swap::State::kDevice), 0u);
  s.world().verify_everything();
  // It answers at last.
  for (std::size_t number : {0, 1}) s.world().device(number).set_faults({});
  EXPECT_TRUE(s.world().space().finish_writes(1'000'000'000));
}

TEST(SpaceSwap, PagesThatComeBackDuringTheirWriteAreNotMixedUp) {
  SwapWorld s;
  s.page_out();
  for (std::size_t number : {0, 1}) s.world().device(number).set_faults({.answers_never = true});
  s.world().space().write_back(Need::kLastResort, s.world().worker());
  ASSERT_GT(s.world().space().devices().under_way_bytes(), 0u);
  // Back, changed, and out again, under the same slots.
  for (std::uint64_t i = 0; i < kPages; ++i) {
    ASSERT_TRUE(s.world().write_page(World::kBase + i, make_content(ContentKind::kCompressible, i)));
  }
  s.page_out();
  for (std::size_t number : {0, 1}) s.world().device(number).set_faults({});
  EXPECT_TRUE(s.world().space().finish_writes(1'000'000'000));
  EXPECT_EQ(s.in_state(swap::State::kDevice), 0u) << "what arrived was of another time";
  EXPECT_EQ(s.world().space().devices().records(), 0u);
  s.world().verify_everything();
}

// At the share of the limit writeback begins; it goes on below, to the accept threshold, and rests until the
// share is reached again.
TEST(SpaceSwap, WritebackHasHysteresis) {
  SwapWorld s;
  vm::Space& space = s.world().space();
  s.page_out();
  std::uint64_t pages = space.zswap().pool().pages();
  ASSERT_GT(pages, 60u);
  auto background = [&] {
    s.world().allow_steps(100000);
    bool any = space.write_back(Need::kBackground, s.world().worker());
    space.finish_writes(1'000'000'000);
    return any;
  };
  auto share_is = [&](std::uint64_t most) {
    s.world().group().init(most, &s.world().stats());
    s.world().group().set_usage(0);
    s.world().keep_usage(true);
    space.set_pool_share(100, 90);
  };
  share_is(pages);
  EXPECT_FALSE(background()) << "at the share nothing goes";
  EXPECT_EQ(s.world().stats().pool_limit_hit.load(), 0u);
  share_is(pages - 1);
  EXPECT_TRUE(background());
  EXPECT_EQ(s.world().stats().pool_limit_hit.load(), 1u);
  while (background()) continue;
  std::uint64_t left = space.zswap().pool().pages();
  EXPECT_LE(left, (pages - 1) * 90 / 100);
  // Above the threshold again, below the share: nothing begins.
  share_is(left + 1);
  EXPECT_FALSE(background());
  EXPECT_EQ(s.world().stats().pool_limit_hit.load(), 1u);
  s.world().keep_usage(false);
  s.world().group().init(5000, &s.world().stats());
  s.world().verify_everything();
}

TEST(SpaceSwap, AFullDeviceLeavesPagesInThePool) {
  SwapWorld s(3 * kMiB / 4);  // three segments, two of them for cleaning only
  s.page_out();
  s.write_back();
  EXPECT_GT(s.in_state(swap::State::kDevice), 0u);
  EXPECT_GT(s.in_state(swap::State::kZswap), 0u);
  s.world().verify_everything();
}

}  // namespace
}  // namespace coldpress::testing
