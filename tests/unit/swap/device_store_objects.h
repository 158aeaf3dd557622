// For tests of DeviceStore: objects that are written, settled, read and dropped, without slots.
// Thread safety: none.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <vector>

#include "os/sim/sim_device.h"
#include "support/heap_memory.h"
#include "swap/device_store.h"
#include "unit/contents.h"

namespace coldpress::swap {

using os::SimDevice;
using testing::HeapMemory;
using testing::Random;
using ReadResult = DeviceStore::ReadResult;

inline constexpr std::uint64_t kMiB = 1 << 20;

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

}  // namespace coldpress::swap
