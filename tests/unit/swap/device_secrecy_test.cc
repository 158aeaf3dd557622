// What of a program's memory can be seen on a device: nothing that is sealed, and nothing that was not
// written.
#include "unit/swap/device_store_objects.h"

namespace coldpress::swap {
namespace {

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

}  // namespace
}  // namespace coldpress::swap
