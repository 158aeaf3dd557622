// The swap devices of one process: compressed objects, packed and sealed, in segments that are written at
// once.
//
// A log. The writer packs objects of any length one after the other into a buffer of a segment's size, each
// sealed by itself (codec/sealer.h), and writes the buffer sequentially; so a page costs its compressed size
// and 16 to 31 bytes. What is read is the one or two blocks that an object lies in. Space comes back when the
// last object of a segment is dropped; when segments run short, the emptiest are cleaned: what is still
// wanted in them is packed again, elsewhere.
//
// An object is named by a record: where it is, how long, whose it is. Who owns a page's bytes is said by the
// slot word alone; records of objects under way own nothing.
//
// Invariants
//  1. A device becomes the owner when its write has been reaped as done, never before: whoever calls reap()
//     moves ownership then, under the slot's lock, after it has compared what the slot says now.
//  2. A segment is not written again while a record of this process, or a child of a fork, may read it.
//  3. A nonce is used once for a key: each taking of a segment has a new sequence number.
//  4. The content of an object that was changed on the device does not open: kDamaged.
//
// Thread safety: read() and drop() from any thread that holds the lock of the slot that names the record;
// what is marked writer_ by its holder; the rest from any thread. Lock order: writer_, slot, mutex_.
#pragma once

#include <cstdint>
#include <span>

#include "base/memory_source.h"
#include "codec/sealer.h"
#include "os/block_device.h"
#include "swap/segment_table.h"
#include "swap/slot_table.h"
#include "sync/mutex.h"

namespace coldpress::swap {

// A compressed page: what a codec made of it, and the checksum of what it was made of.
struct Content {
  const std::byte* data = nullptr;
  std::uint16_t length = 0;
  std::uint8_t codec = 0;
  std::uint32_t checksum = 0;
};

// What is to become of a slot when its object has arrived on the device.
struct Move {
  Owner owner;
  State from = State::kFree;  // kZswap or kDevice
  std::uint32_t payload = 0;  // the owner's before
  std::uint32_t record = 0;
};

class DeviceStore {
 public:
  static constexpr std::size_t kReadBytes = 2 * os::kBlockBytes;

  [[nodiscard]] bool init(MemorySource& source, std::size_t max_records);

  // --- areas, by index below kMaxAreas
  // `key`: Sealer::kKeyBytes of random bytes, for this area only; nullptr: not sealed (memory). Higher
  // priorities are written first, equal ones in turn. Returns the area, or kMaxAreas: too many, or no memory.
  std::size_t add_area(os::BlockDevice& device, int priority, const std::byte* key);
  // Nothing is written there any more, until it is thawed. false: there is no such area in use.
  bool freeze_area(std::size_t area);
  void thaw_area(std::size_t area);
  // After its last record was dropped and its writes were reaped.
  void remove_area(std::size_t area);
  struct Use {
    std::uint64_t size_bytes, used_bytes;  // in whole segments
    std::uint64_t pages;
    bool failing;  // a write has failed: there is a pause
  };
  Use use_of(std::size_t area);
  // Of all areas; what can not be written to is in use.
  Use use();
  // Whether two records hold the same page, by what is known of it.
  bool same_content(std::uint32_t record, std::uint32_t other) const {
    return records_[record].checksum == records_[other].checksum;
  }
  bool writable() const { return writable_areas_.load(sync::kRelaxed) > 0; }
  // Whether what is added now is likely to find room.
  bool has_room() const { return writable() && !full_.load(sync::kRelaxed); }
  bool in_use() const { return writable() || under_way_bytes() > 0; }
  // A live record of the area after `record` (0: the first); 0: none. A hint, to be verified by the slot.
  std::uint32_t next_record(std::size_t area, std::uint32_t record, Owner* owner);

