// Clones: a range with the content of another, by sharing slots; each side its own from then on.
#include <gtest/gtest.h>

#include "space_world.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

constexpr std::uint64_t kPages = 80;
constexpr PageRange kFrom{World::kBase, World::kBase + kPages};
constexpr PageIndex kTo{World::kBase.value + 512};

class CloneWorld {
 public:
  explicit CloneWorld(std::uint64_t device_bytes = 0)
      : world_({.seed = 5, .limit_pages = 5000, .pages = World::kPages, .device_bytes = device_bytes}) {
    world_.allow_steps(100000);
    world_.map_range(kFrom, true);
    Random random(4);
    for (std::uint64_t i = 0; i < kPages; ++i) {
      contents_.push_back(i % 9 == 8 ? PageContent{} : make_content(random_kind(random), random.next()));
      if (i % 9 == 8) continue;  // never touched
      EXPECT_TRUE(world_.write_page(kFrom.begin + i, contents_[i]));
    }
  }
  ~CloneWorld() {
    if (!world_.broken()) world_.close();
  }
  World& world() { return world_; }
  vm::Space& space() { return world_.space(); }
  bool clone(PageIndex to = kTo) {
    world_.map_range({to, to + kPages}, true);
    return world_.clone(kFrom, to);
  }
  void expect_at(PageIndex begin) {
    for (std::uint64_t i = 0; i < kPages; ++i) {
      PageContent actual;
      ASSERT_EQ(world_.sim().read(begin + i, 0, actual.data(), kPageBytes), os::Access::kOk);
      EXPECT_EQ(actual, contents_[i]) << "page " << i;
    }
  }
  void write(PageIndex page, std::uint64_t number) {
    PageContent other = make_content(ContentKind::kCompressible, number);
    ASSERT_EQ(world_.sim().write(page, 0, other.data(), kPageBytes), os::Access::kOk);
  }
  void unmap(PageIndex begin) {
    os::ChangeId change = world_.sim().begin_unmap({begin, begin + kPages});
    while (!world_.sim().advance(change)) world_.take_one_message();
  }
  std::uint64_t resident() { return world_.sim().resident_pages(); }

 private:
  World world_;
  std::vector<PageContent> contents_;
};

TEST(SpaceClone, ResidentPagesAreShared) {
  CloneWorld w;
  ASSERT_TRUE(w.clone());
  EXPECT_LT(w.resident(), kPages / 4) << "what does not compress may have gone back";
  std::uint64_t slots_in_use = slots(w.space()).in_use();
  EXPECT_LE(slots_in_use, kPages);
  EXPECT_GT(slots(w.space()).shares(), slots_in_use * 2 - kPages / 4);
  w.expect_at(kTo);
  w.expect_at(kFrom.begin);
  EXPECT_EQ(slots(w.space()).in_use(), 0u) << "both have what they touched";
}

TEST(SpaceClone, CompressedPagesAreShared) {
  CloneWorld w;
  w.space().page_out(kFrom, w.world().worker());
  std::uint64_t pool = w.space().zswap().pool().stats().object_bytes;
  ASSERT_TRUE(w.clone());
  EXPECT_LE(w.space().zswap().pool().stats().object_bytes, pool + kPages / 4 * kPageBytes);
  w.expect_at(kFrom.begin);
  EXPECT_GT(w.space().zswap().pool().stats().objects, 0u) << "the clone still needs them";
  w.expect_at(kTo);
}

