// A userfaultfd: opening it by whichever way is allowed, and its ioctls as typed calls.
//
// Opening tries /dev/userfaultfd (file permissions), then the system call (CAP_SYS_PTRACE or
// vm.unprivileged_userfaultfd). UFFD_FEATURE_EVENT_FORK is asked for and given up when the kernel refuses
// it (it needs CAP_SYS_PTRACE); has_fork_event() tells.
// Thread safety: ioctls may run in any thread whose file table holds the descriptor.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/units.h"
#include "os/mmu.h"

namespace coldpress::os {

enum class OpenedBy { kNothing, kDevice, kSystemCall };

struct UserfaultOptions {
  bool events = true;        // layout messages
  bool signal_path = false;  // SIGBUS in the faulting thread instead of messages
};

class Userfault {
 public:
  Status open(const UserfaultOptions& options);
  // Takes over a descriptor that was opened elsewhere (the child of a fork).
  void adopt(int fd, bool fork_event);
  void close();

  int fd() const { return fd_; }
  OpenedBy opened_by() const { return opened_by_; }
  bool has_fork_event() const { return fork_event_; }

  // Also registers write-protection, in asynchronous mode and unused: PAGEMAP_SCAN tells by it which ranges
  // are registered here.
  MoveStatus register_missing(PageRange range) const;
  // Registers for write-protection only: the range can be the destination of a move, and its holes are filled
  // by the kernel as everywhere else.
  MoveStatus register_as_target(PageRange range) const;
  void unregister(PageRange range) const;
  // Each of these works on `pages` pages and stops at the first that can not be done.
  MoveResult move(std::uint64_t to, std::uint64_t from, std::uint32_t pages) const;
  MoveResult copy(std::uint64_t to, const void* from, std::uint32_t pages) const;
  MoveResult zero(std::uint64_t to, std::uint32_t pages) const;
  MoveStatus poison(std::uint64_t at, bool wakes = true) const;
  void wake(PageRange range) const;
  // Whether a layout change is under way whose message was not read yet.
  bool changing() const;
  // One message; kNone when none waits. The descriptor is non-blocking.
  Message read_message() const;

 private:
  int fd_ = -1;
  OpenedBy opened_by_ = OpenedBy::kNothing;
  bool fork_event_ = false;
};

}  // namespace coldpress::os