  // --- writing
  sync::Mutex& writer() COLDPRESS_ANNOTATE(lock_returned(writer_)) { return writer_; }
  // Takes a segment to fill. false: no device has room, or all buffers are under way (under_way_bytes() > 0).
  bool begin() REQUIRES(writer_) { return begin_on(kMaxAreas); }
  // Adds an object. false: the segment is full; submit(), begin() and add it again.
  bool add(Move move, const Content& content) REQUIRES(writer_);
  void submit() REQUIRES(writer_);
  // Waits at most wait_ns for a write to end; then calls settle(move, written) for each object of it.
  template <typename Settle>
  bool reap(std::int64_t wait_ns, Settle settle) REQUIRES(writer_) {
    Batch* batch = ended(wait_ns);
    if (batch == nullptr) return false;
    for (std::uint32_t i = 0; i < batch->moves; ++i)
      settle(batch->move[i], batch->status == os::IoStatus::kDone);
    retire(*batch);
    return true;
  }
  // Writes to an area that were not reaped yet.
  std::uint32_t writes_to(std::size_t area);
  // Of these, what the pool still owns.
  std::uint64_t leaving_bytes() const { return leaving_bytes_.load(sync::kRelaxed); }
  std::uint64_t under_way_bytes() const { return under_way_bytes_.load(sync::kRelaxed); }
  // Packs what is wanted of the emptiest segments of an area that runs short into one. false: nothing to do.
  bool clean() REQUIRES(writer_);
  // Gives room that is free back to the devices, a little at a time. false: nothing to do.
  bool discard_some() REQUIRES(writer_);

  // --- records
  enum class ReadResult { kRead, kIoError, kDamaged };
  // `io`: kReadBytes, aligned to a block. content->data points into it, or into the device. `many`: the
  // caller goes on with the pages that follow.
  ReadResult read(std::uint32_t record, std::byte* io, Content* content, bool many = false);
  // Returns the account that paid for it.
  std::uint8_t drop(std::uint32_t record);

  // --- forks
  // Until `sequence` is left behind by hold_up_to(), what is on the devices now stays.
  std::uint64_t sequence();
  void hold_up_to(std::uint64_t sequence);
  // In the child: the devices are read only, and what was under way is settled as not written.
  template <typename Settle>
  void inherit(Settle settle) NO_THREAD_SAFETY_ANALYSIS {
    sync::MutexLock writer(writer_);
    for (std::size_t i = 0; i < kMaxAreas; ++i) freeze_area(i);
    for (std::size_t i = 0; batches_ != nullptr && i < kBatches; ++i) {
      Batch& batch = batches_[i];
      if (batch.phase == Phase::kIdle) continue;
      for (std::uint32_t m = 0; m < batch.moves; ++m) settle(batch.move[m], false);
      batch.phase = Phase::kIdle;
    }
    for (Area& area : areas_) area.writes = 0;
    under_way_bytes_.store(0, sync::kRelaxed);
    leaving_bytes_.store(0, sync::kRelaxed);
    whole_sequence_ = last_read_ = 0;
    hold_up_to(0);  // the children it held for are the parent's
  }

  std::uint64_t records_on(std::size_t area);
  std::uint64_t records() const { return live_records_.load(sync::kRelaxed); }
  // Without those whose objects are still under way.
  std::uint64_t settled_records() {
    sync::MutexLock writer(writer_);
    std::uint64_t under_way = 0;
    for (std::size_t i = 0; batches_ != nullptr && i < kBatches; ++i) {
      if (batches_[i].phase != Phase::kIdle) under_way += batches_[i].moves;
    }
    return records() - under_way;
  }
  // Calls visit(account) for each record.
  template <typename Visit>
  void for_each(Visit visit) {
    sync::MutexLock lock(mutex_);
    for (std::uint32_t n = 1; n < record_end_; ++n) {
      if (records_[n].segment) visit(records_[n].account);
    }
  }
  std::uint64_t stored_bytes() const { return live_bytes_.load(sync::kRelaxed); }
  std::uint64_t metadata_pages();
  void validate();

 private:
  static constexpr std::uint32_t kUnit = 16;  // objects begin at multiples
  static constexpr std::size_t kBatches = 4;
  static constexpr std::uint32_t kMaxMoves = 1024;
  static constexpr std::uint32_t kCleanReserve = 2;  // segments that only cleaning may take
  static constexpr std::uint32_t kMaxCleaned = 16;   // segments packed into one
  static constexpr std::int64_t kFirstPauseNs = 1'000'000'000, kLongestPauseNs = 60'000'000'000;

  struct Record {
    SlotIndex slot;
    std::uint16_t generation;
    std::uint16_t length;
    SegmentId segment;  // 0: free
    std::uint16_t place;
    std::uint8_t codec;
    std::uint8_t account;
    std::uint32_t checksum;
    std::uint32_t next, previous;  // of its segment; free: next free
    std::uint32_t number;          // its own
  };
  static_assert(sizeof(Record) == 32);

