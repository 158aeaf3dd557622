// Cleaning of swap devices: what is still wanted of the emptiest segments is packed into one, and they come
// free.
//
// When an area runs short of segments, and never with what a forked child may still read. The copies go the
// way of all writes: the slots hear of them when they have arrived (DeviceStore::reap()), and only then are
// the old ones dropped.
#include <algorithm>
#include <utility>

#include "swap/device_store.h"
#include "sync/explore.h"
#include "sync/futex.h"

namespace coldpress::swap {
namespace {

constexpr std::uint32_t kCleanTenths = 7;  // fuller ones are not worth it

}  // namespace

// The segment to clean next, of an area that runs short; it is taken off the choice.
SegmentId DeviceStore::sparsest(std::size_t area) {
  const Area& a = areas_[area];
  sync::MutexLock lock(mutex_);
  if (a.device == nullptr || a.frozen || a.pause_until_ns > sync::now_ns()) return {};
  std::uint64_t all = a.device->bytes() / kSegmentBytes;
  auto number = static_cast<std::uint8_t>(area);
  if (segments_.writable(number) > std::max<std::uint64_t>(all / 8, kCleanReserve + 2)) return {};
  SegmentId segment = segments_.emptiest(number, kCleanTenths);
  if (segment) segments_[segment].cleaning = true;
  return segment;
}

bool DeviceStore::clean() {
  // One at a time: the other buffers are for what leaves the pool.
  for (std::size_t i = 0; batches_ != nullptr && i < kBatches; ++i) {
    if (batches_[i].phase != Phase::kIdle && batches_[i].cleaned_count > 0) return false;
  }
  for (std::size_t i = 0; i < kMaxAreas; ++i) {
    // One alone would only change its place.
    SegmentId segment = sparsest(i), next = segment ? sparsest(i) : SegmentId{};
    if (!next || !begin_on(i)) {
      sync::MutexLock lock(mutex_);
      if (segment) segments_[segment].cleaning = false;
      if (next) segments_[next].cleaning = false;
      continue;
    }
    Batch& batch = *filling_;
    sync::mark("cleaning: segments are packed again");
    for (bool fits = true; segment; segment = std::exchange(next, SegmentId{})) {
      batch.cleaned[batch.cleaned_count++] = segment;
      fits = fits && pack_again(areas_[i], segment);
      if (fits && !next && batch.cleaned_count < kMaxCleaned) next = sparsest(i);
    }
    submit();
    return true;
  }
  return false;
}

std::uint32_t DeviceStore::list_live(SegmentId segment) {
  std::uint32_t count = 0;
  sync::MutexLock lock(mutex_);
  for (std::uint32_t r = segments_[segment].records; r != 0 && count < kMaxMoves; r = records_[r].next) {
    clean_list_[count++] = records_[r];
  }
  return count;
}

// While the writer is held nothing is written or discarded, so what is read here is the segment as it was
// sealed, also if its last record goes meanwhile. Whether an object is still wanted is asked of its slot when
// the copy has arrived. false: the batch is full.
bool DeviceStore::pack_again(const Area& area, SegmentId segment) {
  std::uint32_t used_bytes = 0;
  std::uint64_t sequence = 0;
  {
    sync::MutexLock lock(mutex_);
    used_bytes = segments_[segment].used_bytes;
    sequence = segments_[segment].sequence;
  }
  bool good = area.device->read(offset_of(area, segment), clean_buffer_, to_blocks(used_bytes)) ==
              os::IoStatus::kDone;
  bool fits = true;
  std::uint32_t count = good ? list_live(segment) : 0;
  for (std::uint32_t i = 0; i < count && fits; ++i) {
    const Record& r = clean_list_[i];
    std::byte* data = clean_buffer_ + std::size_t{r.place} * kUnit;
    if (!open_object(r, sequence, data, area)) {
      good = false;
      continue;
    }
    Move move{Owner::of({r.slot, r.generation}, r.account), State::kDevice, r.number, 0};
    fits = add(move, {data, r.length, r.codec, r.checksum});
  }
  if (!good) {
    sync::MutexLock lock(mutex_);
    segments_[segment].damaged = true;
  }
  return fits;
}

bool DeviceStore::discard_some() {
  constexpr int kAtOnce = 8;
  bool any = false;
  for (std::size_t i = 0; i < kMaxAreas; ++i) {
    Area& a = areas_[i];
    for (int n = 0; n < kAtOnce; ++n) {
      SegmentId dirty;
      {
        sync::MutexLock lock(mutex_);
        if (a.device == nullptr || a.frozen) break;
        dirty = segments_.take_dirty(static_cast<std::uint8_t>(i));
      }
      if (!dirty) break;
      a.device->discard(offset_of(a, dirty), kSegmentBytes);
      sync::MutexLock lock(mutex_);
      segments_.give_back(dirty);
      any = true;
    }
  }
  return any;
}

}  // namespace coldpress::swap
