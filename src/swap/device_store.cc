#include "swap/device_store.h"

#include <algorithm>
#include <cstring>

#include "sync/explore.h"
#include "sync/futex.h"

namespace coldpress::swap {
namespace {

constexpr int kReadTries = 3;

}  // namespace

bool DeviceStore::init(MemorySource& source, std::size_t max_records) {
  source_ = &source;
  sync::name_object(writer_, "device writer");
  sync::name_object(mutex_, "devices");
  sync::name_object(whole_mutex_, "whole segment");
  sync::name_object(writable_areas_, "writable areas");
  sync::name_object(full_, "devices full");
  sync::name_object(under_way_bytes_, "bytes under way");
  sync::name_object(leaving_bytes_, "bytes leaving");
  sync::MutexLock lock(mutex_);
  return segments_.init(source, kMostSegments) && records_.init(source, max_records);
}

std::uint32_t DeviceStore::next_record(std::size_t area, std::uint32_t record, Owner* owner) {
  sync::MutexLock lock(mutex_);
  while (++record < record_end_) {
    const Record& r = records_[record];
    if (!r.segment || segments_[r.segment].area != area) continue;
    *owner = Owner::of({r.slot, r.generation}, r.account);
    return record;
  }
  return 0;
}

// --- writing

bool DeviceStore::prepare_buffers() {
  if (batches_ != nullptr) return true;
  std::byte* data = source_->allocate(std::size_t{kSegmentBytes} * (kBatches + 1));
  std::byte* lists = source_->allocate(sizeof(Batch) * kBatches + sizeof(Record) * kMaxMoves);
  if (data == nullptr || lists == nullptr) return false;
  batches_ = reinterpret_cast<Batch*>(lists);
  for (std::size_t i = 0; i < kBatches; ++i) batches_[i].data = data + i * kSegmentBytes;
  clean_buffer_ = data + kBatches * kSegmentBytes;
  clean_list_ = reinterpret_cast<Record*>(lists + sizeof(Batch) * kBatches);
  return true;
}

// The area of the highest priority that has room, the longest not used of equal ones.
std::size_t DeviceStore::choose_area() {
  std::size_t best = kMaxAreas;
  std::int64_t now = sync::now_ns();
  sync::MutexLock lock(mutex_);
  for (std::size_t i = 0; i < kMaxAreas; ++i) {
    const Area& a = areas_[i];
    if (a.device == nullptr || a.frozen || a.pause_until_ns > now) continue;
    if (segments_.writable(static_cast<std::uint8_t>(i)) <= kCleanReserve) continue;
    if (best == kMaxAreas || a.priority > areas_[best].priority ||
        (a.priority == areas_[best].priority && a.turn < areas_[best].turn)) {
      best = i;
    }
  }
  full_.store(best == kMaxAreas, sync::kRelaxed);
  return best;
}

bool DeviceStore::begin_on(std::size_t area) {
  COLDPRESS_CHECK(filling_ == nullptr);
  if (!prepare_buffers()) return false;
  Batch* batch = nullptr;
  for (std::size_t i = 0; i < kBatches && batch == nullptr; ++i) {
    if (batches_[i].phase == Phase::kIdle) batch = &batches_[i];
  }
  if (batch == nullptr) return false;
  if (area == kMaxAreas) area = choose_area();
  if (area == kMaxAreas) return false;
  sync::MutexLock lock(mutex_);
  batch->segment = segments_.take(static_cast<std::uint8_t>(area));
  if (!batch->segment) return false;
  areas_[area].turn = ++turns_;
  batch->used_bytes = batch->moves = batch->cleaned_count = 0;
  batch->phase = Phase::kFilling;
  filling_ = batch;
  return true;
}

std::uint32_t DeviceStore::new_record(const Move& move, const Content& content, SegmentId segment,
                                      std::uint32_t place) {
  std::uint32_t number = free_record_;
  if (number != 0) {
    free_record_ = records_[number].next;
  } else {
    if (!records_.grow_to(std::size_t{record_end_} + 1)) return 0;
    number = record_end_++;
  }
  std::uint32_t first = segments_[segment].records;
  records_[number] = {.slot = move.owner.slot,
                      .generation = move.owner.generation,
                      .length = content.length,
                      .segment = segment,
                      .place = static_cast<std::uint16_t>(place / kUnit),
                      .codec = content.codec,
                      .account = move.owner.account,
                      .checksum = content.checksum,
                      .next = first,
                      .previous = 0,
                      .number = number};
  if (first != 0) records_[first].previous = number;
  segments_[segment].records = number;
  return number;
}

bool DeviceStore::add(Move move, const Content& content) {
  Batch& batch = *filling_;
  std::uint64_t sequence = 0;
  const Area* area = nullptr;
  {
    sync::MutexLock lock(mutex_);
    const SegmentTable::Segment& segment = segments_[batch.segment];
    area = &areas_[segment.area];
    std::uint32_t bytes = object_bytes(*area, content.length);
    if (batch.used_bytes + bytes > kSegmentBytes || batch.moves == kMaxMoves) return false;
    move.record = new_record(move, content, batch.segment, batch.used_bytes);
    if (move.record == 0) return false;
    segments_.gained(batch.segment, bytes);
    ++areas_[segment.area].records;
    sequence = segment.sequence;
    live_records_.fetch_add(1, sync::kRelaxed);
    live_bytes_.fetch_add(bytes, sync::kRelaxed);
  }
  std::byte* at = batch.data + batch.used_bytes;
  std::uint32_t bytes = object_bytes(*area, content.length);
  std::memcpy(at, content.data, content.length);
  std::memset(at + content.length, 0, bytes - content.length);
  if (area->sealed) {
    area->sealer.seal(at, content.length, {sequence, batch.used_bytes}, at + content.length);
  }
  batch.move[batch.moves++] = move;
  batch.used_bytes += bytes;
  return true;
}

void DeviceStore::submit() {
  Batch& batch = *filling_;
  filling_ = nullptr;
  if (batch.moves == 0) {
    sync::MutexLock lock(mutex_);
    for (std::uint32_t i = 0; i < batch.cleaned_count; ++i) segments_[batch.cleaned[i]].cleaning = false;
    segments_.close(batch.segment, 0, true);
    batch.phase = Phase::kIdle;
    return;
  }
  std::uint32_t bytes = to_blocks(batch.used_bytes);
  std::memset(batch.data + batch.used_bytes, 0, bytes - batch.used_bytes);
  batch.phase = Phase::kWriting;
  under_way_bytes_.fetch_add(batch.used_bytes, sync::kRelaxed);
  // What is packed again does not leave the pool.
  if (batch.cleaned_count == 0) leaving_bytes_.fetch_add(batch.used_bytes, sync::kRelaxed);
  Area* area = nullptr;
  {
    sync::MutexLock lock(mutex_);
    area = &areas_[segments_[batch.segment].area];
    ++area->writes;
  }
  if (!area->knows_buffers) {
    area->knows_buffers = true;
    std::span<std::byte> buffers[kBatches];
    for (std::size_t i = 0; i < kBatches; ++i) buffers[i] = {batches_[i].data, kSegmentBytes};
    area->device->use_buffers(buffers);
  }
  area->device->submit_write(offset_of(*area, batch.segment), batch.data, bytes,
                             static_cast<std::uint32_t>(&batch - batches_));
}

// A batch whose write has ended. Nothing has been settled yet.
// First without waiting, of every device; then at one of them, shortly where there are others, which may be
// sooner.
DeviceStore::Batch* DeviceStore::ended(std::int64_t wait_ns) {
  constexpr std::int64_t kOneOfSeveralNs = 500'000;
  if (batches_ == nullptr) return nullptr;
  std::size_t one = kMaxAreas;
  bool several = false;
  for (std::size_t i = 0; i < kBatches; ++i) {
    std::size_t at = (waits_ + i) % kBatches;  // each in its turn is the one
    if (batches_[at].phase == Phase::kEnded) return &batches_[at];
    if (batches_[at].phase != Phase::kWriting) continue;
    std::size_t area = kMaxAreas;
    {
      sync::MutexLock lock(mutex_);
      area = segments_[batches_[at].segment].area;
    }
    if (area == one) continue;
    if (Batch* batch = ended_on(area, 0)) return batch;
    several = one != kMaxAreas;
    one = area;
  }
  if (one == kMaxAreas || wait_ns == 0) return nullptr;
  ++waits_;
  return ended_on(one, several ? std::min(wait_ns, kOneOfSeveralNs) : wait_ns);
}

DeviceStore::Batch* DeviceStore::ended_on(std::size_t area, std::int64_t wait_ns) {
  os::BlockDevice::Completion ends[kBatches];
  std::size_t count = areas_[area].device->reap(ends, wait_ns);
  for (std::size_t e = 0; e < count; ++e) {
    Batch& done = batches_[ends[e].tag];
    done.phase = Phase::kEnded;
    done.status = ends[e].status;
    // One that failed is left alone for a while, longer each time.
    bool good = done.status == os::IoStatus::kDone;
    sync::MutexLock lock(mutex_);
    Area& a = areas_[area];
    a.pause_ns = good ? 0 : std::clamp(a.pause_ns * 2, kFirstPauseNs, kLongestPauseNs);
    a.pause_until_ns = good ? 0 : sync::now_ns() + a.pause_ns;
  }
  return count > 0 ? &batches_[ends[0].tag] : nullptr;
}

void DeviceStore::retire(Batch& batch) {
  under_way_bytes_.fetch_sub(batch.used_bytes, sync::kRelaxed);
  if (batch.cleaned_count == 0) leaving_bytes_.fetch_sub(batch.used_bytes, sync::kRelaxed);
  sync::MutexLock lock(mutex_);
  --areas_[segments_[batch.segment].area].writes;
  for (std::uint32_t i = 0; i < batch.cleaned_count; ++i) segments_[batch.cleaned[i]].cleaning = false;
  // Where there was no room, nothing is wrong with the place.
  segments_.close(batch.segment, batch.used_bytes, batch.status != os::IoStatus::kError);
  batch.phase = Phase::kIdle;
}

// --- records

bool DeviceStore::open_object(const Record& record, std::uint64_t sequence, std::byte* data,
                              const Area& area) const {
  return !area.sealed ||
         area.sealer.open(data, record.length, {sequence, std::uint32_t{record.place} * kUnit},
                          data + record.length);
}

DeviceStore::ReadResult DeviceStore::read(std::uint32_t record, std::byte* io, Content* content, bool many) {
  const Record& r = records_[record];
  const Area* area = nullptr;
  SegmentTable::Segment segment;
  {
    sync::MutexLock lock(mutex_);
    segment = segments_[r.segment];
    area = &areas_[segment.area];
  }
  std::uint64_t offset = offset_of(*area, r.segment) + std::uint64_t{r.place} * kUnit;
  std::uint32_t object = object_bytes(*area, r.length);
  *content = {nullptr, r.length, r.codec, r.checksum};
  if (!area->sealed && (content->data = area->device->in_place(offset)) != nullptr) return ReadResult::kRead;
  std::uint64_t first = offset / os::kBlockBytes * os::kBlockBytes;
  std::uint32_t count = to_blocks(static_cast<std::uint32_t>(offset - first) + object);
  std::byte* data = io + (offset - first);
  content->data = data;
  bool good = many && read_from_whole(r, segment, data, object);
  for (int tries = 0; !good && tries < kReadTries; ++tries) {
    good = area->device->read(first, io, count) == os::IoStatus::kDone;
  }
  if (!good) return ReadResult::kIoError;
  return open_object(r, segment.sequence, data, *area) ? ReadResult::kRead : ReadResult::kDamaged;
}

// Whoever reads many pages in the order of their addresses finds them in the order in which they were packed:
// from the second of a segment on, all of it is read at once.
bool DeviceStore::read_from_whole(const Record& r, const SegmentTable::Segment& segment, std::byte* data,
                                  std::uint32_t bytes) {
  if (!whole_mutex_.try_lock()) return false;
  bool have = whole_sequence_ == segment.sequence;
  if (!have && last_read_ == segment.sequence && segment.place == SegmentTable::Place::kFull) {
    if (whole_ == nullptr) whole_ = source_->allocate(kSegmentBytes);
    const Area& area = areas_[segment.area];
    have = whole_ != nullptr && area.device->read(offset_of(area, r.segment), whole_,
                                                  to_blocks(segment.used_bytes)) == os::IoStatus::kDone;
    whole_sequence_ = have ? segment.sequence : 0;
  }
  last_read_ = segment.sequence;
  if (have) std::memcpy(data, whole_ + std::size_t{r.place} * kUnit, bytes);
  whole_mutex_.unlock();
  return have;
}

std::uint8_t DeviceStore::drop(std::uint32_t record) {
  sync::MutexLock lock(mutex_);
  Record& r = records_[record];
  SegmentTable::Segment& segment = segments_[r.segment];
  std::uint32_t bytes = object_bytes(areas_[segment.area], r.length);
  (r.previous != 0 ? records_[r.previous].next : segment.records) = r.next;
  if (r.next != 0) records_[r.next].previous = r.previous;
  --areas_[segment.area].records;
  segments_.lost(r.segment, bytes);
  if (segment.live_bytes == 0) full_.store(false, sync::kRelaxed);
  r.segment = {};
  r.next = free_record_;
  free_record_ = record;
  live_bytes_.fetch_sub(bytes, sync::kRelaxed);
  live_records_.fetch_sub(1, sync::kRelaxed);
  return r.account;
}

// --- forks

std::uint64_t DeviceStore::sequence() {
  sync::MutexLock lock(mutex_);
  return segments_.sequence();
}

void DeviceStore::hold_up_to(std::uint64_t sequence) {
  sync::MutexLock lock(mutex_);
  segments_.hold_up_to(sequence);
}

std::uint32_t DeviceStore::writes_to(std::size_t area) {
  sync::MutexLock lock(mutex_);
  return areas_[area].writes;
}

std::uint64_t DeviceStore::records_on(std::size_t area) {
  sync::MutexLock lock(mutex_);
  return areas_[area].records;
}

std::uint64_t DeviceStore::metadata_pages() {
  sync::MutexLock lock(mutex_);
  return bytes_to_pages(segments_.metadata_bytes()) +
         bytes_to_pages(std::uint64_t{record_end_} * sizeof(Record));
}

void DeviceStore::validate() {
  sync::MutexLock lock(mutex_);
  segments_.validate();
  std::uint64_t records = 0, bytes = 0;
  for (std::uint32_t n = 1; n < record_end_; ++n) {
    const Record& r = records_[n];
    if (!r.segment) continue;
    ++records;
    bytes += object_bytes(areas_[segments_[r.segment].area], r.length);
  }
  COLDPRESS_CHECK(records == live_records_.load() && bytes == live_bytes_.load());
}

}  // namespace coldpress::swap
