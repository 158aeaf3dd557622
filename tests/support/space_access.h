// What tests must see of a Space that nobody else may: its slots. And a Worker's memory.
// For tests: one thread at a time.
#pragma once

#include <optional>

#include "support/heap_memory.h"
#include "vm/space.h"

namespace coldpress::testing {
namespace detail {

// An explicit instantiation may name a private member: the language's own way in for tests.
template <auto Member>
struct OpenSlots {
  friend swap::SlotTable& slots_of(vm::Space& space) { return space.*Member; }
};
swap::SlotTable& slots_of(vm::Space& space);
template <auto Member>
struct OpenCapture {
  friend std::uint32_t captured_by(vm::Space& space) { return (space.*Member)().pages; }
};
std::uint32_t captured_by(vm::Space& space);
template struct OpenCapture<&vm::Space::capture_next>;
template struct OpenSlots<&vm::Space::slots_>;

}  // namespace detail

inline swap::SlotTable& slots(vm::Space& space) { return detail::slots_of(space); }

// One turn of the hand; the pages that it captured.
inline std::uint32_t capture_next(vm::Space& space) { return detail::captured_by(space); }

// Who owns the bytes of a page that is out; nothing when the page is not out.
inline std::optional<swap::SlotWord> owner_of(vm::Space& space, PageIndex page) {
  vm::PageWord word = space.pages().get(page);
  swap::SlotWord slot{};
  if (!word.is_entry() || !slots(space).lock(word.entry(), slot)) return std::nullopt;
  slots(space).unlock(word.entry());
  return slot;
}

// Damages the page's compressed object. false: it has none.
inline bool corrupt_page(vm::Space& space, PageIndex page) {
  vm::PageWord word = space.pages().get(page);
  swap::SlotWord slot{};
  if (!word.is_entry() || !slots(space).lock(word.entry(), slot)) return false;
  bool compressed = slot.state == swap::State::kZswap;
  if (compressed) *space.zswap().entry_bytes(slot.payload) ^= std::byte{0xff};
  slots(space).unlock(word.entry());
  return compressed;
}

[[nodiscard]] inline bool make_worker(MemorySource& memory, codec::Choice choice, vm::Worker& worker) {
  std::size_t codec_bytes = codec::Codec::workspace_bytes(choice);
  std::byte* bytes =
      memory.allocate(codec_bytes + (vm::Worker::kMaxRun + 1) * kPageBytes + swap::DeviceStore::kReadBytes);
  std::byte* pending = memory.allocate(vm::Worker::kMaxPending * sizeof *worker.pending);
  if (bytes == nullptr || pending == nullptr) return false;
  worker.pending = reinterpret_cast<std::uint64_t*>(pending);
  worker.page = bytes;
  worker.store.buffer = bytes + vm::Worker::kMaxRun * kPageBytes;
  worker.io = worker.store.buffer + kPageBytes;
  worker.devices = true;
  worker.store.workspace = worker.io + swap::DeviceStore::kReadBytes;
  worker.store.workspace_bytes = codec_bytes;
  return worker.store.codec.init(choice, worker.store.workspace, codec_bytes);
}

}  // namespace coldpress::testing
