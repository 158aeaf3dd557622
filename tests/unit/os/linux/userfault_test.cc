#include "os/linux/userfault.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "unit/os/linux/test_area.h"

namespace coldpress::os {
namespace {

using testing::all_bytes;
using testing::TestArea;

class UserfaultTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(fault_.open({.events = false})); }
  void TearDown() override { fault_.close(); }
  static std::uint64_t address(const TestArea& area, std::uint64_t page) {
    return (area.first() + page).address();
  }

  Userfault fault_;
  TestArea program_{16};
  TestArea frames_{16};
};

TEST_F(UserfaultTest, SaysHowItWasOpened) {
  EXPECT_NE(fault_.opened_by(), OpenedBy::kNothing);
  EXPECT_GE(fault_.fd(), 0);
  EXPECT_NE(fcntl(fault_.fd(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_NE(fcntl(fault_.fd(), F_GETFL) & O_NONBLOCK, 0);
  fault_.close();
  EXPECT_EQ(fault_.fd(), -1);
}

TEST_F(UserfaultTest, MovesPagesOutAndBack) {
  program_.fill();
  ASSERT_EQ(fault_.register_missing(frames_.range()), MoveStatus::kDone);
  ASSERT_EQ(fault_.register_missing(program_.range()), MoveStatus::kDone);
  MoveResult out = fault_.move(address(frames_, 0), address(program_, 4), 8);
  ASSERT_EQ(out.status, MoveStatus::kDone);
  ASSERT_EQ(out.moved, 8u);
  for (unsigned i = 0; i < 8; ++i) EXPECT_TRUE(all_bytes(frames_.data(i), 5 + i));
  std::memset(frames_.data(2), 0x99, kPageBytes);
  MoveResult back = fault_.move(address(program_, 4), address(frames_, 0), 8);
  ASSERT_EQ(back.moved, 8u);
  EXPECT_TRUE(all_bytes(program_.data(5), 6));
  EXPECT_TRUE(all_bytes(program_.data(6), 0x99)) << "the frame itself came, not a copy";
}

TEST_F(UserfaultTest, StopsAtTheFirstPageThatCanNotBeMoved) {
  program_.fill(0, 3);  // page 3 was never touched
  program_.fill(4, 8);
  ASSERT_EQ(fault_.register_missing(frames_.range()), MoveStatus::kDone);
  MoveResult part = fault_.move(address(frames_, 0), address(program_, 0), 8);
  EXPECT_EQ(part.moved, 3u);
  EXPECT_NE(part.status, MoveStatus::kDone);
  MoveResult hole = fault_.move(address(frames_, 3), address(program_, 3), 5);
  EXPECT_EQ(hole.moved, 0u);
  EXPECT_EQ(hole.status, MoveStatus::kHole);
  MoveResult exists = fault_.move(address(frames_, 0), address(program_, 4), 1);
  EXPECT_EQ(exists.moved, 0u);
  EXPECT_EQ(exists.status, MoveStatus::kExists);
  EXPECT_TRUE(all_bytes(program_.data(4), 5)) << "what was refused stays";
}

TEST_F(UserfaultTest, RefusesAPageSharedWithAChild) {
  program_.fill(0, 1);
  ASSERT_EQ(fault_.register_missing(frames_.range()), MoveStatus::kDone);
  int hold[2];
  ASSERT_EQ(pipe(hold), 0);
  pid_t child = fork();
  if (child == 0) {
    close(hold[1]);
    char byte;
    _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
  }
  EXPECT_EQ(fault_.move(address(frames_, 0), address(program_, 0), 1).status, MoveStatus::kBusy);
  close(hold[1]);
  waitpid(child, nullptr, 0);
  close(hold[0]);
  // Until it is written the page counts as shared, though the child is gone; a write makes it one's own.
  auto* byte = static_cast<volatile std::byte*>(program_.data(0));
  *byte = *byte;
  EXPECT_EQ(fault_.move(address(frames_, 0), address(program_, 0), 1).moved, 1u);
}

TEST_F(UserfaultTest, OtherMappingsAreNotMoved) {
  ASSERT_EQ(fault_.register_missing(frames_.range()), MoveStatus::kDone);
  program_.fill(0, 1);
  mprotect(program_.data(0), kPageBytes, PROT_READ);
  MoveResult result = fault_.move(address(frames_, 0), address(program_, 0), 1);
  EXPECT_EQ(result.moved, 0u);
  EXPECT_EQ(result.status, MoveStatus::kMismatch);
}

TEST_F(UserfaultTest, CopiesAndZeroFills) {
  ASSERT_EQ(fault_.register_missing(program_.range()), MoveStatus::kDone);
  frames_.fill(0, 2);
  EXPECT_EQ(fault_.copy(address(program_, 0), frames_.data(0), 2).moved, 2u);
  EXPECT_TRUE(all_bytes(program_.data(1), 2));
  EXPECT_EQ(fault_.copy(address(program_, 1), frames_.data(0), 1).status, MoveStatus::kExists);
  EXPECT_TRUE(all_bytes(program_.data(1), 2)) << "never over what is there";
  EXPECT_EQ(fault_.zero(address(program_, 2), 4).moved, 4u);
  EXPECT_TRUE(all_bytes(program_.data(5), 0));
  EXPECT_EQ(fault_.zero(address(program_, 5), 1).status, MoveStatus::kExists);
}

TEST_F(UserfaultTest, APoisonedPageGivesABusError) {
  ASSERT_EQ(fault_.register_missing(program_.range()), MoveStatus::kDone);
  ASSERT_EQ(fault_.poison(address(program_, 3)), MoveStatus::kDone);
  EXPECT_TRUE(testing::read_gives_bus_error(program_.data(3)));
  EXPECT_EQ(fault_.zero(address(program_, 4), 1).moved, 1u);
  EXPECT_FALSE(testing::read_gives_bus_error(program_.data(4)));
  EXPECT_NE(fault_.poison(address(program_, 4)), MoveStatus::kDone) << "there is a page";
}

TEST_F(UserfaultTest, FaultsAreTold) {
  ASSERT_EQ(fault_.register_missing(program_.range()), MoveStatus::kDone);
  EXPECT_EQ(fault_.read_message().kind, MessageKind::kNone);
  std::thread toucher([&] { *program_.data(7) = std::byte{1}; });
  pollfd poll_for{fault_.fd(), POLLIN, 0};
  ASSERT_EQ(poll(&poll_for, 1, -1), 1);
  Message message = fault_.read_message();
  EXPECT_EQ(message.kind, MessageKind::kFault);
  EXPECT_EQ(message.range.begin, program_.first() + 7);
  EXPECT_EQ(message.range.pages(), 1u);
  EXPECT_TRUE(message.write);
  ASSERT_EQ(fault_.zero(message.range.begin.address(), 1).moved, 1u);
  toucher.join();
  EXPECT_EQ(*program_.data(7), std::byte{1});
}

TEST_F(UserfaultTest, WakeLetsASleeperLookAgain) {
  ASSERT_EQ(fault_.register_missing(program_.range()), MoveStatus::kDone);
  std::byte seen{};
  std::thread toucher([&] { seen = *program_.data(2); });
  pollfd poll_for{fault_.fd(), POLLIN, 0};
  ASSERT_EQ(poll(&poll_for, 1, -1), 1);
  Message message = fault_.read_message();
  EXPECT_FALSE(message.write);
  // Unregistered and woken, the thread's own fault brings a zero page.
  fault_.unregister(program_.range());
  fault_.wake(program_.range());
  toucher.join();
  EXPECT_EQ(seen, std::byte{0});
}

TEST_F(UserfaultTest, RefusesToRegisterWhatIsNotMapped) {
  PageRange nowhere;
  {
    TestArea gone(4);
    nowhere = gone.range();
  }
  EXPECT_NE(fault_.register_missing(nowhere), MoveStatus::kDone);
}

TEST(Userfault, TellsOfLayoutChanges) {
  Userfault fault;
  ASSERT_TRUE(fault.open({.events = true}));
  TestArea area(8);
  area.fill();
  ASSERT_EQ(fault.register_missing(area.range()), MoveStatus::kDone);
  std::thread changer([&] { madvise(area.data(2), 3 * kPageBytes, MADV_DONTNEED); });
  pollfd poll_for{fault.fd(), POLLIN, 0};
  ASSERT_EQ(poll(&poll_for, 1, -1), 1);
  Message message = fault.read_message();
  EXPECT_EQ(message.kind, MessageKind::kRemove);
  EXPECT_EQ(message.range, (PageRange{area.first() + 2, area.first() + 5}));
  changer.join();
  fault.unregister(area.range());
  fault.close();
}

}  // namespace
}  // namespace coldpress::os
