// What a move says can not be taken at its word. When the kernel meets a page that somebody else works on
// (its own reclaim or DAMON has locked it, its accessed bit changes, it is being migrated), it starts over.
// UFFDIO_MOVE as rewritten for Linux 6.18 then forgets that its second try succeeded: it tries once more,
// finds the page that it has just put there in its way, and answers EEXIST, or the number of pages before
// this one. So wherever the answer is short, what happened is read from both places (docs/bugs.md, "Moved,
// and said to be in the way").
#include "os/linux/linux_mmu.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "os/linux/syscalls.h"
#include "os/linux/uffd_abi.h"

namespace coldpress::os {
namespace {
// Zapped at once: all other processors hear of it.
constexpr std::uint32_t kLeastTrash = 32, kMostTrash = 512;

// kHole: the first of the pages may have moved, been MADV_FREE'd, and been taken there by the kernel.
bool may_have_moved_more(const MoveResult& result, std::uint32_t pages) {
  return result.status == MoveStatus::kExists || result.status == MoveStatus::kHole ||
         (result.moved > 0 && result.moved < pages);
}

MoveResult moved(std::uint32_t done, std::uint32_t pages) {
  return {done, done == pages ? MoveStatus::kDone : MoveStatus::kChanging};
}

bool is_zero(const std::byte* page) {
  return page[0] == std::byte{0} && std::memcmp(page, page + 1, kPageBytes - 1) == 0;
}
}  // namespace

Status LinuxMmu::init(const LinuxMmuOptions& options) {
  options_ = options;
  frame_count_ = options.frame_count;
  if (auto opened = main_.open({.events = true, .signal_path = options.signal_path}); !opened) {
    return opened;
  }
  if (auto opened = trash_owner_.open({.events = false}); !opened) return opened;
  if (!open_helpers()) {
    return Error{Text() << "can not open /proc/self/pagemap: mount /proc in this container"};
  }
  return Done{};
}

bool LinuxMmu::open_helpers() {
  pagemap_ = static_cast<int>(sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  interrupt_ = static_cast<int>(raw_syscall(SYS_eventfd2, 0, O_CLOEXEC | O_NONBLOCK));
  return pagemap_ >= 0 && interrupt_ >= 0;
}

bool LinuxMmu::can_open() {
  Userfault probe;
  long pagemap = sys_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (pagemap >= 0) sys_close(static_cast<int>(pagemap));
  bool opened = pagemap >= 0 && probe.open({.events = false});
  probe.close();
  return opened;
}

bool LinuxMmu::belongs_to_this_process(int main_fd) const {
  Userfault probe;
  probe.adopt(main_fd, true);
  // The page behind the trash is never used, so nothing can move: the kernel answers ENOENT (or EEXIST).
  // For another process's descriptor it answers EINVAL.
  return probe.move(staging_, trash_ + (std::uint64_t{trash_pages_} << kPageShift), 1).status !=
         MoveStatus::kMismatch;
}

bool LinuxMmu::usable_here() const {
  uffdio_range nothing{0, 0};
  return sys_ioctl(main_.fd(), UFFDIO_WAKE, &nothing) == -EINVAL;  // others: ENOTTY, EBADF
}

void LinuxMmu::interrupt() {
  std::uint64_t one = 1;
  sys_write(interrupt_, &one, sizeof one);
}

Status LinuxMmu::activate(MemorySource& memory) {
  auto area = [&](std::uint64_t pages, const char* name) {
    return reinterpret_cast<std::uint64_t>(memory.allocate(pages << kPageShift, name));
  };
  // A guard page on each side keeps the registered areas from merging with their neighbours.
  memory.reserve(kPageBytes);
  std::uint64_t staging = area(frame_count_, "coldpress-frames");
  memory.reserve(kPageBytes);
  trash_pages_ = std::clamp(frame_count_ / 16, kLeastTrash, kMostTrash);
  trash_ = area(trash_pages_ + 1, "coldpress-trash");
  memory.reserve(kPageBytes);
  zeros_ = area(kFillRun, "coldpress-zeros");
  if (staging == 0 || trash_ == 0 || zeros_ == 0) {
    return Error{Text() << "out of address space for the engine's frames"};
  }
  // Read once, so that every later read of these pages is of the kernel's shared zero page.
  for (std::uint32_t page = 0; page < kFillRun; ++page) {
    (void)*reinterpret_cast<volatile char*>(zeros_ + page * kPageBytes);
  }
  if (main_.register_as_target({page_of(staging), page_of(staging) + frame_count_}) != MoveStatus::kDone ||
      trash_owner_.register_as_target({page_of(trash_), page_of(trash_) + trash_pages_}) !=
          MoveStatus::kDone) {
    return Error{Text() << "the kernel refused to register the engine's frames with userfaultfd"};
  }
  staging_ = staging;
  return Done{};
}

Status LinuxMmu::reopen_after_fork(int main_fd, bool keep_staging) {
  // Whatever descriptors the parent's engine had are in the parent's engine threads' table, not here.
  bool fork_event = main_.has_fork_event();
  if (main_fd >= 0) {
    main_.adopt(main_fd, fork_event);
  } else if (auto opened = main_.open({.events = true, .signal_path = options_.signal_path}); !opened) {
    return opened;
  }
  if (auto opened = trash_owner_.open({.events = false}); !opened) return opened;
  if (!open_helpers()) return Error{Text() << "can not open /proc/self/pagemap"};
  if (!keep_staging) {
    staging_ = trash_ = zeros_ = 0;
  } else if (trash_owner_.register_as_target({page_of(trash_), page_of(trash_) + trash_pages_}) !=
             MoveStatus::kDone) {
    return Error{Text() << "the kernel refused to register the engine's frames with userfaultfd"};
  }
  return Done{};
}

void LinuxMmu::close() {
  main_.close();
  trash_owner_.close();
  staging_ = trash_ = zeros_ = 0;
  if (pagemap_ >= 0) sys_close(pagemap_);
  if (interrupt_ >= 0) sys_close(interrupt_);
  pagemap_ = interrupt_ = -1;
}

void LinuxMmu::descriptors(int (&fds)[4]) const {
  fds[0] = main_.fd();
  fds[1] = trash_owner_.fd();
  fds[2] = pagemap_;
  fds[3] = interrupt_;
}

void LinuxMmu::release(FrameId first, std::span<std::uint32_t> masks) {
  auto end = static_cast<std::uint32_t>(masks.size() * 32);
  auto wanted = [&](std::uint32_t i) { return (masks[i / 32] >> (i % 32) & 1) != 0; };
  sync::MutexLock lock(trash_mutex_);
  for (std::uint32_t at = 0; at < end;) {
    std::uint32_t run = 0;
    while (at + run < end && run < trash_pages_ && wanted(at + run)) ++run;
    if (run == 0) {
      ++at;
      continue;
    }
    std::uint32_t done = release_run(first + at, run);
    if (done == 0) {  // could not: keep it, go on
      masks[at / 32] &= ~(1u << (at % 32));
      done = 1;
    }
    at += done;
  }
}

// Returns how many frames, from the first on, are holes now.
std::uint32_t LinuxMmu::release_run(FrameId first, std::uint32_t run) {
  if (trash_used_ + run > trash_pages_) zap_trash();
  MoveResult result = to_trash(first, run);
  if (result.status == MoveStatus::kExists && leading_holes(first, run) == 0) {
    // The program has populated the trash (mlockall, and munlockall since).
    trash_used_ = trash_pages_;
    zap_trash();
    result = to_trash(first, run);
  }
  if (result.moved == 0 && result.status == MoveStatus::kBusy) {
    // Shared with a process forked since: a write makes this process's own copy, which can move.
    auto* page = reinterpret_cast<volatile char*>(frame_address(first));
    *page = *page;
    result = to_trash(first, 1);
  }
  if (may_have_moved_more(result, run)) {
    result.moved = std::max(result.moved, leading_holes(first, run));
  }
  if (result.moved == 0) return result.status == MoveStatus::kHole ? 1 : 0;  // already empty
  if (trash_used_ == 0) trash_since_ns_ = sync::now_ns();
  trash_used_ += result.moved;
  return result.moved;
}

MoveResult LinuxMmu::to_trash(FrameId first, std::uint32_t pages) {
  return trash_owner_.move(trash_ + (std::uint64_t{trash_used_} << kPageShift), frame_address(first), pages);
}

void LinuxMmu::zap_trash() {
  if (trash_used_ == 0) return;
  sys_madvise(reinterpret_cast<void*>(trash_), std::size_t{trash_used_} << kPageShift, MADV_DONTNEED);
  trash_used_ = 0;
}

void LinuxMmu::empty_trash(std::int64_t age_ns) {
  sync::MutexLock lock(trash_mutex_);
  if (trash_used_ > 0 && sync::now_ns() - trash_since_ns_ >= age_ns) zap_trash();
}

bool LinuxMmu::register_range(PageRange range) { return main_.register_missing(range) == MoveStatus::kDone; }

MoveResult LinuxMmu::capture(PageIndex first, FrameId into, std::uint32_t pages) {
  MoveResult result = main_.move(frame_address(into), first.address(), pages);
  if (!may_have_moved_more(result, pages)) return result;
  // What has moved is here and not there: nobody else fills a registered hole. Unless a change is under way,
  // and the place is somebody else's by now; then what is here decides. It is zero where mlockall() made it.
  PageIndex frame = page_of(frame_address(into));
  std::uint32_t arrived = result.moved;
  bool may_be_others = changing();
  for (std::uint32_t i = arrived; i < pages; ++i) {
    if (holds_memory(frame + i) == Holds::kNothing) continue;
    if (holds_memory(first + i) == Holds::kNothing || (may_be_others && !is_zero(frame_data(into + i)))) {
      arrived = i + 1;
    }
  }
  return arrived > result.moved ? moved(arrived, pages) : result;
}

MoveResult LinuxMmu::install(PageIndex first, FrameId from, std::uint32_t pages) {
  MoveResult result = main_.move(first.address(), frame_address(from), pages);
  if (!may_have_moved_more(result, pages) || result.status == MoveStatus::kHole) return result;
  std::uint32_t left = leading_holes(from, pages);
  if (left <= result.moved) return result;
  main_.wake({first + result.moved, first + left});
  return moved(left, pages);
}

// Present, or on its way through the kernel's hands: swapped out, or being migrated.
LinuxMmu::Holds LinuxMmu::holds_memory(PageIndex page) const {
  std::uint64_t entry = 0;
  if (sys_pread(pagemap_, &entry, sizeof entry, page.value * sizeof entry) != sizeof entry) {
    return Holds::kUnknown;
  }
  return (entry & (abi::kPagemapPresent | abi::kPagemapSwapped)) != 0 ? Holds::kMemory : Holds::kNothing;
}

std::uint32_t LinuxMmu::leading_holes(FrameId first, std::uint32_t frames) const {
  std::uint32_t holes = 0;
  while (holes < frames && holds_memory(page_of(frame_address(first + holes))) == Holds::kNothing) ++holes;
  return holes;
}

MoveResult LinuxMmu::install_copy(PageIndex first, const std::byte* from, std::uint32_t pages) {
  MoveResult result = main_.copy(first.address(), from, pages);
  // ENOENT from COPY speaks of the destination.
  if (result.status == MoveStatus::kHole) result.status = MoveStatus::kGone;
  return result;
}

MoveResult LinuxMmu::fill_zero(PageIndex first, std::uint32_t pages, bool for_write) {
  MoveResult result = for_write ? main_.copy(first.address(), reinterpret_cast<void*>(zeros_), pages)
                                : main_.zero(first.address(), pages);
  if (result.status == MoveStatus::kHole) result.status = MoveStatus::kGone;
  return result;
}

void LinuxMmu::make_own(PageRange range) {
  // Linux 5.14. Refused where the program has taken the right to write away.
  sys_madvise(reinterpret_cast<void*>(range.begin.address()), range.pages() << kPageShift,
              abi::kMadvPopulateWrite);
}

// Runs whose categories, after inversion, include all of `categories`.
std::size_t LinuxMmu::scan(PageRange range, std::uint64_t categories, std::uint64_t inverted,
                           std::uint64_t max_pages, std::span<PageRange> found, PageIndex* scanned_to) const {
  abi::PageRegion regions[64];
  abi::PagemapScan scan{};
  scan.size = sizeof scan;
  scan.start = range.begin.address();
  scan.end = range.end.address();
  scan.vec = reinterpret_cast<std::uint64_t>(regions);
  scan.vec_len = found.size() < 64 ? found.size() : 64;
  scan.max_pages = max_pages;
  scan.category_mask = categories;
  scan.category_inverted = inverted;
  scan.return_mask = categories & ~inverted;
  long count = sys_ioctl(pagemap_, abi::kPagemapScan, &scan);
  if (count < 0) {
    *scanned_to = range.end;
    return 0;
  }
  for (long i = 0; i < count; ++i) {
    found[static_cast<std::size_t>(i)] = {page_of(regions[i].start), page_of(regions[i].end)};
  }
  *scanned_to = page_of(scan.walk_end);
  if (*scanned_to <= range.begin) *scanned_to = range.end;
  return static_cast<std::size_t>(count);
}

std::size_t LinuxMmu::scan_present(PageRange range, std::uint64_t max_pages, std::span<PageRange> found,
                                   PageIndex* scanned_to) {
  return scan(range, abi::kPagePresent | abi::kPageWpAllowed | abi::kPagePfnZero, abi::kPagePfnZero,
              max_pages, found, scanned_to);
}

std::size_t LinuxMmu::scan_registered(PageRange range, std::span<PageRange> found, PageIndex* scanned_to) {
  return scan(range, abi::kPageWpAllowed, 0, 0, found, scanned_to);
}

std::uint64_t LinuxMmu::holding(PageIndex first, std::uint32_t pages, std::uint64_t* zero) {
  std::uint64_t entries[64], held = 0;
  *zero = 0;
  long bytes = static_cast<long>(pages * sizeof *entries);
  if (sys_pread(pagemap_, entries, pages * sizeof *entries, first.value * sizeof *entries) != bytes) {
    return ~std::uint64_t{0};
  }
  for (std::uint32_t i = 0; i < pages; ++i) {
    if ((entries[i] & (abi::kPagemapPresent | abi::kPagemapSwapped)) != 0) held |= std::uint64_t{1} << i;
  }
  PageRange range{first, first + pages};
  for (PageIndex at = first; at < range.end;) {
    PageRange found[16];
    std::size_t runs = scan({at, range.end}, abi::kPagePfnZero, 0, 0, found, &at);
    for (std::size_t i = 0; i < runs; ++i) {
      for (PageIndex page = found[i].begin; page < found[i].end; page = page + 1) {
        *zero |= std::uint64_t{1} << (page - first);
      }
    }
  }
  return held;
}

bool LinuxMmu::changing() { return main_.changing(); }

Message LinuxMmu::next_message() { return main_.read_message(); }

void LinuxMmu::wait_message(std::int64_t timeout_ns) {
  pollfd polls[2] = {{main_.fd(), POLLIN, 0}, {interrupt_, POLLIN, 0}};
  sys_poll(polls, 2, timeout_ns);
}

MoveStatus LinuxMmu::child_copy(int child, PageIndex page, const std::byte* from) {
  Userfault of_child;
  of_child.adopt(child, true);
  return of_child.copy(page.address(), from, 1).status;
}

MoveStatus LinuxMmu::child_poison(int child, PageIndex page) {
  Userfault of_child;
  of_child.adopt(child, true);
  return of_child.poison(page.address());
}

void LinuxMmu::hide_from_fork(PageRange range, bool hidden) {
  if (main_.has_fork_event()) return;
  sys_madvise(reinterpret_cast<void*>(range.begin.address()), range.pages() << kPageShift,
              hidden ? MADV_DONTFORK : MADV_DOFORK);
}

void LinuxMmu::child_skip_message(int child) {
  Userfault of_child;
  of_child.adopt(child, true);
  of_child.read_message();
}

void LinuxMmu::child_close(int child) { sys_close(child); }

}  // namespace coldpress::os
