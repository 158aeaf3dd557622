// What traces call an object: a mutex, an atomic, an event, or the elements of an array of them.
//
// Whoever makes an object may name it (sync/explore.h). Names are kept beside the objects, by address, and
// only while a trace is wanted: objects are not larger for it, and an exploration pays one comparison. What
// was named last counts, so an address that is used again has its new name. A name is not taken back: what
// lies unnamed where something named was before is called by the old one, until the next execution.
//
// Thread safety: one OS thread. Nothing here allocates from the heap.
#pragma once

#include <cstddef>
#include <cstdint>

namespace coldpress::sched {

class Names {
 public:
  static constexpr std::uint32_t kMost = 256, kMostLetters = 63;

  // `count` objects of `bytes` each, one every `stride` bytes; they are numbered from `number` on. count 1:
  // there is no number.
  struct Range {
    const void* first;
    std::size_t bytes, stride, count;
    const char* name;  // outlives the execution
    std::uint64_t number;
  };

  // An execution begins: nothing has a name.
  void begin(bool wanted);
  bool wanted() const { return wanted_; }
  void add(const Range& range);
  // Writes "layout", or "slot 12", or "gate changed+4" for what lies four bytes within. false: it has none.
  bool find(const void* object, char (&text)[kMostLetters + 1]) const;

 private:
  bool wanted_ = false;
  std::uint32_t count_ = 0;
  Range ranges_[kMost] = {};
};

Names& names();

}  // namespace coldpress::sched
