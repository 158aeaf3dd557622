// What an order tells beside its answer: the second and third page of the shared memory that
// runtime/control.h describes. Written while the order runs; who gave it takes a copy before the next one may
// begin. Thread safety: none; plain values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coldpress::runtime {

// The pool of compressed pages, class by class.
struct PoolRows {
  struct Row {
    std::uint16_t object_bytes, objects;  // objects: in a zspage
    std::uint32_t pages;                  // of a zspage
    std::uint32_t zspages, in_use, freeable_pages;
    std::uint32_t by_tenth[11];  // zspages by how full they are; the last: full
  };
  std::uint64_t count;
  Row rows[124];
};

// The swap devices, as /proc/swaps.
struct DeviceRows {
  enum class Kind : std::uint32_t { kFile, kPartition, kRam };
  enum class State : std::uint32_t {
    kReady,
    kLater,    // the automatic one: made when it is needed
    kFailing,  // a write has failed; tried again after a pause
    kParents,  // of the process that forked this one: read only
  };
  struct Row {
    char name[200];
    std::uint64_t size_bytes, used_bytes;  // in segments that hold something, or may be read by a child
    std::uint64_t pages;
    std::int32_t priority;
    Kind kind;
    State state;
    std::uint32_t reserved;
  };
  std::uint64_t count;
  Row rows[16];
};

union Told {
  static constexpr std::size_t kOffset = 4096;
  PoolRows pool;
  DeviceRows devices;
  char settings[1024];  // "KEY=VALUE" and a new line for each
};
static_assert(sizeof(Told) <= 2 * 4096);

}  // namespace coldpress::runtime
