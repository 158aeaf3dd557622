#include "os/linux/userfault.h"

#include "os/linux/syscalls.h"
#include "os/linux/uffd_abi.h"

namespace coldpress::os {
namespace {

constexpr int kOpenFlags = O_CLOEXEC | O_NONBLOCK;

MoveStatus move_status(long error) {
  switch (-error) {
    case EBUSY:
      return MoveStatus::kBusy;
    case ENOENT:
      return MoveStatus::kHole;
    case EEXIST:
      return MoveStatus::kExists;
    case EAGAIN:
      return MoveStatus::kChanging;
    case ESRCH:
      return MoveStatus::kGone;
    case ENOMEM:
      return MoveStatus::kNoMemory;
    case ENOSPC:
      return MoveStatus::kGone;
    default:
      return MoveStatus::kMismatch;  // EINVAL: the mappings do not allow it
  }
}

// What an ioctl reports: bytes done, or the error when nothing was. After a part was done, the reason for
// stopping is learnt by the caller's next try at the next page.
MoveResult result_of(long answer, std::int64_t done_bytes, std::uint32_t pages) {
  if (done_bytes > 0) {
    auto moved = static_cast<std::uint32_t>(done_bytes >> kPageShift);
    return {moved, moved == pages ? MoveStatus::kDone : MoveStatus::kChanging};
  }
  if (answer == 0) return {pages, MoveStatus::kDone};
  return {0, move_status(answer)};
}

long open_raw(OpenedBy& by) {
  long device = sys_open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device >= 0) {
    long fd = raw_syscall(SYS_ioctl, device, _IO(0xAA, 0x00), kOpenFlags);
    sys_close(static_cast<int>(device));
    by = OpenedBy::kDevice;
    if (fd >= 0) return fd;
  }
  by = OpenedBy::kSystemCall;
  return raw_syscall(SYS_userfaultfd, kOpenFlags);
}

}  // namespace

Status Userfault::open(const UserfaultOptions& options) {
  std::uint64_t features = abi::kFeatureMove | abi::kFeaturePoison | abi::kFeatureWpAsync;
  if (options.events) {
    features |= UFFD_FEATURE_EVENT_FORK | UFFD_FEATURE_EVENT_REMAP | UFFD_FEATURE_EVENT_REMOVE |
                UFFD_FEATURE_EVENT_UNMAP | UFFD_FEATURE_THREAD_ID;
  }
  if (options.signal_path) features |= UFFD_FEATURE_SIGBUS;
  // The handshake is one try per descriptor; the second goes without the event that needs a capability.
  for (bool fork_event : {options.events, false}) {
    long fd = open_raw(opened_by_);
    if (fd < 0) break;
    uffdio_api api{UFFD_API, features, 0};
    if (!fork_event) api.features &= ~static_cast<std::uint64_t>(UFFD_FEATURE_EVENT_FORK);
    if (sys_ioctl(static_cast<int>(fd), UFFDIO_API, &api) == 0) {
      fd_ = static_cast<int>(fd);
      fork_event_ = fork_event;
      return Done{};
    }
    sys_close(static_cast<int>(fd));
    if (!options.events) {
      opened_by_ = OpenedBy::kNothing;
      return Error{Text() << "this kernel's userfaultfd lacks UFFDIO_MOVE: Linux 6.8 or newer is needed"};
    }
    if (!fork_event) {
      opened_by_ = OpenedBy::kNothing;
      return Error{Text() << "this kernel's userfaultfd lacks UFFDIO_MOVE or its events: Linux 6.8 or "
                             "newer is needed (coldpress doctor tells what is missing)"};
    }
  }
  opened_by_ = OpenedBy::kNothing;
  return Error{Text() << "userfaultfd is not allowed here: give access to /dev/userfaultfd, or set "
                         "vm.unprivileged_userfaultfd=1 (coldpress doctor tells how, also for containers)"};
}

void Userfault::adopt(int fd, bool fork_event) {
  fd_ = fd;
  fork_event_ = fork_event;
}

void Userfault::close() {
  if (fd_ >= 0) sys_close(fd_);
  fd_ = -1;
}

