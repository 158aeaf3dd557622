// Proves that the kernel can read and write cold memory for a program: buffers and the structures
// that describe them in calls on pipes, sockets, files (O_DIRECT too), vmsplice and
// process_vm_readv.
//
//   kernel_io MIB [SEED]
#include <fcntl.h>
#include <liburing.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include <thread>

#include "cold_buffers.h"

namespace coldtest {
namespace {

constexpr std::size_t kSmall = 10000;  // odd on purpose: ends within a page

struct Ends {
  int read;
  int write;
};

Ends open_pipe() {
  int ends[2];
  checked(pipe2(ends, O_CLOEXEC), "pipe2");
  return {ends[0], ends[1]};
}

Ends open_socket_pair(int type) {
  int ends[2];
  checked(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), "socketpair");
  return {ends[0], ends[1]};
}

void close_both(Ends ends) {
  close(ends.read);
  close(ends.write);
}

int open_temporary(int flags = 0) {
  int fd = open(".", O_TMPFILE | O_RDWR | O_CLOEXEC | flags, 0600);
  return fd;
}

void expect_length(long length, std::size_t expected, const char* what) {
  if (checked(length, what) != static_cast<long>(expected))
    die("MISMATCH: %s: %ld of %zu bytes", what, length, expected);
}

Use pipe_write_read(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  Byte* from = buffers.take_filled(kSmall, key, 77);
  Byte* to = buffers.take(kSmall, 501);
  return [=] {
    Ends pipe = open_pipe();
    expect_length(write(pipe.write, from, kSmall), kSmall, "write to a pipe");
    expect_length(read(pipe.read, to, kSmall), kSmall, "read from a pipe");
    check_bytes("through a pipe", to, kSmall, key);
    close_both(pipe);
  };
}

// A reader that already sleeps in the kernel when its buffer gets cold.
Use pipe_read_while_cold(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  Byte* from = buffers.take_filled(kSmall, key);
  Byte* to = buffers.take(kSmall);
  Ends pipe = open_pipe();
  auto* reader = new std::thread([=] {
    for (std::size_t got = 0; got < kSmall;) {
      got += static_cast<std::size_t>(checked(read(pipe.read, to + got, kSmall - got), "read that waited"));
    }
  });
  return [=] {
    expect_length(write(pipe.write, from, kSmall), kSmall, "write to a waiting reader");
    reader->join();
    delete reader;
    check_bytes("to a waiting reader", to, kSmall, key);
    close_both(pipe);
  };
}

Use vectors(ColdBuffers& buffers) {
  constexpr int kParts = 5;
  std::uint64_t key = buffers.key();
  auto* out = buffers.take<iovec>(kParts, 64);
  auto* in = buffers.take<iovec>(kParts, 128);
  for (int i = 0; i < kParts; ++i) {
    out[i] = {buffers.take_filled(1000, key + static_cast<unsigned>(i) * 32), 1000};
    in[i] = {buffers.take(1000), 1000};
  }
  return [=] {
    int fd = static_cast<int>(checked(open_temporary(), "O_TMPFILE"));
    expect_length(writev(fd, out, kParts), 1000 * kParts, "writev");
    expect_length(preadv(fd, in, kParts, 0), 1000 * kParts, "preadv");
    for (unsigned i = 0; i < kParts; ++i) check_bytes("preadv", in[i].iov_base, 1000, key + i * 32);
    close(fd);
  };
}

Use file_write_read(ColdBuffers& buffers) {
  constexpr std::size_t kSize = 40 * kPageSize + 17;
  std::uint64_t key = buffers.key();
  Byte* from = buffers.take_filled(kSize, key);
  Byte* to = buffers.take(kSize, 9);
  return [=] {
    int fd = static_cast<int>(checked(open_temporary(), "O_TMPFILE"));
    expect_length(pwrite(fd, from, kSize, 5), kSize, "pwrite");
    expect_length(pread(fd, to, kSize, 5), kSize, "pread");
    check_bytes("pread", to, kSize, key);
    close(fd);
  };
}

Use direct_write_read(ColdBuffers& buffers) {
  constexpr std::size_t kSize = 32 * kPageSize;
  std::uint64_t key = buffers.key();
  Byte* from = buffers.take_filled(kSize, key);
  Byte* to = buffers.take(kSize);
  return [=] {
    int fd = open_temporary(O_DIRECT);
    if (fd < 0) {  // tmpfs, some overlays
      std::printf("note: no O_DIRECT here\n");
      return;
    }
    expect_length(pwrite(fd, from, kSize, 0), kSize, "O_DIRECT pwrite");
    expect_length(pread(fd, to, kSize, 0), kSize, "O_DIRECT pread");
    check_bytes("O_DIRECT", to, kSize, key);
    close(fd);
  };
}

Use send_recv_peek(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  Byte* from = buffers.take_filled(kSmall, key);
  Byte* peeked = buffers.take(kSmall);
  Byte* to = buffers.take(kSmall);
  return [=] {
    Ends ends = open_socket_pair(SOCK_DGRAM);
    expect_length(send(ends.write, from, kSmall, 0), kSmall, "send");
    expect_length(recv(ends.read, peeked, kSmall, MSG_PEEK), kSmall, "recv MSG_PEEK");
    expect_length(recv(ends.read, to, kSmall, 0), kSmall, "recv");
    check_bytes("recv MSG_PEEK", peeked, kSmall, key);
    check_bytes("recv", to, kSmall, key);
    close_both(ends);
  };
}

// Header, vector, control block and data of a message are all cold; a descriptor travels along.
Use send_message(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  constexpr std::size_t kControl = CMSG_SPACE(sizeof(int));
  auto message = [&buffers](void* data) {
    auto* header = buffers.take<msghdr>();
    header->msg_iov = buffers.take<iovec>();
    header->msg_iovlen = 1;
    *header->msg_iov = {data, kSmall};
    header->msg_control = buffers.take(kControl);
    header->msg_controllen = kControl;
    return header;
  };
  msghdr* out = message(buffers.take_filled(kSmall, key));
  msghdr* in = message(buffers.take(kSmall));
  cmsghdr* rights = CMSG_FIRSTHDR(out);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof(int));
  std::memset(CMSG_DATA(rights), 0, sizeof(int));  // descriptor 0
  return [=] {
    Ends ends = open_socket_pair(SOCK_SEQPACKET);
    expect_length(sendmsg(ends.write, out, 0), kSmall, "sendmsg");
    expect_length(recvmsg(ends.read, in, MSG_CMSG_CLOEXEC), kSmall, "recvmsg");
    check_bytes("recvmsg", in->msg_iov->iov_base, kSmall, key);
    cmsghdr* got = CMSG_FIRSTHDR(in);
    expect(got != nullptr && got->cmsg_type == SCM_RIGHTS, "recvmsg control block");
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(got), sizeof fd);
    expect(fcntl(fd, F_GETFD) >= 0, "descriptor received by recvmsg");
    close(fd);
    close_both(ends);
  };
}

