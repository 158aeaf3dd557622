// Where the engine's own memory comes from.
//
// MemorySource reserves address space and commits it piecewise. It never hands out the program's heap.
// ReservedArray<T> is an array in such a reservation: it never moves, and its elements start as zero bytes.
// Thread safety: a MemorySource is safe from all threads; ReservedArray::grow_to() needs outside locking,
// element access does not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/check.h"
#include "base/units.h"

namespace coldpress {

struct MemoryPiece {
  void* start;
  std::size_t bytes;
};

class MemorySource {
 public:
  // Address space for `bytes` (rounded up to pages), not yet usable; nullptr when there is none left.
  virtual void* reserve(std::size_t bytes) = 0;
  // Makes [start, start+bytes) of a reservation readable and writable, zero-filled. false: out of memory.
  virtual bool commit(void* start, std::size_t bytes) = 0;
  // Gives the physical memory of whole pages back; they read as zero afterwards. Many at once are cheaper.
  virtual void discard(const MemoryPiece* pieces, std::size_t count) = 0;
  // Names a reservation, for whoever looks at the process from outside.
  virtual void label(void* start, std::size_t bytes, const char* name) {
    (void)start, (void)bytes, (void)name;
  }
  // `count` of T, reserved and committed, with a name or without; nullptr when either fails.
  template <typename T = std::byte>
  T* allocate(std::size_t count, const char* name = nullptr) {
    void* start = reserve(count * sizeof(T));
    if (start == nullptr || !commit(start, count * sizeof(T))) return nullptr;
    if (name != nullptr) label(start, count * sizeof(T), name);
    return static_cast<T*>(start);
  }

 protected:
  ~MemorySource() = default;
};

template <typename T>
class ReservedArray {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  // Reserves room for `capacity` elements. false: no address space.
  [[nodiscard]] bool init(MemorySource& source, std::size_t capacity) {
    source_ = &source;
    capacity_ = capacity;
    base_ = static_cast<T*>(source.reserve(capacity * sizeof(T)));
    committed_bytes_ = 0;
    return base_ != nullptr;
  }
  // Makes elements [0, count) usable. false: over capacity or out of memory; nothing changed then.
  [[nodiscard]] bool grow_to(std::size_t count) {
    if (count > capacity_) return false;
    std::size_t want = count * sizeof(T);
    if (want <= committed_bytes_) return true;
    std::size_t limit = bytes_to_pages(capacity_ * sizeof(T)) * kPageBytes;
    std::size_t target = (want + kStep - 1) / kStep * kStep;
    if (target > limit) target = limit;
    if (!source_->commit(reinterpret_cast<std::byte*>(base_) + committed_bytes_, target - committed_bytes_)) {
      return false;
    }
    committed_bytes_ = target;
    return true;
  }
  T& operator[](std::size_t index) const { return base_[index]; }
  T* data() const { return base_; }
  std::size_t capacity() const { return capacity_; }

 private:
  // Committed in steps so that the kernel sees few mappings; untouched pages cost nothing.
  static constexpr std::size_t kStep = std::size_t{1} << 20;

  MemorySource* source_ = nullptr;
  T* base_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t committed_bytes_ = 0;
};

}  // namespace coldpress
