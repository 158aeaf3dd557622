// BlockDevice: where compressed pages go when they leave memory.
//
// Implementations: linux/file_device.h (a file or a block device, written through io_uring), linux/
// ram_device.h (memory outside of the limit) and sim/sim_device.h (delays, lost and torn writes, errors).
// Offsets and lengths are bytes, multiples of kBlockBytes, below bytes(). Buffers are aligned to kBlockBytes
// and stay untouched until the write has been reaped.
//
// Thread safety: read(), in_place() and discard() from any thread; submit_write() and reap() by one thread at
// a time. Nothing here allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace coldpress::os {

inline constexpr std::size_t kBlockBytes = 4096;

enum class IoStatus : std::uint8_t {
  kDone,
  kError,    // this time, or for good: the caller can not tell
  kNoSpace,  // the file system below is full
};

class BlockDevice {
 public:
  struct Completion {
    std::uint32_t tag;
    IoStatus status;
  };
  static constexpr std::uint32_t kMaxWrites = 8;  // under way at once; tags are below this

  virtual std::uint64_t bytes() const = 0;

  // Waits for the bytes. A file that ends early is an error.
  virtual IoStatus read(std::uint64_t offset, std::byte* into, std::size_t count) = 0;
  // Where the bytes lie in memory, for devices that are memory; nullptr for others.
  virtual const std::byte* in_place(std::uint64_t offset) {
    (void)offset;
    return nullptr;
  }

  // Where all writes will come from; a hint, given before the first.
  virtual void use_buffers(std::span<const std::span<std::byte>> buffers) { (void)buffers; }
  // Begins a write. What becomes of it is told by reap(), also when it could not be begun.
  virtual void submit_write(std::uint64_t offset, const std::byte* from, std::size_t count,
                            std::uint32_t tag) = 0;
  // Takes completions, waiting for the first at most wait_ns (0: not at all). Returns how many.
  virtual std::size_t reap(std::span<Completion> completions, std::int64_t wait_ns) = 0;

  // The content is not needed any more; a hint.
  virtual void discard(std::uint64_t offset, std::uint64_t count) = 0;

 protected:
  ~BlockDevice() = default;
};

}  // namespace coldpress::os
