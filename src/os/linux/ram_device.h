// A swap device in memory that no limit of the process counts: a memory file, mapped. Synchronous: a write is
// done when submit_write() returns, and loads read in place. It survives fork() as it is.
//
// Thread safety: as os/block_device.h says.
#pragma once

#include "base/result.h"
#include "os/block_device.h"

namespace coldpress::os {

class RamDevice final : public BlockDevice {
 public:
  RamDevice() = default;
  RamDevice(const RamDevice&) = delete;
  RamDevice& operator=(const RamDevice&) = delete;

  Status open(std::uint64_t bytes);
  void close();

  std::uint64_t bytes() const override { return bytes_; }
  IoStatus read(std::uint64_t offset, std::byte* into, std::size_t count) override;
  const std::byte* in_place(std::uint64_t offset) override { return memory_ + offset; }
  void submit_write(std::uint64_t offset, const std::byte* from, std::size_t count,
                    std::uint32_t tag) override;
  std::size_t reap(std::span<Completion> completions, std::int64_t wait_ns) override;
  void discard(std::uint64_t offset, std::uint64_t count) override;

 private:
  std::byte* memory_ = nullptr;
  std::uint64_t bytes_ = 0;
  Completion done_[kMaxWrites] = {};
  std::size_t done_count_ = 0;
};

}  // namespace coldpress::os
