#include "os/linux/descriptors.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>
#include <thread>

namespace coldpress::os {
namespace {

constexpr std::int64_t kLong = 60000000000;

bool is_open(int fd) { return fcntl(fd, F_GETFD) >= 0; }

// Runs work in a child that this process can not be harmed by; returns its exit status.
int in_child(const std::function<int()>& work) {
  pid_t child = fork();
  if (child == 0) _exit(work());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000;
}

std::string read_all(int fd) {
  char text[2000];
  ssize_t count = read(fd, text, sizeof text);
  return std::string(text, count > 0 ? static_cast<std::size_t>(count) : 0);
}

TEST(CloseAllBut, ClosesEverythingElse) {
  int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, 200), middle = fcntl(low, F_DUPFD, 100);
  int status = in_child([&] {
    int keep[] = {high, -1, low, -1};  // neither sorted nor all used
    close_all_but(keep);
    if (!is_open(low) || !is_open(high)) return 1;
    for (int fd = 0; fd < 1000; ++fd) {
      if (fd != low && fd != high && is_open(fd)) return 2;
    }
    return 0;
  });
  EXPECT_EQ(status, 0) << (status == 1 ? "closed what was to be kept" : "left something open");
  EXPECT_TRUE(is_open(middle)) << "of the child's table only";
  close(low);
  close(middle);
  close(high);
}

TEST(CloseAllBut, TakesTheEndsAndTheEmptyList) {
  EXPECT_EQ(in_child([] {
              int keep[] = {2, 0, 2, 1};
              close_all_but(keep);
              return is_open(0) && is_open(1) && is_open(2) && !is_open(3) ? 0 : 1;
            }),
            0);
  EXPECT_EQ(in_child([] {
              close_all_but({});
              for (int fd = 0; fd < 100; ++fd) {
                if (is_open(fd)) return 1;
              }
              return 0;
            }),
            0);
}

TEST(TakeFromProgram, MakesACopy) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  int copy = take_from_program(pipe_fds[1]);
  ASSERT_GE(copy, 0) << "pidfd_getfd is not allowed here";
  EXPECT_NE(copy, pipe_fds[1]);
  close(pipe_fds[1]);
  EXPECT_EQ(write(copy, "x", 1), 1);
  EXPECT_EQ(read_all(pipe_fds[0]), "x");
  close(copy);
  close(pipe_fds[0]);
  EXPECT_EQ(take_from_program(-1), -1);
  EXPECT_EQ(take_from_program(999999), -1);
}

// Standard error of a child is `fds[1]`; returns what it wrote there.
std::string written(const std::function<void()>& work) {
  int fds[2];
  if (pipe(fds) != 0) return "no pipe";
  in_child([&] {
    dup2(fds[1], 2);
    work();
    return 0;
  });
  close(fds[1]);
  std::string text = read_all(fds[0]);
  close(fds[0]);
  return text;
}

TEST(WriteErrorLine, WritesOneLineWithItsPrefix) {
  EXPECT_EQ(written([] { write_error_line(identify_error_stream(), "hello"); }), "coldpress: hello\n");
}

TEST(WriteErrorLine, CutsAnEndlessLineButEndsIt) {
  std::string text = written([] { write_error_line(identify_error_stream(), std::string(5000, 'x')); });
  EXPECT_LT(text.size(), 1000u);
  ASSERT_GT(text.size(), 600u);
  EXPECT_EQ(text.back(), '\n');
}

TEST(WriteErrorLine, NeverWritesIntoAnotherStream) {
  EXPECT_EQ(written([] {
              ErrorStream stream = identify_error_stream();
              int kept = dup(2);
              // The program reopens number 2 as something of its own.
              char name[] = "/tmp/coldpress-test-XXXXXX";
              int file = mkstemp(name);
              dup2(file, 2);
              write_error_line(stream, "lost");
              struct stat status;
              fstat(file, &status);
              unlink(name);
              const char* verdict = status.st_size == 0 ? "untouched" : "written to";
              if (write(kept, verdict, strlen(verdict)) < 0) _exit(3);
            }),
            "untouched");
}

TEST(WriteErrorLine, SaysNothingWithoutAStream) {
  EXPECT_EQ(written([] { write_error_line(ErrorStream{}, "nobody knows where"); }), "");
  EXPECT_EQ(in_child([] {
              ErrorStream stream = identify_error_stream();
              close(2);
              write_error_line(stream, "closed");
              return identify_error_stream().known ? 1 : 0;
            }),
            0);
}

class SocketPair : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(make_socket_pair(fds_)); }
  void TearDown() override {
    close(fds_[0]);
    close(fds_[1]);
  }
  int fds_[2];
};

TEST_F(SocketPair, IsCloseOnExec) {
  for (int fd : fds_) EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
}

TEST_F(SocketPair, CarriesBytesBothWays) {
  EXPECT_TRUE(send_byte(fds_[0], 'a'));
  EXPECT_TRUE(send_byte(fds_[1], 'b'));
  int fd = 5;
  EXPECT_EQ(receive_byte(fds_[1], kLong, &fd), 'a');
  EXPECT_EQ(fd, -1) << "no descriptor came along";
  EXPECT_EQ(receive_byte(fds_[0], kLong), 'b');
}

TEST_F(SocketPair, CarriesADescriptor) {
  int pipe_fds[2];
  ASSERT_EQ(pipe(pipe_fds), 0);
  EXPECT_TRUE(send_byte(fds_[0], 'd', pipe_fds[1]));
  close(pipe_fds[1]);
  int got = -1;
  EXPECT_EQ(receive_byte(fds_[1], kLong, &got), 'd');
  ASSERT_GE(got, 0);
  EXPECT_NE(fcntl(got, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(write(got, "y", 1), 1);
  EXPECT_EQ(read_all(pipe_fds[0]), "y");
  close(got);
  close(pipe_fds[0]);
}

TEST_F(SocketPair, SaysWhenTheOtherSideIsGone) {
  close(fds_[1]);
  EXPECT_FALSE(send_byte(fds_[0], 'x')) << "and no SIGPIPE";
  EXPECT_EQ(receive_byte(fds_[0], kLong), kEnded);
  fds_[1] = dup(fds_[0]);
}

TEST_F(SocketPair, GivesUpWhenTimeIsUp) {
  EXPECT_EQ(receive_byte(fds_[0], 1000000), 0);
  EXPECT_EQ(receive_byte(fds_[0], 0), 0);
}

TEST_F(SocketPair, WaitsForTheByteToCome) {
  std::thread sender([&] { send_byte(fds_[0], 'z'); });
  EXPECT_EQ(receive_byte(fds_[1], kLong), 'z');
  sender.join();
}

TEST_F(SocketPair, WaitEitherTellsWhichIsReady) {
  int other[2];
  ASSERT_TRUE(make_socket_pair(other));
  EXPECT_EQ(wait_either(fds_[1], other[1], 0), 0);
  send_byte(other[0], 'o');
  EXPECT_EQ(wait_either(fds_[1], other[1], kLong), 2);
  send_byte(fds_[0], 'f');
  EXPECT_EQ(wait_either(fds_[1], other[1], kLong), 3);
  receive_byte(other[1], kLong);
  EXPECT_EQ(wait_either(fds_[1], other[1], kLong), 1);
  close(other[0]);
  EXPECT_EQ(wait_either(fds_[1], other[1], kLong), 3) << "an end is news too";
  close(other[1]);
}

}  // namespace
}  // namespace coldpress::os
