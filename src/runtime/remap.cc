// mremap(2) of a range that is one mapping to the program and several to the kernel, because the engine has
// registered a part of it.
//
// The monitor does it, for two reasons: it can read where mappings end, and it is the one who adopts, so no
// mapping is split between its look and its call. One call for all of them will not do. The kernel takes one
// mapping only, and answers EFAULT. Worse, since Linux 6.17 it does take several when a move is to a fixed
// address; it stops with EFAULT at the first registered one, and what came before it has moved by then.
//
// Not inside the gate: the call returns when its message was taken, and who closes the gate for a fork waits
// for operations, not for messages.
#include "os/linux/syscalls.h"
#include "runtime/engine.h"

namespace coldpress::runtime {

long Engine::move_mappings(const Remap& remap) {
  os::SignalsHeld held;
  sync::MutexLock lock(ask_mutex_);
  request_remap_ = remap;
  post_and_wait(Request::kRemap);
  return request_remap_.answer;
}

void Engine::answer_remap() {
  Remap& remap = request_remap_;
  PageRange from{page_of(remap.from), page_of(remap.from + remap.bytes)};
  // Only what could be one mapping: private, anonymous, of one protection, without gaps.
  PageIndex seen = from.begin;
  bool one = true, first = true, readable = false, writable = false, executable = false;
  auto look = [&](const os::Mapping& mapping) {
    PageRange part = intersect(mapping.range, from);
    if (part.empty()) return;
    one = one && !mapping.file && !mapping.shared && part.begin == seen &&
          (first || (mapping.readable == readable && mapping.writable == writable &&
                     mapping.executable == executable));
    readable = mapping.readable;
    writable = mapping.writable;
    executable = mapping.executable;
    first = false;
    seen = part.end;
  };
  remap.answer = kNotOurs;
  if (!view_.for_each_mapping({maps_buffer_, kMapsBufferBytes}, look) || !one || seen != from.end) return;
  remap.answer = 0;
  if (remap.to == 0) return;
  // Never back: what has moved may be in use by another thread already, joined with what is still to move.
  PageIndex done = from.begin;
  view_.for_each_mapping({maps_buffer_, kMapsBufferBytes}, [&](const os::Mapping& mapping) {
    PageRange part = intersect(mapping.range, {done, from.end});
    if (part.empty() || remap.answer < 0) return;
    done = part.end;
    std::uint64_t to = remap.to + (part.begin.address() - remap.from);
    long answer = os::sys_mremap(part.begin.address(), part.pages() << kPageShift, part.pages() << kPageShift,
                                 remap.flags | MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (os::failed(answer)) remap.answer = answer;
  });
}

}  // namespace coldpress::runtime
