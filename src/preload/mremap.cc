// mremap() over what was one mapping before the engine registered a part of it.
//
// The kernel keeps registered and unregistered memory in separate mappings, and neighbours that were first
// touched apart stay apart. A program that moves a range which was one mapping natively must not notice: the
// range is moved piece by piece (runtime/remap.cc). realloc() inside the C library does not come by here; it
// falls back to copying.
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "base/units.h"
#include "os/linux/syscalls.h"
#include "preload/preload.h"

namespace coldpress::preload {
namespace {

using os::failed;
using os::sys_mremap;

long remap(std::uint64_t from, std::size_t bytes, std::size_t new_bytes, int flags, std::uint64_t to) {
  runtime::Engine* engine = running_engine();
  if (engine == nullptr || !engine->managing() || (flags & MREMAP_MAYMOVE) == 0 || bytes == 0 ||
      from % kPageBytes != 0) {
    return sys_mremap(from, bytes, new_bytes, flags, to);
  }
  std::size_t old_size = bytes_to_pages(bytes) * kPageBytes,
              new_size = bytes_to_pages(new_bytes) * kPageBytes;
  int keep = flags & MREMAP_DONTUNMAP;
  if ((flags & MREMAP_FIXED) != 0 && old_size == new_size) {
    // Not tried on the whole range first: a failure could have moved a part of it.
    bool sound = to != 0 && to % kPageBytes == 0 && (to + new_size <= from || from + old_size <= to);
    long answer = sound ? engine->move_mappings({from, old_size, to, keep, 0}) : runtime::Engine::kNotOurs;
    if (answer != runtime::Engine::kNotOurs) return failed(answer) ? answer : static_cast<long>(to);
    return sys_mremap(from, bytes, new_bytes, flags, to);
  }
  long answer = sys_mremap(from, bytes, new_bytes, flags, to);
  if (answer != -EFAULT) return answer;
  if (engine->move_mappings({from, old_size, 0, 0, 0}) != 0) return answer;
  // Room for all of it, and for what it grows by (only private anonymous memory is ever split by the engine).
  bool fixed = (flags & MREMAP_FIXED) != 0;
  void* room = os::sys_mmap(fixed ? reinterpret_cast<void*>(to) : nullptr, new_size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (fixed ? MAP_FIXED : 0));
  if (room == nullptr) return -ENOMEM;
  auto target = reinterpret_cast<std::uint64_t>(room);
  if (new_size < old_size) os::sys_munmap(reinterpret_cast<void*>(from + new_size), old_size - new_size);
  std::size_t moved = new_size < old_size ? new_size : old_size;
  answer = engine->move_mappings({from, moved, target, keep, 0});
  if (answer == runtime::Engine::kNotOurs) return -EFAULT;
  return failed(answer) ? answer : static_cast<long>(target);
}

}  // namespace
}  // namespace coldpress::preload

extern "C" [[gnu::visibility("default")]] void* mremap(void* from, std::size_t bytes, std::size_t new_bytes,
                                                       int flags, ...) noexcept {
  va_list arguments;
  va_start(arguments, flags);
  auto to = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) != 0
                ? reinterpret_cast<std::uint64_t>(va_arg(arguments, void*))
                : 0;
  va_end(arguments);
  long answer = coldpress::preload::remap(reinterpret_cast<std::uint64_t>(from), bytes, new_bytes, flags, to);
  if (!coldpress::os::failed(answer)) return reinterpret_cast<void*>(answer);
  errno = static_cast<int>(-answer);
  return MAP_FAILED;
}
