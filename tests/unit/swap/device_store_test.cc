#include "swap/device_store.h"

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "os/sim/sim_device.h"
#include "support/heap_memory.h"
#include "unit/contents.h"

namespace coldpress::swap {
namespace {

using os::SimDevice;
using testing::HeapMemory;
using testing::Random;
using ReadResult = DeviceStore::ReadResult;

constexpr std::uint64_t kMiB = 1 << 20;

// Stores objects as vm does, without slots: whoever is settled as written is live.
class DeviceStoreTest : public ::testing::Test {
 protected:
  struct Object {
    std::vector<std::byte> bytes;
    std::uint32_t checksum;
    std::uint32_t record = 0;
  };

  void SetUp() override {
    ASSERT_TRUE(store_.init(memory_, 100000));
    io_ = memory_.allocate(DeviceStore::kReadBytes);
    for (std::size_t i = 0; i < sizeof key_; ++i) key_[i] = static_cast<std::byte>(i);
  }
  std::size_t add(SimDevice& device, int priority = 0, bool sealed = true) {
    std::size_t area = store_.add_area(device, priority, sealed ? key_ : nullptr);
    EXPECT_LT(area, kMaxAreas);
    return area;
  }
  Object make(std::size_t length) {
    Object object{std::vector<std::byte>(length), static_cast<std::uint32_t>(random_.next()), 0};
    for (std::byte& byte : object.bytes) byte = static_cast<std::byte>(random_.next());
    return object;
  }
  // Writes what is in `pending_`, as far as there is room.
  void write() NO_THREAD_SAFETY_ANALYSIS {
    sync::MutexLock lock(store_.writer());
    while (!pending_.empty() && (store_.begin() || (reap(0), store_.begin()))) {
      while (!pending_.empty()) {
        auto it = pending_.begin();
        Content content{it->second.bytes.data(), static_cast<std::uint16_t>(it->second.bytes.size()), 1,
                        it->second.checksum};
        if (!store_.add({Entry{{it->first}, 1}, State::kZswap, it->first, 0}, content)) break;
        under_way_[it->first] = std::move(it->second);
        pending_.erase(it);
      }
      store_.submit();
    }
    reap(0);
  }
  void reap(std::int64_t wait_ns) NO_THREAD_SAFETY_ANALYSIS {
    while (store_.reap(wait_ns, [&](const Move& move, bool written) { settle(move, written); })) {
    }
  }
  void settle(const Move& move, bool written) {
    std::uint32_t id = move.owner.slot.value;
    if (move.from == State::kDevice) {
      // A copy made by cleaning.
      auto it = live_.find(id);
      if (written && it != live_.end() && it->second.record == move.payload) {
        it->second.record = move.record;
        store_.drop(move.payload);
        ++moved_;
      } else {
        store_.drop(move.record);
      }
      return;
    }
    Object object = std::move(under_way_.at(id));
    under_way_.erase(id);
    if (written) {
      object.record = move.record;
      live_[id] = std::move(object);
    } else {
      store_.drop(move.record);
      pending_[id] = std::move(object);
    }
  }
  void clean() NO_THREAD_SAFETY_ANALYSIS {
    sync::MutexLock lock(store_.writer());
    store_.clean();
    reap(0);
  }
  void discard() NO_THREAD_SAFETY_ANALYSIS {
    sync::MutexLock lock(store_.writer());
    while (store_.discard_some()) {
    }
  }
  ReadResult read(const Object& object, bool* same) {
    Content content;
    ReadResult result = store_.read(object.record, io_, &content);
    *same = result == ReadResult::kRead && content.length == object.bytes.size() && content.codec == 1 &&
            content.checksum == object.checksum &&
            std::equal(object.bytes.begin(), object.bytes.end(), content.data);
    return result;
  }
  void expect_all_readable() {
    for (const auto& [id, object] : live_) {
      bool same = false;
      ASSERT_EQ(read(object, &same), ReadResult::kRead) << id;
      ASSERT_TRUE(same) << id;
    }
  }
  void drop(std::uint32_t id) {
    store_.drop(live_.at(id).record);
    live_.erase(id);
  }

  HeapMemory memory_;
  Random random_{5};
  DeviceStore store_;
  std::byte key_[codec::Sealer::kKeyBytes];
  std::byte* io_ = nullptr;
  std::map<std::uint32_t, Object> pending_, under_way_, live_;
  std::uint64_t moved_ = 0;
};

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

TEST_F(DeviceStoreTest, NothingOfItCanBeReadOnTheDevice) {
  SimDevice sealed(2 * kMiB), open(2 * kMiB);
  std::size_t first = add(sealed);
  Object object = make(3000);
  pending_[1] = object;
  write();
  std::span<const std::byte> some(object.bytes.data() + 100, 16);
  EXPECT_FALSE(sealed.contains(some));
  store_.freeze_area(first);
  add(open, 0, false);
  pending_[2] = object;
  write();
  EXPECT_TRUE(open.contains(some)) << "so the search would have found it";
  expect_all_readable();
}

// What a buffer held before is in no block that it is written in later: neither behind an object, up to the
// next, nor behind the last. Not sealed, so that it could be seen.
TEST_F(DeviceStoreTest, NothingOfAnOldBufferReachesTheDevice) {
  SimDevice device(8 * kMiB);
  add(device, 0, false);
  constexpr std::byte kOld{0xa7};
  std::vector<std::byte> old(4, kOld);
  for (std::uint32_t id = 1; id <= 1000; ++id) {
    pending_[id] = make(kPageBytes);
    std::fill(pending_[id].bytes.begin(), pending_[id].bytes.end(), kOld);
  }
  write();
  ASSERT_TRUE(device.contains(old));
  while (!live_.empty()) drop(live_.begin()->first);
  discard();
  device.scribble(0, device.bytes());
  ASSERT_FALSE(device.contains(old));
  for (std::uint32_t round = 0; round < 40; ++round) {
    for (std::uint32_t i = 1; i <= 3; ++i) {
      Object& object = pending_[round * 3 + i] = make(1 + 16 * random_.below(9));
      std::fill(object.bytes.begin(), object.bytes.end(), std::byte{1});
    }
    write();
  }
  EXPECT_FALSE(device.contains(old));
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
