// A swap device on a file or a block device.
//
// Writes go through io_uring, from registered buffers, past the page cache where the file system allows it
// (O_DIRECT), and their ends are awaited, not polled for. Where the kernel or a sandbox refuses io_uring they
// are made at once instead. A load is one pread() by the thread that needs it: a ring has nothing to add
// there. The ring is made at the first write, in the file table of the thread that writes.
//
// Thread safety: as os/block_device.h says. After fork() the child calls inherit() before anything else.
#pragma once

#include <liburing.h>

#include "base/result.h"
#include "os/block_device.h"

namespace coldpress::os {

class FileDevice final : public BlockDevice {
 public:
  FileDevice() = default;
  FileDevice(const FileDevice&) = delete;
  FileDevice& operator=(const FileDevice&) = delete;

  // Makes a file of mode 0600, or opens one, or a block device, that was made for swap (by this function or
  // by mkswap), for this process alone (flock). `bytes`: 0 for the size that it has. Anything else that has a
  // content is refused. The first block is a header, not counted in bytes().
  Status open(const char* path, std::uint64_t bytes);
  // A file without a name in the directory.
  Status open_unlinked(int directory, std::uint64_t bytes);
  void close();

  // In the child of a fork: reads what the parent has written, by a descriptor of the child's own.
  void inherit(int fd);
  int descriptor() const { return fd_; }
  bool is_block_device() const { return is_block_device_; }
  // For tests, and for sandboxes that kill instead of refusing.
  void without_ring() { ring_state_ = Ring::kRefused; }

  std::uint64_t bytes() const override { return bytes_; }
  IoStatus read(std::uint64_t offset, std::byte* into, std::size_t count) override;
  void use_buffers(std::span<const std::span<std::byte>> buffers) override;
  void submit_write(std::uint64_t offset, const std::byte* from, std::size_t count,
                    std::uint32_t tag) override;
  std::size_t reap(std::span<Completion> completions, std::int64_t wait_ns) override;
  void discard(std::uint64_t offset, std::uint64_t count) override;

 private:
  struct Write {
    std::uint64_t offset;
    const std::byte* from;
    std::size_t count;
  };
  enum class Ring : std::uint8_t { kNotYet, kReady, kLeaving, kRefused };

  long prepare(std::uint64_t bytes, std::uint64_t has, const char** problem);
  bool have_ring();
  void leave_ring();
  void finished(std::uint32_t tag, IoStatus status);
  IoStatus write_now(const Write& write) const;
  IoStatus ended(std::uint32_t tag, int result) const;

  int fd_ = -1;
  bool is_block_device_ = false;
  std::uint64_t bytes_ = 0;
  std::uint64_t start_ = 0;  // of what bytes() counts, in the file
  Write writes_[kMaxWrites] = {};
  // Ended before anybody asked.
  Completion early_[kMaxWrites] = {};
  std::size_t early_count_ = 0;
  static constexpr std::size_t kMaxBuffers = 8;
  iovec buffers_[kMaxBuffers] = {};
  std::size_t buffer_count_ = 0;
  bool registered_ = false;
  Ring ring_state_ = Ring::kNotYet;
  io_uring ring_ = {};
  std::uint32_t in_ring_ = 0;
};

}  // namespace coldpress::os