  struct Area {
    os::BlockDevice* device;
    codec::Sealer sealer;
    bool sealed, frozen;
    int priority;
    SegmentId first;
    std::uint32_t segments;  // also of an area that is not in use any more
    bool knows_buffers;
    std::int64_t pause_until_ns, pause_ns;  // after a write that failed
    std::uint64_t turn;
    std::uint64_t records;
    std::uint32_t writes;  // under way
  };

  enum class Phase : std::uint8_t { kIdle, kFilling, kWriting, kEnded };
  struct Batch {
    std::byte* data;
    SegmentId segment;
    std::uint32_t used_bytes;
    std::uint32_t moves;
    Phase phase;
    os::IoStatus status;
    std::uint32_t cleaned_count;
    SegmentId cleaned[kMaxCleaned];
    Move move[kMaxMoves];
  };

  bool begin_on(std::size_t area) REQUIRES(writer_);
  bool prepare_buffers() REQUIRES(writer_);
  std::size_t choose_area() REQUIRES(writer_);
  Batch* ended(std::int64_t wait_ns) REQUIRES(writer_);
  Batch* ended_on(std::size_t area, std::int64_t wait_ns) REQUIRES(writer_);
  void retire(Batch& batch) REQUIRES(writer_);
  SegmentId sparsest(std::size_t area) REQUIRES(writer_);
  bool pack_again(const Area& area, SegmentId segment) REQUIRES(writer_);
  std::uint32_t list_live(SegmentId segment) REQUIRES(writer_);
  std::uint32_t new_record(const Move& move, const Content& content, SegmentId segment, std::uint32_t place)
      REQUIRES(mutex_);
  static constexpr std::uint32_t to_blocks(std::uint32_t bytes) {
    return (bytes + os::kBlockBytes - 1) / os::kBlockBytes * os::kBlockBytes;
  }
  std::uint32_t object_bytes(const Area& area, std::uint32_t length) const {
    std::uint32_t bytes = length + (area.sealed ? std::uint32_t{codec::Sealer::kTagBytes} : 0);
    return (bytes + kUnit - 1) / kUnit * kUnit;
  }
  std::uint64_t offset_of(const Area& area, SegmentId segment) const {
    return std::uint64_t{segment.value - area.first.value} * kSegmentBytes;
  }
  bool read_from_whole(const Record& r, const SegmentTable::Segment& segment, std::byte* data,
                       std::uint32_t bytes);
  bool open_object(const Record& record, std::uint64_t sequence, std::byte* data, const Area& area) const;

  MemorySource* source_ = nullptr;
  Area areas_[kMaxAreas] = {};
  sync::Atomic<std::uint32_t> writable_areas_{0};
  sync::Atomic<bool> full_{false};  // no area had a segment to spare

  sync::Mutex writer_;
  Batch* batches_ GUARDED_BY(writer_) = nullptr;  // kBatches
  std::byte* clean_buffer_ GUARDED_BY(writer_) = nullptr;
  Record* clean_list_ GUARDED_BY(writer_) = nullptr;  // kMaxMoves
  Batch* filling_ GUARDED_BY(writer_) = nullptr;
  std::uint64_t turns_ GUARDED_BY(writer_) = 0;
  std::size_t waits_ GUARDED_BY(writer_) = 0;
  sync::Atomic<std::uint64_t> under_way_bytes_{0};
  sync::Atomic<std::uint64_t> leaving_bytes_{0};

  sync::Mutex whole_mutex_;  // only tried; before mutex_
  std::byte* whole_ GUARDED_BY(whole_mutex_) = nullptr;
  std::uint64_t whole_sequence_ GUARDED_BY(whole_mutex_) = 0;  // whose content it is
  std::uint64_t last_read_ GUARDED_BY(whole_mutex_) = 0;

  sync::Mutex mutex_;
  SegmentTable segments_ GUARDED_BY(mutex_);
  ReservedArray<Record> records_;
  std::uint32_t record_end_ GUARDED_BY(mutex_) = 1;
  std::uint32_t free_record_ GUARDED_BY(mutex_) = 0;
  sync::Atomic<std::uint64_t> live_records_{0};
  sync::Atomic<std::uint64_t> live_bytes_{0};
};

}  // namespace coldpress::swap
