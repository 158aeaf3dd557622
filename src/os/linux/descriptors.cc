#include "os/linux/descriptors.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

#include "os/linux/syscalls.h"

namespace coldpress::os {

void close_all_but(std::span<int> keep) {
  std::sort(keep.begin(), keep.end());
  unsigned from = 0;
  for (int fd : keep) {
    if (fd < 0) continue;
    auto at = static_cast<unsigned>(fd);
    if (at > from) raw_syscall(SYS_close_range, from, at - 1, 0);
    from = at + 1;
  }
  raw_syscall(SYS_close_range, from, ~0u, 0);
}

int take_from_program(int fd) {
  long pidfd = raw_syscall(SYS_pidfd_open, sys_getpid(), 0);
  if (pidfd < 0) return -1;
  long copy = raw_syscall(SYS_pidfd_getfd, pidfd, fd, 0);
  sys_close(static_cast<int>(pidfd));
  return copy < 0 ? -1 : static_cast<int>(copy);
}

ErrorStream identify_error_stream() {
  struct stat status;
  if (raw_syscall(SYS_fstat, 2, reinterpret_cast<long>(&status)) != 0) return {};
  return {status.st_dev, status.st_ino, true};
}

void write_error_line(const ErrorStream& stream, std::string_view line) {
  if (!stream.known) return;
  int copy = take_from_program(2);
  int fd = copy >= 0 ? copy : 2;
  struct stat status;
  if (raw_syscall(SYS_fstat, fd, reinterpret_cast<long>(&status)) == 0 && status.st_dev == stream.device &&
      status.st_ino == stream.inode) {
    // One write, so that the line stays whole among the program's own.
    char text[700];
    constexpr std::string_view kPrefix = "coldpress: ";
    std::size_t length = std::min(line.size(), sizeof text - kPrefix.size() - 1);
    std::memcpy(text, kPrefix.data(), kPrefix.size());
    std::memcpy(text + kPrefix.size(), line.data(), length);
    text[kPrefix.size() + length] = '\n';
    sys_write(fd, text, kPrefix.size() + length + 1);
  }
  if (copy >= 0) sys_close(copy);
}

bool make_socket_pair(int (&fds)[2]) {
  return raw_syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, reinterpret_cast<long>(fds)) ==
         0;
}

bool make_pipe(int (&fds)[2]) { return raw_syscall(SYS_pipe2, reinterpret_cast<long>(fds), O_CLOEXEC) == 0; }

bool send_byte(int socket, char byte, int fd) {
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  }
  long sent;
  do {
    sent = raw_syscall(SYS_sendmsg, socket, reinterpret_cast<long>(&message), MSG_NOSIGNAL);
  } while (sent == -EINTR);
  return sent == 1;
}

char receive_byte(int socket, std::int64_t timeout_ns, int* fd) {
  if (fd != nullptr) *fd = -1;
  long ready;
  do {
    pollfd poll{socket, POLLIN, 0};
    ready = sys_poll(&poll, 1, timeout_ns);
  } while (ready == -EINTR);
  if (ready == 0) return 0;
  if (ready < 0) return kEnded;
  char byte = 0;
  iovec data{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  long got;
  do {
    got = raw_syscall(SYS_recvmsg, socket, reinterpret_cast<long>(&message), MSG_CMSG_CLOEXEC);
  } while (got == -EINTR);
  if (got != 1) return kEnded;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header != nullptr && header->cmsg_type == SCM_RIGHTS) {
    int received = -1;
    std::memcpy(&received, CMSG_DATA(header), sizeof received);
    if (fd != nullptr) {
      *fd = received;
    } else {
      sys_close(received);
    }
  }
  return byte;
}

int wait_either(int first, int second, std::int64_t timeout_ns) {
  pollfd polls[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
  long ready = sys_poll(polls, 2, timeout_ns);
  if (ready <= 0) return ready == -EINTR ? 4 : 0;
  return (polls[0].revents != 0 ? 1 : 0) | (polls[1].revents != 0 ? 2 : 0);
}

}  // namespace coldpress::os
