#include "os/linux/ram_device.h"

#include <linux/memfd.h>

#include <algorithm>
#include <cstring>

#include "os/linux/syscalls.h"

namespace coldpress::os {

Status RamDevice::open(std::uint64_t bytes) {
  bytes = bytes / kBlockBytes * kBlockBytes;
  long fd = raw_syscall(SYS_memfd_create, reinterpret_cast<long>("coldpress-swap"), MFD_CLOEXEC);
  if (fd < 0) return Error{Text() << "can not make a memory file for swap: raise ulimit -n"};
  void* mapped = nullptr;
  if (raw_syscall(SYS_ftruncate, fd, static_cast<long>(bytes)) == 0) {
    mapped =
        sys_mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, static_cast<int>(fd));
  }
  sys_close(static_cast<int>(fd));
  if (mapped == nullptr) {
    Text text;
    text << "no address space for ";
    text.bytes(bytes) << " of swap in memory: give a smaller size";
    return Error{text};
  }
  memory_ = static_cast<std::byte*>(mapped);
  bytes_ = bytes;
  return Done{};
}

void RamDevice::close() {
  if (memory_ != nullptr) sys_munmap(memory_, bytes_);
  memory_ = nullptr;
}

IoStatus RamDevice::read(std::uint64_t offset, std::byte* into, std::size_t count) {
  std::memcpy(into, memory_ + offset, count);
  return IoStatus::kDone;
}

void RamDevice::submit_write(std::uint64_t offset, const std::byte* from, std::size_t count,
                             std::uint32_t tag) {
  // The kernel ends a process that stores where no memory is to be had; asked first, it only says no.
  constexpr int kPopulateWrite = 23;
  long answer = sys_madvise(memory_ + offset, count, kPopulateWrite);
  if (answer == 0) std::memcpy(memory_ + offset, from, count);
  done_[done_count_++] = {tag, answer == 0 ? IoStatus::kDone : IoStatus::kNoSpace};
}

std::size_t RamDevice::reap(std::span<Completion> completions, std::int64_t wait_ns) {
  (void)wait_ns;
  std::size_t count = std::min(completions.size(), done_count_);
  std::copy_n(done_ + done_count_ - count, count, completions.data());
  done_count_ -= count;
  return count;
}

void RamDevice::discard(std::uint64_t offset, std::uint64_t count) {
  constexpr int kRemove = 9;
  sys_madvise(memory_ + offset, count, kRemove);
}

}  // namespace coldpress::os
