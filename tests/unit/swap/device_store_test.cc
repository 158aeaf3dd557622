#include "swap/device_store.h"

#include "unit/swap/device_store_objects.h"

namespace coldpress::swap {
namespace {

TEST_F(DeviceStoreTest, PacksReadsAndDrops) {
  SimDevice device(8 * kMiB);
  add(device);
  for (std::uint32_t id = 1; id <= 2000; ++id) pending_[id] = make(1 + random_.below(kPageBytes));
  std::uint64_t bytes = 0;
  for (const auto& [id, object] : pending_) bytes += object.bytes.size();
  write();
  ASSERT_EQ(live_.size(), 2000u);
  expect_all_readable();
  EXPECT_EQ(store_.records(), 2000u);
  // Tag, padding to 16 and to the end of a segment: little beside what is stored.
  EXPECT_LT(device.used_bytes(), bytes + bytes / 25);
  store_.validate();
  while (!live_.empty()) drop(live_.begin()->first);
  EXPECT_EQ(store_.records(), 0u);
  EXPECT_EQ(store_.stored_bytes(), 0u);
  discard();
  EXPECT_EQ(device.used_bytes(), 0u) << "freed room is given back";
}

TEST_F(DeviceStoreTest, TellsWhatIsInUse) {
  SimDevice first(8 * kMiB), second(4 * kMiB + 5000);
  std::size_t of_first = add(first, 2), of_second = add(second, 1);
  EXPECT_EQ(store_.use_of(of_first).size_bytes, 8 * kMiB);
  EXPECT_EQ(store_.use_of(of_second).size_bytes, 4 * kMiB) << "whole segments";
  EXPECT_EQ(store_.use_of(of_first).used_bytes, 0u);
  EXPECT_EQ(store_.use_of(of_second + 1).size_bytes, 0u) << "there is none";
  for (std::uint32_t id = 1; id <= 300; ++id) pending_[id] = make(2000);
  write();
  DeviceStore::Use use = store_.use_of(of_first);
  EXPECT_EQ(use.pages, 300u);
  EXPECT_GE(use.used_bytes, 300 * 2000u);
  EXPECT_LE(use.used_bytes, 4 * kSegmentBytes);
  EXPECT_FALSE(use.failing);
  first.set_faults({.write_error = 1, .only_at = 1});
  pending_[301] = make(2000);
  write();
  EXPECT_TRUE(store_.use_of(of_first).failing);
  write();
  EXPECT_EQ(store_.use_of(of_second).pages, 1u) << "what the first did not take";
  EXPECT_EQ(store_.use().size_bytes, 12 * kMiB);
  EXPECT_EQ(store_.use().pages, 301u);
  EXPECT_EQ(store_.use().used_bytes,
            store_.use_of(of_first).used_bytes + store_.use_of(of_second).used_bytes);
}

TEST_F(DeviceStoreTest, ManyAreReadFromWholeSegments) {
  SimDevice device(8 * kMiB);
  add(device);
  for (std::uint32_t id = 1; id <= 1000; ++id) pending_[id] = make(1 + random_.below(kPageBytes));
  write();
  std::uint64_t before = device.reads();
  for (int round = 0; round < 2; ++round) {
    for (const auto& [id, object] : live_) {
      Content content;
      ASSERT_EQ(store_.read(object.record, io_, &content, true), ReadResult::kRead);
      ASSERT_TRUE(std::equal(object.bytes.begin(), object.bytes.end(), content.data)) << id;
    }
  }
  EXPECT_LT(device.reads() - before, 60u);
  // What is written where it was is not taken for it.
  while (!live_.empty()) drop(live_.begin()->first);
  for (std::uint32_t id = 1; id <= 2000; ++id) pending_[id] = make(1 + random_.below(kPageBytes));
  write();
  for (const auto& [id, object] : live_) {
    Content content;
    ASSERT_EQ(store_.read(object.record, io_, &content, true), ReadResult::kRead);
    ASSERT_TRUE(std::equal(object.bytes.begin(), object.bytes.end(), content.data)) << id;
  }
}

TEST_F(DeviceStoreTest, ScribbledAndReplacedContentIsNeverBelieved) {
  SimDevice device(8 * kMiB);
  add(device);
  for (std::uint32_t id = 1; id <= 300; ++id) pending_[id] = make(500 + random_.below(3000));
  write();
  device.scribble(10000, 100);
  std::size_t damaged = 0;
  for (const auto& [id, object] : live_) {
    bool same = false;
    ReadResult result = read(object, &same);
    damaged += result == ReadResult::kDamaged ? 1 : 0;
    ASSERT_TRUE(same || result == ReadResult::kDamaged);
  }
  EXPECT_GE(damaged, 1u);
  EXPECT_LE(damaged, 3u);
}

TEST_F(DeviceStoreTest, ReadErrorsAreSaidAfterSomeTries) {
  SimDevice device(8 * kMiB);
  add(device);
  pending_[1] = make(1000);
  write();
  bool same = false;
  device.set_faults({.read_error = 1});
  EXPECT_EQ(read(live_.at(1), &same), ReadResult::kIoError);
  device.set_faults({});
  EXPECT_EQ(read(live_.at(1), &same), ReadResult::kRead) << "nothing is lost by a failed read";
  EXPECT_TRUE(same);
}

TEST_F(DeviceStoreTest, WhatCouldNotBeWrittenIsSettledSo) {
  SimDevice device(8 * kMiB, 3);
  add(device);
  device.set_faults({.write_error = 2});
  for (std::uint32_t id = 1; id <= 1000; ++id) pending_[id] = make(1000 + random_.below(3000));
  for (int i = 0; i < 100 && !pending_.empty(); ++i) write();
  expect_all_readable();
  EXPECT_EQ(store_.records(), live_.size());
  EXPECT_GT(live_.size(), 0u);
  store_.validate();
}

TEST_F(DeviceStoreTest, AFullFileSystemIsTriedAgainLater) {
  SimDevice device(8 * kMiB);
  add(device);
  device.set_faults({.no_space = 1});
  pending_[1] = make(1000);
  write();
  EXPECT_EQ(pending_.size(), 1u);
  device.set_faults({});
  write();
  EXPECT_EQ(pending_.size(), 1u) << "not at once";
  sync::sleep_ns(1'100'000'000);
  write();
  EXPECT_EQ(live_.size(), 1u) << "and the room is not given up";
}

TEST_F(DeviceStoreTest, ADeviceThatNeverAnswersOwnsNothing) {
  SimDevice device(8 * kMiB);
  add(device);
  device.set_faults({.answers_never = true});
  for (std::uint32_t id = 1; id <= 2000; ++id) pending_[id] = make(2000);
  write();
  EXPECT_TRUE(live_.empty());
  EXPECT_GT(store_.under_way_bytes(), 0u);
  EXPECT_GT(pending_.size(), 1000u) << "only so much is under way at once";
  device.set_faults({});
  {
    sync::MutexLock lock(store_.writer());
    reap(0);
  }
  EXPECT_EQ(store_.under_way_bytes(), 0u);
  expect_all_readable();
}

TEST_F(DeviceStoreTest, HigherPrioritiesFirstEqualOnesInTurn) {
  SimDevice low(4 * kMiB), one(4 * kMiB), other(4 * kMiB);
  std::size_t low_area = add(low, 1), first = add(one, 7), second = add(other, 7);
  for (std::uint32_t id = 1; id <= 1000; ++id) pending_[id] = make(3000);
  write();
  EXPECT_EQ(store_.records_on(low_area), 0u);
  auto difference = static_cast<std::int64_t>(store_.records_on(first) - store_.records_on(second));
  EXPECT_LE(std::abs(difference), 90) << "a segment's worth";
  for (std::uint32_t id = 1001; id <= 3500; ++id) pending_[id] = make(3000);
  write();
  EXPECT_GT(store_.records_on(low_area), 0u) << "when the others are full";
  expect_all_readable();
}

TEST_F(DeviceStoreTest, CleaningMakesRoomAndLosesNothing) {
  SimDevice device(4 * kMiB);
  add(device);
  std::uint32_t id = 0;
  std::uint64_t written = 0;
  for (int round = 0; round < 60; ++round) {
    // A third of the device is wanted, all over the place.
    while (live_.size() + pending_.size() < 450) pending_[++id] = make(3000);
    std::size_t wanted = pending_.size();
    for (int i = 0; i < 8; ++i) {
      write();
      clean();
    }
    ASSERT_TRUE(pending_.empty()) << "round " << round << ": " << pending_.size() << " found no room";
    written += wanted * 3000;
    std::vector<std::uint32_t> gone;
    for (const auto& [live, object] : live_) {
      if (random_.one_in(3)) gone.push_back(live);
    }
    for (std::uint32_t dropped : gone) drop(dropped);
    expect_all_readable();
    store_.validate();
  }
  EXPECT_GT(written, 3 * device.bytes()) << "no room was needed twice: this proved nothing";
  EXPECT_GT(moved_, 0u);
}

TEST_F(DeviceStoreTest, WhatAChildMayReadStaysUntilItHasGone) {
  SimDevice device(2 * kMiB);
  add(device);
  for (std::uint32_t id = 1; id <= 100; ++id) pending_[id] = make(3000);
  write();
  store_.hold_up_to(store_.sequence());
  while (!live_.empty()) drop(live_.begin()->first);
  // Everything that is written now must go elsewhere.
  for (std::uint32_t id = 1001; id <= 2000; ++id) pending_[id] = make(3000);
  for (int i = 0; i < 20; ++i) {
    write();
    clean();
    discard();
  }
  EXPECT_FALSE(pending_.empty()) << "the device was not filled: this proved nothing";
  std::size_t held = device.used_bytes();
  while (!live_.empty()) drop(live_.begin()->first);
  discard();
  EXPECT_GE(device.used_bytes(), 100u * 3000);
  EXPECT_LT(device.used_bytes(), held);
  store_.hold_up_to(0);
  discard();
  EXPECT_EQ(device.used_bytes(), 0u);
}

TEST_F(DeviceStoreTest, AChildForgetsWhatWasUnderWay) {
  SimDevice device(8 * kMiB);
  std::size_t area = add(device);
  pending_[1] = make(1000);
  write();
  device.set_faults({.answers_never = true});
  pending_[2] = make(1000);
  write();
  ASSERT_EQ(under_way_.size(), 1u);
  std::vector<std::uint32_t> forgotten;
  store_.inherit([&](const Move& move, bool written) {
    EXPECT_FALSE(written);
    forgotten.push_back(move.owner.slot.value);
    store_.drop(move.record);
  });
  EXPECT_EQ(forgotten, std::vector<std::uint32_t>{2});
  EXPECT_FALSE(store_.in_use()) << "nothing is written to a parent's device";
  EXPECT_EQ(store_.records_on(area), 1u);
  expect_all_readable();
  store_.validate();
}

TEST_F(DeviceStoreTest, WhatWasHeldForNobodyIsFreeAgain) {
  SimDevice device(2 * kMiB);
  add(device);
  for (int round = 0; round < 20; ++round) {
    for (std::uint32_t id = 1; id <= 200; ++id) pending_[id] = make(3000);
    write();
    ASSERT_TRUE(pending_.empty()) << round;
    store_.hold_up_to(store_.sequence());
    while (!live_.empty()) drop(live_.begin()->first);
    store_.hold_up_to(0);
  }
}

TEST_F(DeviceStoreTest, AreasComeAndGoWithoutUsingUpTheTables) {
  SimDevice device(2 * kMiB);
  std::uint64_t before = 0;
  for (int round = 0; round < 100; ++round) {
    std::size_t area = add(device);
    pending_[1] = make(3000);
    write();
    ASSERT_EQ(live_.size(), 1u);
    expect_all_readable();
    store_.freeze_area(area);
    drop(1);
    store_.remove_area(area);
    if (round == 20) before = store_.metadata_pages();
    store_.validate();
  }
  EXPECT_EQ(store_.metadata_pages(), before);
}

TEST_F(DeviceStoreTest, RecordsOfAnAreaAreFound) {
  SimDevice one(4 * kMiB), other(4 * kMiB);
  std::size_t first = add(one, 2), second = add(other, 1);
  for (std::uint32_t id = 1; id <= 500; ++id) pending_[id] = make(500);
  write();
  std::map<std::uint32_t, bool> found;
  Owner owner;
  for (std::uint32_t record = 0; (record = store_.next_record(first, record, &owner)) != 0;) {
    EXPECT_EQ(live_.at(owner.slot.value).record, record);
    found[owner.slot.value] = true;
  }
  EXPECT_EQ(found.size(), 500u);
  EXPECT_EQ(store_.next_record(second, 0, &owner), 0u);
}

}  // namespace
}  // namespace coldpress::swap