Use send_file(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  Byte* from = buffers.take_filled(kSmall, key);
  Byte* to = buffers.take(kSmall);
  auto* offset = buffers.take<off_t>();
  *offset = 3;
  return [=] {
    int fd = static_cast<int>(checked(open_temporary(), "O_TMPFILE"));
    expect_length(pwrite(fd, from, kSmall, 3), kSmall, "pwrite");
    Ends ends = open_socket_pair(SOCK_STREAM);
    expect_length(sendfile(ends.write, fd, offset, kSmall), kSmall, "sendfile");
    expect(*offset == static_cast<off_t>(3 + kSmall), "sendfile offset");
    expect_length(recv(ends.read, to, kSmall, MSG_WAITALL), kSmall, "recv after sendfile");
    check_bytes("sendfile", to, kSmall, key);
    close_both(ends);
    close(fd);
  };
}

// The pipe holds the program's pages themselves until they are read, and they get cold meanwhile.
Use vmsplice_then_cold(ColdBuffers& buffers) {
  constexpr std::size_t kSize = 12 * kPageSize;
  std::uint64_t key = buffers.key();
  auto* from = buffers.take<iovec>();
  *from = {buffers.take_filled(kSize, key), kSize};
  Byte* to = buffers.take(kSize);
  Ends pipe = open_pipe();
  expect_length(vmsplice(pipe.write, from, 1, 0), kSize, "vmsplice");
  return [=] {
    check_bytes("pages given to vmsplice", from->iov_base, kSize, key);
    expect_length(read(pipe.read, to, kSize), kSize, "read of vmspliced pages");
    check_bytes("vmsplice, then cold", to, kSize, key);
    close_both(pipe);
  };
}

