#include "os/linux/file_device.h"

#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "os/linux/syscalls.h"
#include "sync/futex.h"

namespace coldpress::os {
namespace {

constexpr char kHeader[] = "coldpress swap 1\n";
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::uint64_t kNobody = ~std::uint64_t{0};  // waits for this completion

Error can_not(const char* what, const char* path, long answer) {
  Text text;
  text << "can not " << what << " " << path << " for swap: ";
  switch (-answer) {
    case ENOENT:
      text << "no such file or directory (a new file needs a size: PATH,size=4G)";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      text << "not allowed to write there";
      break;
    case EAGAIN:
    case EBUSY:
      text << "it is in use by another process: give each its own";
      break;
    case EISDIR:
      text << "it is a directory: name a file in it";
      break;
    case ENOSPC:
    case EDQUOT:
      text << "no space left";
      break;
    default:
      text << "error " << -answer;
  }
  return Error{text};
}

IoStatus io_status(long answer) {
  return answer == -ENOSPC || answer == -EDQUOT ? IoStatus::kNoSpace : IoStatus::kError;
}

}  // namespace

Status FileDevice::open(const char* path, std::uint64_t bytes) {
  // Without a size only what is there can be meant.
  const int kFlags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | (bytes > 0 ? O_CREAT : 0);
  long fd = sys_open(path, kFlags | O_DIRECT, 0600);
  if (fd == -EINVAL) fd = sys_open(path, kFlags, 0600);
  if (fd < 0) return can_not("open", path, fd);
  fd_ = static_cast<int>(fd);
  if (long answer = raw_syscall(SYS_flock, fd, LOCK_EX | LOCK_NB); answer != 0) {
    close();
    return can_not("use", path, answer);
  }
  struct stat about = {};
  if (long answer = raw_syscall(SYS_fstat, fd, reinterpret_cast<long>(&about)); answer != 0) {
    close();
    return can_not("look at", path, answer);
  }
  std::uint64_t has = static_cast<std::uint64_t>(about.st_size);
  is_block_device_ = S_ISBLK(about.st_mode);
  if (is_block_device_) {
    // Exclusive, or the kernel's own swap or a mounted file system could lie there.
    fd = sys_open(path, O_RDWR | O_EXCL | O_CLOEXEC | O_DIRECT);
    close();
    if (fd < 0) return can_not("use", path, fd);
    fd_ = static_cast<int>(fd);
  }
  if (is_block_device_) {
    sys_ioctl(fd_, BLKGETSIZE64, &has);
  } else if (!S_ISREG(about.st_mode)) {
    close();
    return Error{Text() << path << " is neither a file nor a block device: swap can not go there"};
  }
  const char* problem = nullptr;
  if (long answer = prepare(bytes, has, &problem); answer != 0 || problem != nullptr) {
    close();
    if (problem != nullptr) return Error{Text() << path << problem};
    return can_not("prepare", path, answer);
  }
  return Done{};
}

// Checks that nobody's data are there, takes the size, and writes the header. 0, or the kernel's refusal;
// *problem: ours.
long FileDevice::prepare(std::uint64_t bytes, std::uint64_t has, const char** problem) {
  alignas(kBlockBytes) std::byte block[kBlockBytes] = {};
  if (has > 0) {
    constexpr std::size_t kMkswapAt = kBlockBytes - 10;
    bool whole = read(0, block, kBlockBytes) == IoStatus::kDone;
    bool ours = std::memcmp(block, kHeader, sizeof kHeader) == 0;
    if (!whole || (!ours && std::memcmp(block + kMkswapAt, "SWAPSPACE2", 10) != 0)) {
      *problem = " holds something that is not swap: name a new file, or run mkswap on it if it may be lost";
      return 0;
    }
  }
  std::uint64_t whole_bytes = (bytes == 0 ? has : bytes + kBlockBytes) / kBlockBytes * kBlockBytes;
  if (whole_bytes < 2 * kBlockBytes) {
    *problem = " is empty: say how large it may get (,size=4G)";
    return 0;
  }
  if (is_block_device_ && whole_bytes > has) {
    *problem = " is smaller than the size given";
    return 0;
  }
  if (!is_block_device_ && has < whole_bytes) {
    if (long answer = raw_syscall(SYS_ftruncate, fd_, static_cast<long>(whole_bytes)); answer != 0)
      return answer;
  }
  std::memset(block, 0, sizeof block);
  std::memcpy(block, kHeader, sizeof kHeader);
  long put = raw_syscall(SYS_pwrite64, fd_, reinterpret_cast<long>(block), kBlockBytes, 0);
  if (put != static_cast<long>(kBlockBytes)) return put < 0 ? put : -EIO;
  start_ = kBlockBytes;
  bytes_ = whole_bytes - kBlockBytes;
  return 0;
}

Status FileDevice::open_unlinked(int directory, std::uint64_t bytes) {
  auto open_here = [&](int flags) {
    return raw_syscall(SYS_openat, directory, reinterpret_cast<long>("."),
                       O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC | flags, 0600);
  };
  long fd = open_here(O_DIRECT);
  if (fd == -EINVAL) fd = open_here(0);
  if (fd < 0) return can_not("make a file in", "the temporary directory", fd);
  fd_ = static_cast<int>(fd);
  bytes_ = bytes / kBlockBytes * kBlockBytes;
  if (long answer = raw_syscall(SYS_ftruncate, fd, static_cast<long>(bytes_)); answer != 0) {
    close();
    return can_not("enlarge a file in", "the temporary directory", answer);
  }
  return Done{};
}

void FileDevice::close() {
  if (ring_state_ == Ring::kReady || ring_state_ == Ring::kLeaving) io_uring_queue_exit(&ring_);
  ring_state_ = Ring::kNotYet;
  if (fd_ >= 0) sys_close(fd_);
  fd_ = -1;
  start_ = bytes_ = 0;
  early_count_ = in_ring_ = 0;
}

void FileDevice::inherit(int fd) {
  // The ring's descriptor is the parent's: not in this process's table.
  ring_state_ = Ring::kRefused;
  in_ring_ = 0;
  early_count_ = 0;
  fd_ = fd;
}

IoStatus FileDevice::read(std::uint64_t offset, std::byte* into, std::size_t count) {
  constexpr int kTries = 100;
  constexpr std::int64_t kPauseNs = 1'000'000;
  offset += start_;
  for (int tries = 0; count > 0;) {
    long got = sys_pread(fd_, into, count, offset);
    // A moment without memory is no reason to lose a page.
    if ((got == -ENOMEM || got == -EAGAIN) && ++tries < kTries) {
      sync::sleep_ns(kPauseNs);
      continue;
    }
    if (got <= 0) return IoStatus::kError;  // 0: cut off by somebody
    into += got;
    offset += static_cast<std::uint64_t>(got);
    count -= static_cast<std::size_t>(got);
  }
  return IoStatus::kDone;
}

void FileDevice::use_buffers(std::span<const std::span<std::byte>> buffers) {
  buffer_count_ = std::min(buffers.size(), kMaxBuffers);
  for (std::size_t i = 0; i < buffer_count_; ++i) buffers_[i] = {buffers[i].data(), buffers[i].size()};
}

bool FileDevice::have_ring() {
  if (ring_state_ != Ring::kNotYet) return ring_state_ == Ring::kReady;
  ring_state_ = io_uring_queue_init(kMaxWrites, &ring_, 0) == 0 ? Ring::kReady : Ring::kRefused;
  if (ring_state_ == Ring::kRefused) return false;
  // Refused under a small RLIMIT_MEMLOCK; then each write pins its pages anew.
  registered_ = buffer_count_ > 0 &&
                io_uring_register_buffers(&ring_, buffers_, static_cast<unsigned>(buffer_count_)) == 0;
  return true;
}

void FileDevice::submit_write(std::uint64_t offset, const std::byte* from, std::size_t count,
                              std::uint32_t tag) {
  offset += start_;
  writes_[tag] = {offset, from, count};
  io_uring_sqe* entry = have_ring() ? io_uring_get_sqe(&ring_) : nullptr;
  if (entry == nullptr) {
    finished(tag, write_now(writes_[tag]));
    return;
  }
  int buffer = -1;
  for (std::size_t i = 0; registered_ && i < buffer_count_; ++i) {
    auto* start = static_cast<const std::byte*>(buffers_[i].iov_base);
    if (from >= start && from + count <= start + buffers_[i].iov_len) buffer = static_cast<int>(i);
  }
  if (buffer >= 0) {
    io_uring_prep_write_fixed(entry, fd_, from, static_cast<unsigned>(count), offset, buffer);
  } else {
    io_uring_prep_write(entry, fd_, from, static_cast<unsigned>(count), offset);
  }
  io_uring_sqe_set_data64(entry, tag);
  int submitted = 0;
  do {
    submitted = io_uring_submit(&ring_);
  } while (submitted == -EINTR);
  if (submitted == 1) {
    ++in_ring_;
    return;
  }
  // The ring does not take it (any more): from now on without. What stays in its queue must not be written
  // with a later one: the buffer may have another content then.
  io_uring_prep_nop(entry);
  io_uring_sqe_set_data64(entry, kNobody);
  finished(tag, write_now(writes_[tag]));
  ring_state_ = Ring::kLeaving;
  leave_ring();
}

// Once it has ended what it took.
void FileDevice::leave_ring() {
  if (ring_state_ != Ring::kLeaving || in_ring_ > 0) return;
  io_uring_queue_exit(&ring_);
  ring_state_ = Ring::kRefused;
}

void FileDevice::finished(std::uint32_t tag, IoStatus status) { early_[early_count_++] = {tag, status}; }

IoStatus FileDevice::write_now(const Write& write) const {
  for (std::size_t done = 0; done < write.count;) {
    long put = raw_syscall(SYS_pwrite64, fd_, reinterpret_cast<long>(write.from + done),
                           static_cast<long>(write.count - done), static_cast<long>(write.offset + done));
    if (put == -EINTR) continue;
    if (put <= 0) return io_status(put);
    done += static_cast<std::size_t>(put);
  }
  return IoStatus::kDone;
}

// What came of a write that the ring has ended. A short one is finished here.
IoStatus FileDevice::ended(std::uint32_t tag, int result) const {
  const Write& write = writes_[tag];
  if (result == static_cast<int>(write.count)) return IoStatus::kDone;
  if (result < 0 && result != -EAGAIN && result != -EINTR && result != -ECANCELED) return io_status(result);
  std::size_t done = result > 0 ? static_cast<std::size_t>(result) / kBlockBytes * kBlockBytes : 0;
  return write_now({write.offset + done, write.from + done, write.count - done});
}

std::size_t FileDevice::reap(std::span<Completion> completions, std::int64_t wait_ns) {
  std::size_t count = std::min(completions.size(), early_count_);
  std::copy_n(early_ + early_count_ - count, count, completions.data());
  early_count_ -= count;
  while (count < completions.size() && in_ring_ > 0) {
    io_uring_cqe* entry = nullptr;
    if (count > 0 || wait_ns == 0) {
      if (io_uring_peek_cqe(&ring_, &entry) != 0) break;
    } else {
      __kernel_timespec timeout{wait_ns / kSecond, wait_ns % kSecond};
      if (io_uring_wait_cqe_timeout(&ring_, &entry, &timeout) != 0) break;  // time is up
    }
    std::uint64_t data = io_uring_cqe_get_data64(entry);
    int result = entry->res;
    io_uring_cqe_seen(&ring_, entry);
    if (data == kNobody) continue;
    auto tag = static_cast<std::uint32_t>(data);
    completions[count++] = {tag, ended(tag, result)};
    --in_ring_;
  }
  leave_ring();
  return count;
}

void FileDevice::discard(std::uint64_t offset, std::uint64_t count) {
  offset += start_;
  if (is_block_device_) {
    std::uint64_t range[2] = {offset, count};
    sys_ioctl(fd_, BLKDISCARD, range);
  } else {
    raw_syscall(SYS_fallocate, fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<long>(offset),
                static_cast<long>(count));
  }
}

}  // namespace coldpress::os