namespace {
MoveStatus register_range(int fd, PageRange range, std::uint64_t mode) {
  uffdio_register request{{range.begin.address(), range.pages() << kPageShift}, mode, 0};
  long answer = sys_ioctl(fd, UFFDIO_REGISTER, &request);
  return answer == 0 ? MoveStatus::kDone : move_status(answer);
}
}  // namespace

MoveStatus Userfault::register_missing(PageRange range) const {
  return register_range(fd_, range, UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP);
}

MoveStatus Userfault::register_as_target(PageRange range) const {
  return register_range(fd_, range, UFFDIO_REGISTER_MODE_WP);
}

void Userfault::unregister(PageRange range) const {
  uffdio_range request{range.begin.address(), range.pages() << kPageShift};
  sys_ioctl(fd_, UFFDIO_UNREGISTER, &request);
}

MoveResult Userfault::move(std::uint64_t to, std::uint64_t from, std::uint32_t pages) const {
  abi::UffdioMove request{to, from, std::uint64_t{pages} << kPageShift, 0, 0};
  long answer = sys_ioctl(fd_, abi::kUffdioMove, &request);
  return result_of(answer, request.move, pages);
}

MoveResult Userfault::copy(std::uint64_t to, const void* from, std::uint32_t pages) const {
  uffdio_copy request{to, reinterpret_cast<std::uint64_t>(from), std::uint64_t{pages} << kPageShift, 0, 0};
  long answer = sys_ioctl(fd_, UFFDIO_COPY, &request);
  return result_of(answer, request.copy, pages);
}

MoveResult Userfault::zero(std::uint64_t to, std::uint32_t pages) const {
  uffdio_zeropage request{{to, std::uint64_t{pages} << kPageShift}, 0, 0};
  long answer = sys_ioctl(fd_, UFFDIO_ZEROPAGE, &request);
  return result_of(answer, request.zeropage, pages);
}

MoveStatus Userfault::poison(std::uint64_t at, bool wakes) const {
  constexpr std::uint64_t kDontWake = 1;
  abi::UffdioPoison request{at, kPageBytes, wakes ? 0 : kDontWake, 0};
  long answer = sys_ioctl(fd_, abi::kUffdioPoison, &request);
  return answer == 0 ? MoveStatus::kDone : move_status(answer);
}

void Userfault::wake(PageRange range) const {
  uffdio_range request{range.begin.address(), range.pages() << kPageShift};
  sys_ioctl(fd_, UFFDIO_WAKE, &request);
}

bool Userfault::changing() const {
  // The kernel looks for a change before it looks at the (empty, so invalid) range.
  uffdio_copy request{0, 0, 0, 0, 0};
  return sys_ioctl(fd_, UFFDIO_COPY, &request) == -EAGAIN;
}

Message Userfault::read_message() const {
  uffd_msg raw;
  Message message;
  if (sys_read(fd_, &raw, sizeof raw) != sizeof raw) return message;
  auto range = [](std::uint64_t from, std::uint64_t to) { return PageRange{page_of(from), page_of(to)}; };
  switch (raw.event) {
    case UFFD_EVENT_PAGEFAULT:
      message.kind = MessageKind::kFault;
      message.range.begin = page_of(raw.arg.pagefault.address);
      message.range.end = message.range.begin + 1;
      message.write = (raw.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE) != 0;
      message.thread = raw.arg.pagefault.feat.ptid;
      break;
    case UFFD_EVENT_FORK:
      message.kind = MessageKind::kFork;
      message.child = static_cast<int>(raw.arg.fork.ufd);
      break;
    case UFFD_EVENT_REMAP:
      message.kind = MessageKind::kRemap;
      message.range = range(raw.arg.remap.from, raw.arg.remap.from + raw.arg.remap.len);
      message.target = page_of(raw.arg.remap.to);
      break;
    case UFFD_EVENT_REMOVE:
      message.kind = MessageKind::kRemove;
      message.range = range(raw.arg.remove.start, raw.arg.remove.end);
      break;
    case UFFD_EVENT_UNMAP:
      message.kind = MessageKind::kUnmap;
      message.range = range(raw.arg.remove.start, raw.arg.remove.end);
      break;
    default:
      break;
  }
  return message;
}

}  // namespace coldpress::os