Use vmsplice_of_cold(ColdBuffers& buffers) {
  constexpr std::size_t kSize = 12 * kPageSize;
  std::uint64_t key = buffers.key();
  auto* from = buffers.take<iovec>();
  *from = {buffers.take_filled(kSize, key), kSize};
  Byte* to = buffers.take(kSize);
  return [=] {
    Ends pipe = open_pipe();
    expect_length(vmsplice(pipe.write, from, 1, 0), kSize, "vmsplice of cold pages");
    expect_length(read(pipe.read, to, kSize), kSize, "read of vmspliced cold pages");
    check_bytes("vmsplice of cold pages", to, kSize, key);
    close_both(pipe);
  };
}

Use process_vm(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  auto* local = buffers.take<iovec>();
  auto* remote = buffers.take<iovec>();
  auto* back = buffers.take<iovec>();
  *remote = {buffers.take_filled(kSmall, key), kSmall};
  *local = {buffers.take(kSmall), kSmall};
  *back = {buffers.take(kSmall), kSmall};
  return [=] {
    expect_length(process_vm_readv(getpid(), local, 1, remote, 1, 0), kSmall, "process_vm_readv");
    check_bytes("process_vm_readv", local->iov_base, kSmall, key);
    expect_length(process_vm_writev(getpid(), local, 1, back, 1, 0), kSmall, "process_vm_writev");
    check_bytes("process_vm_writev", back->iov_base, kSmall, key);
  };
}

// io_uring has the pages from before they got cold: what it reads into them later must be the program's.
Use registered_buffers(ColdBuffers& buffers) {
  constexpr unsigned kSize = 24 * kPageSize;
  std::uint64_t key = buffers.key();
  Byte* from = buffers.take_filled(kSize, key);
  Byte* to = buffers.take(kSize);
  auto* ring = new io_uring;
  iovec both[] = {{from, kSize}, {to, kSize}};
  bool good = io_uring_queue_init(4, ring, 0) == 0;
  if (!good || io_uring_register_buffers(ring, both, 2) != 0) {
    return [] { std::printf("note: no io_uring here\n"); };
  }
  return [=] {
    int fd = static_cast<int>(checked(open_temporary(), "O_TMPFILE"));
    auto transfer = [&](bool write) {
      io_uring_sqe* order = io_uring_get_sqe(ring);
      if (write) {
        io_uring_prep_write_fixed(order, fd, from, kSize, 0, 0);
      } else {
        io_uring_prep_read_fixed(order, fd, to, kSize, 0, 1);
      }
      io_uring_cqe* done = nullptr;
      expect(io_uring_submit(ring) == 1 && io_uring_wait_cqe(ring, &done) == 0, "io_uring");
      expect_length(done->res, kSize,
                    write ? "write of a registered buffer" : "read into a registered buffer");
      io_uring_cqe_seen(ring, done);
    };
    transfer(true);
    transfer(false);
    check_bytes("registered buffers", to, kSize, key);
    io_uring_queue_exit(ring);
    delete ring;
    close(fd);
  };
}

// Another process reads this one's cold pages and writes to them.
Use process_vm_from_child(ColdBuffers& buffers) {
  std::uint64_t key = buffers.key();
  Byte* mine = buffers.take_filled(kSmall, key);
  Byte* written = buffers.take(kSmall);
  return [=] {
    pid_t parent = getpid();
    pid_t child = fork();
    if (checked(child, "fork") == 0) {
      static Byte copy[kSmall];
      iovec local{copy, kSmall};
      iovec remote{mine, kSmall};
      iovec remote_written{written, kSmall};
      expect_length(process_vm_readv(parent, &local, 1, &remote, 1, 0), kSmall,
                    "process_vm_readv of the parent");
      check_bytes("process_vm_readv of the parent", copy, kSmall, key);
      expect_length(process_vm_writev(parent, &local, 1, &remote_written, 1, 0), kSmall,
                    "process_vm_writev to the parent");
      _exit(0);
    }
    int status = -1;
    checked(waitpid(child, &status, 0), "waitpid");
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child that reads its parent");
    check_bytes("written by the child", written, kSmall, key);
  };
}

constexpr Prepare kAccesses[] = {
    pipe_write_read,    pipe_read_while_cold, vectors,      file_write_read,
    direct_write_read,  send_recv_peek,       send_message, send_file,
    vmsplice_then_cold, vmsplice_of_cold,     process_vm,   process_vm_from_child,
    registered_buffers,
};

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) {
  return coldtest::run_accesses("kernel_io", coldtest::parse_arguments(argc, argv), coldtest::kAccesses);
}
