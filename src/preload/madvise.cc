// madvise() that speaks of use to come: COLD, PAGEOUT, WILLNEED. The kernel, without swap, does nothing with
// them; the engine does. What gives memory up (DONTNEED, FREE) needs nothing here: messages tell.
#include <errno.h>
#include <sys/mman.h>

#include <algorithm>

#include "base/units.h"
#include "os/linux/syscalls.h"
#include "preload/preload.h"

namespace coldpress::preload {
namespace {

using Advice = runtime::Engine::Advice;
constexpr std::uint64_t kSlicePages = 256;  // at once: forks and faults wait no longer than that takes

void advise(PageRange range, Advice advice) {
  runtime::Engine* engine = running_engine();
  if (engine == nullptr) return;
  if (advice == Advice::kWillNeed) {
    // What does not fit would push out what came first.
    auto most = static_cast<std::uint64_t>(engine->group().limit()) / 2;
    if (most < range.pages()) range.end = range.begin + most;
  }
  for (bool first = true; !range.empty(); first = false) {
    PageRange slice{range.begin, std::min(range.end, range.begin + kSlicePages)};
    engine->advise(slice, advice, first);
    range.begin = slice.end;
  }
}

}  // namespace
}  // namespace coldpress::preload

extern "C" [[gnu::visibility("default")]] int madvise(void* start, std::size_t bytes, int advice) noexcept {
  using namespace coldpress;
  long answer = os::sys_madvise(start, bytes, advice);
  if (os::failed(answer)) {
    errno = static_cast<int>(-answer);
    return -1;
  }
  PageIndex first = page_of(reinterpret_cast<std::uint64_t>(start));
  PageRange range{first, first + bytes_to_pages(bytes)};
  if (advice == MADV_COLD) preload::advise(range, preload::Advice::kCold);
  if (advice == MADV_PAGEOUT) preload::advise(range, preload::Advice::kPageOut);
  if (advice == MADV_WILLNEED) preload::advise(range, preload::Advice::kWillNeed);
  return 0;
}
