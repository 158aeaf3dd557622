#include "os/linux/ram_device.h"

#include <gtest/gtest.h>

#include <cstring>

#include "support/heap_memory.h"

namespace coldpress::os {
namespace {

constexpr std::uint64_t kRunBytes = 1 << 20;

std::uint64_t rss_anon_kib() {
  FILE* status = std::fopen("/proc/self/status", "re");
  char line[256];
  unsigned long long kib = 0;
  while (status != nullptr && std::fgets(line, sizeof line, status) != nullptr) {
    if (std::sscanf(line, "RssAnon: %llu kB", &kib) == 1) break;
  }
  if (status != nullptr) std::fclose(status);
  return kib;
}

TEST(RamDeviceTest, WritesAreDoneAtOnceAndReadInPlace) {
  testing::HeapMemory memory;
  std::byte* buffer = memory.allocate(kRunBytes);
  RamDevice device;
  ASSERT_TRUE(device.open(64 * kRunBytes));
  EXPECT_EQ(device.bytes(), 64 * kRunBytes);
  std::memset(buffer, 7, kRunBytes);
  std::uint64_t before = rss_anon_kib();
  for (std::uint32_t i = 0; i < 60; ++i) {
    device.submit_write(i * kRunBytes, buffer, kRunBytes, 0);
    BlockDevice::Completion done[2];
    ASSERT_EQ(device.reap(done, 0), 1u);
    ASSERT_EQ(done[0].status, IoStatus::kDone);
  }
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)  // their own memory grows
  EXPECT_LT(rss_anon_kib(), before + 8192) << "it is not counted as the process's own";
#else
  (void)before;
#endif
  EXPECT_EQ(std::memcmp(device.in_place(30 * kRunBytes), buffer, kRunBytes), 0);
  std::byte* back = memory.allocate(kBlockBytes);
  ASSERT_EQ(device.read(59 * kRunBytes, back, kBlockBytes), IoStatus::kDone);
  EXPECT_EQ(std::memcmp(back, buffer, kBlockBytes), 0);
  device.discard(30 * kRunBytes, kRunBytes);
  EXPECT_EQ(*device.in_place(30 * kRunBytes), std::byte{0}) << "given back";
  device.close();
}

TEST(RamDeviceTest, AnImpossibleSizeIsAnError) {
  RamDevice device;
  auto status = device.open(std::uint64_t{1} << 60);
  ASSERT_FALSE(status);
  EXPECT_NE(std::string(status.error().text.view()).find("smaller"), std::string::npos);
}

}  // namespace
}  // namespace coldpress::os