TEST(SpaceClone, WrittenBackPagesAreShared) {
  CloneWorld w(8 << 20);
  w.space().page_out(kFrom, w.world().worker());
  while (w.space().write_back(vm::Space::WritebackNeed::kLastResort, w.world().worker())) continue;
  ASSERT_TRUE(w.space().finish_writes(1'000'000'000));
  std::uint64_t records = w.space().devices().records();
  ASSERT_GT(records, kPages / 2);
  ASSERT_TRUE(w.clone());
  EXPECT_EQ(w.space().devices().records(), records);
  w.expect_at(kTo);
  EXPECT_EQ(w.space().devices().records(), records) << "the first range still needs them";
  w.expect_at(kFrom.begin);
  EXPECT_EQ(w.space().devices().records(), 0u);
}

TEST(SpaceClone, EachSideWritesForItself) {
  CloneWorld w;
  ASSERT_TRUE(w.clone());
  for (std::uint64_t i = 0; i < kPages; ++i) w.write(kTo + i, 1000 + i);
  w.expect_at(kFrom.begin);
  ASSERT_TRUE(w.clone({kTo.value + 512}));
  for (std::uint64_t i = 0; i < kPages; ++i) w.write(kFrom.begin + i, 2000 + i);
  w.expect_at({kTo.value + 512});
}

TEST(SpaceClone, ACloneOfAClone) {
  CloneWorld w;
  ASSERT_TRUE(w.clone());
  PageIndex third{kTo.value + 512};
  w.world().map_range({third, third + kPages}, true);
  ASSERT_TRUE(w.world().clone({kTo, kTo + kPages}, third));
  w.expect_at(third);
  w.expect_at(kTo);
  w.expect_at(kFrom.begin);
}

// More page words than a slot's own word can count.
TEST(SpaceClone, MoreThanASlotCounts) {
  constexpr std::uint64_t kClones = 2 * swap::kMaxCount + 50;
  for (ContentKind kind : {ContentKind::kCompressible, ContentKind::kZero}) {
    World world({.seed = 5, .limit_pages = 5000, .pages = kClones + 600});
    world.allow_steps(1000000);
    PageIndex first = World::kBase;
    world.map_range({first, first + 1}, true);
    PageContent content = make_content(kind, 7);
    ASSERT_TRUE(world.write_page(first, content));
    PageRange clones{first + 8, first + 8 + kClones};
    world.map_range(clones, true);
    for (PageIndex to = clones.begin; to < clones.end; to = to + 1) {
      ASSERT_TRUE(world.clone({first, first + 1}, to));
    }
    EXPECT_EQ(slots(world.space()).in_use(), 1u) << "all of them share it";
    EXPECT_EQ(slots(world.space()).shares(), kClones + 1);
    EXPECT_EQ(world.space().accounts().view(), "");
    for (PageIndex to = clones.begin; to < clones.end; to = to + 1) {
      PageContent actual;
      ASSERT_EQ(world.sim().read(to, 0, actual.data(), kPageBytes), os::Access::kOk);
      EXPECT_EQ(actual, content);
    }
    // Down to one, and none.
    EXPECT_EQ(slots(world.space()).shares(), 1u);
    EXPECT_TRUE(world.check_page(first));
    EXPECT_EQ(slots(world.space()).in_use(), 0u);
    EXPECT_EQ(world.space().accounts().view(), "");
  }
}

TEST(SpaceClone, RefusesPinnedPages) {
  CloneWorld w;
  PageRange pinned{kFrom.begin + 70, kFrom.begin + 71};
  w.space().set_pinned(pinned, true);
  EXPECT_FALSE(w.clone());
  EXPECT_EQ(w.space().accounts().view(), "");
  w.unmap(kTo);
  EXPECT_EQ(slots(w.space()).shares(), slots(w.space()).in_use()) << "nothing is left of it";
  w.space().set_pinned(pinned, false);
  ASSERT_TRUE(w.clone());
  w.expect_at(kTo);
  w.expect_at(kFrom.begin);
}

// One of two sharers has its page back; what does not compress then belongs to the other alone, and the frame
// still says whose it was.
TEST(SpaceClone, WhatDoesNotCompressGoesOutAfterAClone) {
  World world({.seed = 5, .limit_pages = 5000});
  world.allow_steps(100000);
  PageIndex first = World::kBase, copy = first + 8;
  PageContent content = make_content(ContentKind::kIncompressible, 7);
  world.map_range({first, first + 1}, true);
  ASSERT_TRUE(world.write_page(first, content));
  world.map_range({copy, copy + 1}, true);
  ASSERT_TRUE(world.clone({first, first + 1}, copy));
  ASSERT_TRUE(world.check_page(first));
  world.space().page_out({first, first + 1}, world.worker());
  world.space().page_out({copy, copy + 1}, world.worker());
  PageContent actual;
  for (PageIndex page : {copy, first}) {
    ASSERT_EQ(world.sim().read(page, 0, actual.data(), kPageBytes), os::Access::kOk);
    EXPECT_EQ(actual, content);
  }
  EXPECT_EQ(world.space().accounts().view(), "");
}

// Given up, not taken yet, and written again: the engine can not tell, and does not guess.
TEST(SpaceClone, WhatWasGivenUpIsNotTakenForEmpty) {
  World world({.seed = 5, .limit_pages = 5000});
  world.allow_steps(100000);
  PageIndex first = World::kBase, copy = first + 8;
  world.map_range({first, first + 1}, true);
  ASSERT_TRUE(world.write_page(first, make_content(ContentKind::kCompressible, 7)));
  os::ChangeId change = world.sim().begin_remove({first, first + 1}, true);
  while (!world.sim().advance(change)) world.take_one_message();
  ASSERT_TRUE(world.write_page(first, make_content(ContentKind::kCompressible, 8)));
  world.map_range({copy, copy + 1}, true);
  EXPECT_FALSE(world.clone({first, first + 1}, copy));
}

TEST(SpaceClone, DamageIsShared) {
  World world({.seed = 5, .limit_pages = 5000});
  world.allow_steps(100000);
  PageIndex first = World::kBase, copy = first + 8;
  world.map_range({first, first + 1}, true);
  ASSERT_TRUE(world.write_page(first, make_content(ContentKind::kCompressible, 7)));
  world.space().page_out({first, first + 1}, world.worker());
  ASSERT_TRUE(corrupt_page(world.space(), first));
  world.map_range({copy, copy + 1}, true);
  ASSERT_TRUE(world.clone({first, first + 1}, copy));
  PageContent actual;
  for (PageIndex page : {copy, first}) {
    EXPECT_EQ(world.sim().read(page, 0, actual.data(), kPageBytes), os::Access::kSigbus);
  }
  EXPECT_EQ(slots(world.space()).in_use(), 0u);
}

// A fork has shared the frames' pages: they are made this process's own first.
TEST(SpaceClone, AfterAFork) {
  CloneWorld w;
  int child;
  os::ChangeId change = w.world().sim().begin_fork(&child);
  while (!w.world().sim().advance(change)) w.world().take_one_message();
  ASSERT_TRUE(w.clone());
  w.expect_at(kTo);
  w.world().sim().child_exit(child);
}

}  // namespace
}  // namespace coldpress::testing
