// mremap() over what was one mapping before the engine registered a part of it.
//
// The kernel keeps registered and unregistered memory in separate mappings, and neighbours that were first
// touched apart stay apart. mremap() takes one mapping only and answers EFAULT for more. A program that moves
// a range which was one mapping natively must not notice: the range is moved piece by piece. (realloc()
// inside the C library does not come by here; it falls back to copying.)
#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "base/units.h"
#include "preload/preload.h"
#include "sync/raw_syscall.h"

namespace coldpress::preload {
namespace {

bool failed(long answer) { return answer < 0 && answer > -4096; }

long raw_mremap(std::uint64_t from, std::size_t bytes, std::size_t new_bytes, int flags, std::uint64_t to) {
  return raw_syscall(SYS_mremap, static_cast<long>(from), static_cast<long>(bytes),
                     static_cast<long>(new_bytes), flags, static_cast<long>(to));
}

// Moves [from, from+bytes) to `to`, in pieces as long as the kernel takes. 0 or -errno.
long move_in_pieces(std::uint64_t from, std::size_t bytes, std::uint64_t to, int flags) {
  std::size_t piece = bytes;
  while (bytes > 0) {
    if (piece > bytes) piece = bytes;
    long answer = raw_mremap(from, piece, piece, flags | MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (answer == -EFAULT && piece > kPageBytes) {
      piece = bytes_to_pages(piece / 2) * kPageBytes;
      continue;
    }
    if (failed(answer)) return answer;
    from += piece;
    to += piece;
    bytes -= piece;
    piece = bytes;
  }
  return 0;
}

long remap(std::uint64_t from, std::size_t bytes, std::size_t new_bytes, int flags, std::uint64_t to) {
  long answer = raw_mremap(from, bytes, new_bytes, flags, to);
  runtime::Engine* engine = running_engine();
  if (answer != -EFAULT || engine == nullptr || !engine->managing() || (flags & MREMAP_MAYMOVE) == 0 ||
      bytes == 0 || from % kPageBytes != 0) {
    return answer;
  }
  bytes = bytes_to_pages(bytes) * kPageBytes;
  new_bytes = bytes_to_pages(new_bytes) * kPageBytes;
  if (new_bytes < bytes) {
    raw_syscall(SYS_munmap, static_cast<long>(from + new_bytes), static_cast<long>(bytes - new_bytes));
    bytes = new_bytes;
  }
  // Room for all of it, and for what it grows by (only private anonymous memory is ever split by the engine).
  int place = (flags & MREMAP_FIXED) != 0 ? MAP_FIXED : 0;
  long target =
      raw_syscall(SYS_mmap, place != 0 ? static_cast<long>(to) : 0, static_cast<long>(new_bytes),
                  PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | place, -1, 0);
  if (failed(target)) return target;
  answer = move_in_pieces(from, bytes, static_cast<std::uint64_t>(target), flags & ~MREMAP_FIXED);
  return failed(answer) ? answer : target;
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
  if (!coldpress::preload::failed(answer)) return reinterpret_cast<void*>(answer);
  errno = static_cast<int>(-answer);
  return MAP_FAILED;
}
