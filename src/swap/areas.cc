// The devices of a store: what is given to it and taken away, and how much of it is in use.
#include <algorithm>

#include "swap/device_store.h"
#include "sync/explore.h"
#include "sync/futex.h"

namespace coldpress::swap {
namespace {

std::uint32_t segments_on(const os::BlockDevice& device) {
  return static_cast<std::uint32_t>(
      std::min<std::uint64_t>(device.bytes() / kSegmentBytes, kMostSegments / kMaxAreas));
}

}  // namespace

std::size_t DeviceStore::add_area(os::BlockDevice& device, int priority, const std::byte* key) {
  std::uint32_t count = segments_on(device);
  sync::MutexLock lock(mutex_);
  // Best one whose segments, from an earlier use, are enough.
  std::size_t area = kMaxAreas;
  for (std::size_t i = 0; i < kMaxAreas; ++i) {
    if (areas_[i].device != nullptr) continue;
    if (area == kMaxAreas || (areas_[i].segments >= count && areas_[area].segments < count)) area = i;
  }
  if (area == kMaxAreas) return kMaxAreas;
  Area& a = areas_[area];
  bool again = a.segments >= count && count > 0;
  SegmentId first = segments_.add(static_cast<std::uint8_t>(area), count, again ? a.first : SegmentId{});
  if (!first) return kMaxAreas;
  std::uint32_t segments = again ? a.segments : count;
  a = {};
  a.sealed = key != nullptr;
  if (key != nullptr) a.sealer.init(key);
  a.priority = priority;
  a.first = first;
  a.segments = segments;
  a.device = &device;
  full_.store(false, sync::kRelaxed);
  writable_areas_.fetch_add(1, sync::kRelease);
  return area;
}

bool DeviceStore::freeze_area(std::size_t area) {
  sync::MutexLock lock(mutex_);
  if (area >= kMaxAreas || areas_[area].device == nullptr || areas_[area].frozen) return false;
  if (sync::is_mutant(sync::Mutant::kFreezeNothing)) return true;
  areas_[area].frozen = true;
  segments_.freeze(static_cast<std::uint8_t>(area), true);
  writable_areas_.fetch_sub(1, sync::kRelease);
  return true;
}

void DeviceStore::thaw_area(std::size_t area) {
  sync::MutexLock lock(mutex_);
  areas_[area].frozen = false;
  segments_.freeze(static_cast<std::uint8_t>(area), false);
  writable_areas_.fetch_add(1, sync::kRelease);
}

void DeviceStore::remove_area(std::size_t area) {
  freeze_area(area);
  sync::MutexLock lock(mutex_);
  areas_[area].device = nullptr;
  if (areas_[area].sealed) areas_[area].sealer.forget();
}

DeviceStore::Use DeviceStore::use_of(std::size_t area) {
  std::int64_t now = sync::now_ns();
  sync::MutexLock lock(mutex_);
  const Area& a = areas_[area];
  if (a.device == nullptr) return {};
  std::uint64_t all = segments_on(*a.device), unused = segments_.unused(static_cast<std::uint8_t>(area));
  return {all * kSegmentBytes, (all - unused) * kSegmentBytes, a.records, a.pause_until_ns > now};
}

DeviceStore::Use DeviceStore::use() {
  Use all{};
  sync::MutexLock lock(mutex_);
  for (std::size_t i = 0; i < kMaxAreas; ++i) {
    if (areas_[i].device == nullptr) continue;
    std::uint64_t segments = segments_on(*areas_[i].device);
    all.size_bytes += segments * kSegmentBytes;
    all.used_bytes += (segments - segments_.writable(static_cast<std::uint8_t>(i))) * kSegmentBytes;
    all.pages += areas_[i].records;
  }
  return all;
}

}  // namespace coldpress::swap
