// The log of a swap device under any sequence of writes, drops, cleaning and discards, on a device that fails
// and whose blocks are overwritten by others, with noise or with what stood elsewhere on it before: what is
// read is right, or it is refused.
#include <algorithm>
#include <map>
#include <vector>

#include "fuzz/fuzz_input.h"
#include "os/sim/sim_device.h"
#include "support/heap_memory.h"
#include "swap/device_store.h"

namespace {

using coldpress::fuzz::require;
using coldpress::os::SimDevice;
using coldpress::swap::Content;
using coldpress::swap::DeviceStore;
using coldpress::swap::Move;
using coldpress::swap::State;

constexpr std::uint64_t kDeviceBytes = 12 * 256 * 1024;
constexpr std::uint64_t kDeviceBlocks = kDeviceBytes / coldpress::os::kBlockBytes;
constexpr std::size_t kMaxLive = 2000;

struct Object {
  std::uint16_t length;
  std::uint8_t fill;
  std::uint32_t record;
};

class Log {
 public:
  Log() {
    require(store_.init(memory_, 4096), "there is address space");
    io_ = memory_.allocate(DeviceStore::kReadBytes);
    std::byte key[coldpress::codec::Sealer::kKeyBytes] = {std::byte{1}};
    area_ = store_.add_area(device_, 0, key);
    require(area_ < coldpress::swap::kMaxAreas, "the device is taken");
  }

  // Some objects of about one length, in one batch or more.
  void write(std::uint16_t length, std::uint8_t count) NO_THREAD_SAFETY_ANALYSIS {
    coldpress::sync::MutexLock lock(store_.writer());
    bool open = store_.begin();
    for (unsigned i = 0; open && i < count && live_.size() < kMaxLive; ++i) {
      std::vector<std::byte> bytes(std::min<std::size_t>(length % 4096 + 1 + i, 4096));
      auto fill = static_cast<std::uint8_t>(next_id_);
      for (std::size_t at = 0; at < bytes.size(); ++at) bytes[at] = static_cast<std::byte>(fill + at);
      Content content{bytes.data(), static_cast<std::uint16_t>(bytes.size()), 1, next_id_};
      Move move{coldpress::swap::Entry{{next_id_}, 1}, State::kZswap, next_id_, 0};
      if (!store_.add(move, content)) {
        store_.submit();
        open = store_.begin();
        continue;
      }
      under_way_[next_id_++] = {content.length, fill, 0};
    }
    if (open) store_.submit();
    reap();
  }
  void clean() NO_THREAD_SAFETY_ANALYSIS {
    coldpress::sync::MutexLock lock(store_.writer());
    store_.clean();
    reap();
  }
  void discard() NO_THREAD_SAFETY_ANALYSIS {
    coldpress::sync::MutexLock lock(store_.writer());
    store_.discard_some();
  }
  void drop(std::size_t which) {
    if (live_.empty()) return;
    auto it = std::next(live_.begin(), static_cast<std::ptrdiff_t>(which % live_.size()));
    store_.drop(it->second.record);
    live_.erase(it);
  }
  void fail(std::uint8_t how) {
    if (how % 32 != 0) untouched_ = false;
    device_.set_faults({.read_error = how & 1u ? 5u : 0u,
                        .write_error = how & 2u ? 5u : 0u,
                        .no_space = how & 4u ? 5u : 0u,
                        .torn_write = how & 8u ? 5u : 0u,
                        .lost_write = how & 16u ? 5u : 0u});
  }
  void scribble(std::uint16_t block) {
    untouched_ = false;
    device_.scribble(block % kDeviceBlocks * coldpress::os::kBlockBytes, coldpress::os::kBlockBytes);
  }
  void remember(std::uint16_t block) {
    remembered_.resize(coldpress::os::kBlockBytes);
    device_.read(block % kDeviceBlocks * coldpress::os::kBlockBytes, remembered_.data(), remembered_.size());
  }
  void replay(std::uint16_t block) {
    if (remembered_.empty()) return;
    untouched_ = false;
    device_.overwrite(block % kDeviceBlocks * coldpress::os::kBlockBytes, remembered_);
  }
  void check(std::size_t which) {
    if (live_.empty()) return;
    check(std::next(live_.begin(), static_cast<std::ptrdiff_t>(which % live_.size()))->second);
  }
  void check_all() {
    store_.validate();
    for (const auto& [id, object] : live_) check(object);
    while (!live_.empty()) drop(0);
    require(store_.records() == under_way_.size(), "nothing is left of what was dropped");
    require(store_.stored_bytes() == 0 || !under_way_.empty(), "bytes go with their records");
    store_.validate();
  }

 private:
  void check(const Object& object) {
    Content content;
    DeviceStore::ReadResult result = store_.read(object.record, io_, &content);
    require(result == DeviceStore::ReadResult::kRead || !untouched_, "what nobody has touched can be read");
    if (result != DeviceStore::ReadResult::kRead) return;
    require(content.length == object.length, "an object keeps its length");
    for (std::size_t i = 0; i < object.length; ++i) {
      require(content.data[i] == static_cast<std::byte>(object.fill + i), "what is read is right");
    }
  }
  void reap() NO_THREAD_SAFETY_ANALYSIS {
    while (store_.reap(0, [&](const Move& move, bool written) { settle(move, written); })) {
    }
  }
  void settle(const Move& move, bool written) {
    std::uint32_t id = move.owner.slot.value;
    if (move.from == State::kDevice) {
      auto it = live_.find(id);
      bool moves = written && it != live_.end() && it->second.record == move.payload;
      if (moves) it->second.record = move.record;
      store_.drop(moves ? move.payload : move.record);
      return;
    }
    Object object = under_way_.at(id);
    under_way_.erase(id);
    object.record = move.record;
    if (written) {
      live_[id] = object;
    } else {
      store_.drop(move.record);
    }
  }

  coldpress::testing::HeapMemory memory_;
  SimDevice device_{kDeviceBytes};
  DeviceStore store_;
  std::byte* io_ = nullptr;
  std::size_t area_ = 0;
  std::map<std::uint32_t, Object> live_, under_way_;
  std::vector<std::byte> remembered_;
  std::uint32_t next_id_ = 1;
  bool untouched_ = true;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Log log;
  for (coldpress::fuzz::Reader input(data, size); !input.empty();) {
    switch (input.byte() % 12) {
      case 0:
      case 1:
      case 2: {
        std::uint16_t length = input.word();
        log.write(length, input.byte());
        break;
      }
      case 3:
      case 4:
        for (unsigned count = input.byte() % 64; count > 0; --count) log.drop(input.word());
        break;
      case 5:
        log.clean();
        break;
      case 6:
        log.discard();
        break;
      case 7:
        log.scribble(input.word());
        break;
      case 8:
        log.remember(input.word());
        break;
      case 9:
        log.replay(input.word());
        break;
      case 10:
        log.fail(input.byte());
        break;
      default:
        log.check(input.word());
    }
  }
  log.check_all();
  return 0;
}
