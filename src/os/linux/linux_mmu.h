// Mmu on Linux: userfaultfd for the program's memory, a staging area of frames, PAGEMAP_SCAN.
//
// Two userfaultfds. `main` carries the layout messages; the program's ranges and the staging area belong to
// it, because the kernel refuses an UFFDIO_MOVE with EAGAIN while a message of the userfaultfd that owns the
// destination is waiting: so captures (into staging) and installs (into the program) are exact alike.
// Memory of `main` can not be zapped by the engine itself (the zap would wait for its own message to be
// read), so frames that are given back first move to the `trash` area, owned by a second userfaultfd
// without messages, and are zapped there.
//
// init() opens descriptors only; activate() makes the staging area, at first pressure.
#pragma once

#include "base/memory_source.h"
#include "os/linux/userfault.h"
#include "os/mmu.h"
#include "sync/mutex.h"

namespace coldpress::os {

struct LinuxMmuOptions {
  std::uint32_t frame_count = 4096;  // a multiple of 32
  bool signal_path = false;
};

class LinuxMmu final : public Mmu {
 public:
  // Opens the userfaultfds (and the caller's pagemap).
  Status init(const LinuxMmuOptions& options);
  // Reserves and registers staging and trash in `memory`.
  Status activate(MemorySource& memory);
  // In the child of a fork: takes over `main` (or opens a new one when negative), reopens the rest.
  // With `keep_staging` the staging area of the parent is this process's copy.
  Status reopen_after_fork(int main_fd, bool keep_staging);
  void close();

  const Userfault& main() const { return main_; }
  bool active() const { return staging_ != 0; }
  // Descriptors to keep when an engine thread closes all others; -1 for unused entries.
  void descriptors(int (&fds)[4]) const;
  // Whether the calling thread's file table still holds the userfaultfd under its number.
  bool usable_here() const;
  // Whether this process may open what reopen_after_fork() needs; it may have given up the right.
  static bool can_open();
  // Whether `main_fd` is a userfaultfd of the calling process (an inherited one speaks of its parent).
  bool belongs_to_this_process(int main_fd) const;
  // Makes every present and future wait_message() return at once.
  void interrupt();

  std::uint32_t frame_count() const override { return frame_count_; }
  std::byte* frame_data(FrameId frame) override { return reinterpret_cast<std::byte*>(frame_address(frame)); }
  void release(FrameId first, std::span<std::uint32_t> masks) override;
  // What was released is given back in larger pieces, or when it is as old as this.
  void empty_trash(std::int64_t age_ns);
  bool register_range(PageRange range) override;
  void unregister_range(PageRange range) override { main_.unregister(range); }
  std::size_t scan_registered(PageRange range, std::span<PageRange> found, PageIndex* scanned_to) override;
  std::uint64_t holding(PageIndex first, std::uint32_t pages, std::uint64_t* zero) override;
  bool changing() override;
  MoveResult capture(PageIndex first, FrameId into, std::uint32_t pages) override;
  MoveResult install(PageIndex first, FrameId from, std::uint32_t pages) override;
  MoveResult install_copy(PageIndex first, const std::byte* from, std::uint32_t pages) override;
  MoveResult fill_zero(PageIndex first, std::uint32_t pages, bool for_write) override;
  MoveStatus poison(PageIndex page) override { return main_.poison(page.address(), false); }
  void make_own(PageRange range) override;
  void wake(PageRange range) override { main_.wake(range); }
  std::size_t scan_present(PageRange range, std::uint64_t max_pages, std::span<PageRange> found,
                           PageIndex* scanned_to) override;
  Message next_message() override;
  void wait_message(std::int64_t timeout_ns) override;
  MoveStatus child_copy(int child, PageIndex page, const std::byte* from) override;
  MoveStatus child_poison(int child, PageIndex page) override;
  void child_close(int child) override;
  void child_skip_message(int child) override;
  void hide_from_fork(PageRange range, bool hidden) override;

 private:
  std::uint64_t frame_address(FrameId frame) const {
    return staging_ + (std::uint64_t{frame.value} << kPageShift);
  }
  bool open_helpers();
  std::uint32_t release_run(FrameId first, std::uint32_t run) REQUIRES(trash_mutex_);
  MoveResult to_trash(FrameId first, std::uint32_t pages) REQUIRES(trash_mutex_);
  void zap_trash() REQUIRES(trash_mutex_);
  enum class Holds { kNothing, kMemory, kUnknown };
  Holds holds_memory(PageIndex page) const;
  // How many of the frames, from the first on, hold no memory.
  std::uint32_t leading_holes(FrameId first, std::uint32_t frames) const;
  std::size_t scan(PageRange range, std::uint64_t categories, std::uint64_t inverted, std::uint64_t max_pages,
                   std::span<PageRange> found, PageIndex* scanned_to) const;

  LinuxMmuOptions options_;
  Userfault main_;
  Userfault trash_owner_;
  int pagemap_ = -1;
  int interrupt_ = -1;
  std::uint32_t frame_count_ = 0;
  std::uint64_t staging_ = 0;
  sync::Mutex trash_mutex_;
  std::uint64_t trash_ = 0;  // trash_pages_, and one that is never used
  std::uint32_t trash_pages_ = 0;
  std::uint32_t trash_used_ GUARDED_BY(trash_mutex_) = 0;
  std::int64_t trash_since_ns_ GUARDED_BY(trash_mutex_) = 0;
  std::uint64_t zeros_ = 0;  // kFillRun pages that read as zero, never written
};

// Longest run that one fill_zero() takes.
inline constexpr std::uint32_t kFillRun = 64;

}  // namespace coldpress::os
