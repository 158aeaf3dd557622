#include "os/linux/linux_mmu.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "os/linux/engine_memory.h"
#include "unit/os/linux/test_area.h"

namespace coldpress::os {
namespace {

using testing::all_bytes;
using testing::TestArea;

constexpr std::int64_t kForever = -1;

class LinuxMmuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(memory_.init(std::size_t{64} << 20));
    ASSERT_TRUE(mmu_.init({.frame_count = kFrames}));
    EXPECT_FALSE(mmu_.active());
    ASSERT_TRUE(mmu_.activate(memory_));
  }
  // Fills pages [from, to), then hands the area to the engine: from now on a touched hole is a fault.
  void manage(std::uint64_t from = 0, std::uint64_t to = 0) {
    area_.fill(from, to);
    ASSERT_TRUE(mmu_.register_range(area_.range()));
  }
  void TearDown() override {
    mmu_.unregister_range(area_.range());
    mmu_.close();
    memory_.destroy();
  }
  PageIndex page(std::uint64_t index) const { return area_.first() + index; }
  std::uint32_t release(FrameId first, std::uint32_t mask) {
    mmu_.release(first, {&mask, 1});
    return mask;
  }
  // Frames that hold memory, found without touching them: a touch of a hole would wait for ever.
  std::uint64_t populated_frames() {
    PageIndex first = page_of(reinterpret_cast<std::uint64_t>(mmu_.frame_data(FrameId{0})));
    return present({first, first + kFrames});
  }
  std::uint64_t present(PageRange range) {
    std::uint64_t pages = 0;
    while (!range.empty()) {
      PageRange found[8];
      PageIndex next;
      std::size_t count = mmu_.scan_present(range, 1000, found, &next);
      for (std::size_t i = 0; i < count; ++i) pages += found[i].pages();
      range.begin = next;
    }
    return pages;
  }

  static constexpr std::uint32_t kFrames = 64;
  static constexpr std::uint64_t kPages = 40;
  TestArea area_{kPages};
  EngineMemory memory_;
  LinuxMmu mmu_;
};

TEST_F(LinuxMmuTest, CaptureAndInstallMoveTheBytes) {
  manage(0, kPages);
  EXPECT_EQ(mmu_.frame_count(), kFrames);
  MoveResult out = mmu_.capture(page(0), FrameId{32}, 32);
  ASSERT_EQ(out.moved, 32u);
  ASSERT_EQ(out.status, MoveStatus::kDone);
  EXPECT_EQ(present({page(0), page(32)}), 0u) << "they left the program";
  EXPECT_EQ(populated_frames(), 32u);
  for (std::uint32_t i = 0; i < 32; ++i) ASSERT_TRUE(all_bytes(mmu_.frame_data(FrameId{32 + i}), i + 1));
  MoveResult back = mmu_.install(page(0), FrameId{32}, 32);
  ASSERT_EQ(back.moved, 32u);
  EXPECT_EQ(populated_frames(), 0u);
  for (std::uint32_t i = 0; i < 32; ++i) ASSERT_TRUE(all_bytes(area_.data(i), i + 1));
}

TEST_F(LinuxMmuTest, CaptureRefusesHolesAndUsedFrames) {
  manage(0, 4);
  EXPECT_EQ(mmu_.capture(page(10), FrameId{0}, 1).status, MoveStatus::kHole);
  ASSERT_EQ(mmu_.capture(page(0), FrameId{0}, 1).moved, 1u);
  EXPECT_EQ(mmu_.capture(page(1), FrameId{0}, 1).status, MoveStatus::kExists);
  *mmu_.frame_data(FrameId{1}) = std::byte{0};  // as mlockall() would
  EXPECT_EQ(mmu_.capture(page(1), FrameId{1}, 1).status, MoveStatus::kExists);
  EXPECT_EQ(mmu_.install(page(1), FrameId{0}, 1).status, MoveStatus::kExists);
  EXPECT_EQ(mmu_.install(page(0), FrameId{0}, 1).moved, 1u);
  EXPECT_TRUE(all_bytes(area_.data(0), 1));
}

// The accessed bits of pages go while they move. Every answer must be what happened.
TEST_F(LinuxMmuTest, MovesAreCountedRightWhilePagesAge) {
  manage(0, 32);
  auto value = [](std::uint32_t i) { return i == 5 || i == 6 || i == 31 ? 0 : i + 1; };
  for (std::uint32_t i : {5u, 6u, 31u}) std::memset(area_.data(i), 0, kPageBytes);
  std::atomic<bool> stop{false};
  std::thread ager([&] {
    while (!stop) {
      madvise(area_.data(), 32 * kPageBytes, MADV_COLD);
      madvise(mmu_.frame_data({0}), 64 * kPageBytes, MADV_COLD);
    }
  });
  auto touch = [](const std::byte* page) { (void)*const_cast<const volatile std::byte*>(page); };
  for (int round = 0; round < 3000 && !HasFailure(); ++round) {
    std::uint32_t out = 0, back = 0;
    while (out < 32 && !HasFailure()) {
      for (std::uint32_t i = out; i < 32; ++i) touch(area_.data(i));
      MoveResult result = mmu_.capture(page(out), {out}, 32 - out);
      EXPECT_NE(result.status, MoveStatus::kExists);
      out += result.moved;
      EXPECT_EQ(present({page(0), page(32)}), 32 - out);
    }
    while (back < 32 && !HasFailure()) {
      for (std::uint32_t i = back; i < 32; ++i) touch(mmu_.frame_data({i}));
      MoveResult result = mmu_.install(page(back), {back}, round % 2 == 0 ? 32 - back : 1);
      EXPECT_NE(result.status, MoveStatus::kExists);
      back += result.moved;
      EXPECT_EQ(populated_frames(), 32 - back);
    }
    for (std::uint32_t i = 0; i < 32 && !HasFailure(); ++i)
      EXPECT_TRUE(all_bytes(area_.data(i), value(i))) << i;
    // Frames go back to the machine, all of them, in a few tries.
    for (std::uint32_t i = 32; i < 64; ++i) *mmu_.frame_data({i}) = std::byte{1};
    std::uint32_t left = ~0u;
    for (int tries = 0; left != 0 && tries < 1000; ++tries) left &= ~release({32}, left);
    EXPECT_EQ(left, 0u);
    EXPECT_EQ(populated_frames(), 0u);
  }
  stop = true;
  ager.join();
}

TEST_F(LinuxMmuTest, InstallCopyBringsAPageFromAnywhere) {
  manage();
  alignas(4096) static std::array<std::byte, 2 * kPageBytes> buffer;
  buffer.fill(std::byte{0x42});
  EXPECT_EQ(mmu_.install_copy(page(5), buffer.data(), 2).moved, 2u);
  EXPECT_TRUE(all_bytes(area_.data(6), 0x42));
  EXPECT_EQ(mmu_.install_copy(page(5), buffer.data(), 1).status, MoveStatus::kExists);
}

TEST_F(LinuxMmuTest, FillZeroForReadingAndWriting) {
  manage();
  ASSERT_EQ(mmu_.fill_zero(page(0), 10, false).moved, 10u);
  EXPECT_EQ(present({page(0), page(10)}), 0u) << "the shared zero page is nobody's memory";
  ASSERT_EQ(mmu_.fill_zero(page(10), 10, true).moved, 10u);
  EXPECT_EQ(present({page(10), page(20)}), 10u);
  for (std::uint64_t i = 0; i < 20; ++i) ASSERT_TRUE(all_bytes(area_.data(i), 0));
  *area_.data(3) = std::byte{9};
  *area_.data(13) = std::byte{9};
  EXPECT_EQ(mmu_.fill_zero(page(3), 1, true).status, MoveStatus::kExists);
  EXPECT_EQ(*area_.data(3), std::byte{9});
  // What the zeros were copied from must still be zero.
  ASSERT_EQ(mmu_.fill_zero(page(20), 20, true).moved, 20u);
  for (std::uint64_t i = 20; i < 40; ++i) ASSERT_TRUE(all_bytes(area_.data(i), 0));
}

TEST_F(LinuxMmuTest, APoisonedPageGivesABusError) {
  manage();
  ASSERT_EQ(mmu_.poison(page(1)), MoveStatus::kDone);
  EXPECT_TRUE(testing::read_gives_bus_error(area_.data(1)));
}

TEST_F(LinuxMmuTest, ScanFindsRunsInOrder) {
  area_.fill(2, 5);
  area_.fill(9, 10);
  manage(30, 40);
  ASSERT_EQ(mmu_.fill_zero(page(6), 1, false).moved, 1u);
  PageRange found[8];
  PageIndex next;
  ASSERT_EQ(mmu_.scan_present(area_.range(), 1000, found, &next), 3u);
  EXPECT_EQ(found[0], (PageRange{page(2), page(5)}));
  EXPECT_EQ(found[1], (PageRange{page(9), page(10)}));
  EXPECT_EQ(found[2], (PageRange{page(30), page(40)}));
  EXPECT_EQ(next, page(40));
}

TEST_F(LinuxMmuTest, ScanStopsWhereItWasToldAndGoesOn) {
  manage(0, kPages);
  PageRange found[8];
  PageIndex next;
  ASSERT_EQ(mmu_.scan_present(area_.range(), 16, found, &next), 1u);
  EXPECT_EQ(found[0], (PageRange{page(0), page(16)}));
  EXPECT_EQ(next, page(16));
  for (std::uint32_t i = 1; i < kPages; i += 2) ASSERT_EQ(mmu_.capture(page(i), FrameId{i}, 1).moved, 1u);
  ASSERT_EQ(mmu_.scan_present(area_.range(), 1000, {found, 3}, &next), 3u)
      << "no more than there is room for";
  EXPECT_EQ(found[2].begin, page(4));
  EXPECT_GT(next, page(4));
  EXPECT_LE(next, page(6));
}

TEST_F(LinuxMmuTest, ReleaseMakesHolesOfFrames) {
  manage(0, kPages);
  ASSERT_EQ(mmu_.capture(page(0), FrameId{0}, 32).moved, 32u);
  EXPECT_EQ(release(FrameId{0}, 0b1011), 0b1011u);
  EXPECT_EQ(populated_frames(), 29u);
  EXPECT_TRUE(all_bytes(mmu_.frame_data(FrameId{2}), 3)) << "the others stay";
  EXPECT_EQ(release(FrameId{0}, 0b1111), 0b1111u) << "a hole is as good as released";
  EXPECT_EQ(release(FrameId{0}, ~0u), ~0u);
  EXPECT_EQ(populated_frames(), 0u);
  EXPECT_EQ(release(FrameId{0}, 0), 0u);
  EXPECT_EQ(mmu_.capture(page(32), FrameId{0}, 8).moved, 8u) << "and can be used again";
}

TEST_F(LinuxMmuTest, ManyFramesAreReleasedAtOnceAndNoOthers) {
  manage(0, kPages);
  ASSERT_EQ(mmu_.capture(page(0), FrameId{12}, 20).moved, 20u);
  ASSERT_EQ(mmu_.capture(page(20), FrameId{32}, 20).moved, 20u);
  constexpr std::uint32_t kFirst = ~0u << 14, kSecond = 0xfffdf;  // 12, 13 and 37 stay
  std::uint32_t masks[] = {kFirst, kSecond};
  mmu_.release(FrameId{0}, masks);
  EXPECT_EQ(masks[0], kFirst);
  EXPECT_EQ(masks[1], kSecond);
  EXPECT_EQ(populated_frames(), 3u);
  for (std::uint32_t stays : {12u, 13u, 37u})
    EXPECT_TRUE(all_bytes(mmu_.frame_data(FrameId{stays}), stays - 11)) << stays;
  std::uint32_t all[] = {~0u, ~0u};
  mmu_.release(FrameId{0}, all);
  EXPECT_EQ(all[0] & all[1], ~0u);
  EXPECT_EQ(populated_frames(), 0u);
}

TEST_F(LinuxMmuTest, AFaultIsAMessageAndInstallEndsIt) {
  manage(0, kPages);
  ASSERT_EQ(mmu_.capture(page(7), FrameId{3}, 1).moved, 1u);
  EXPECT_EQ(mmu_.next_message().kind, MessageKind::kNone);
  std::byte seen{};
  std::thread toucher([&] { seen = *area_.data(7); });
  mmu_.wait_message(kForever);
  Message message = mmu_.next_message();
  EXPECT_EQ(message.kind, MessageKind::kFault);
  EXPECT_EQ(message.range, (PageRange{page(7), page(8)}));
  EXPECT_FALSE(message.write);
  EXPECT_NE(message.thread, 0u);
  EXPECT_EQ(mmu_.install(page(7), FrameId{3}, 1).moved, 1u);
  toucher.join();
  EXPECT_EQ(seen, std::byte{8});
}

TEST_F(LinuxMmuTest, NothingMovesWhileALayoutMessageWaits) {
  manage(0, 20);
  ASSERT_EQ(mmu_.capture(page(0), FrameId{0}, 2).moved, 2u);
  std::thread changer([&] { madvise(area_.data(10), 2 * kPageBytes, MADV_DONTNEED); });
  mmu_.wait_message(kForever);
  EXPECT_EQ(mmu_.capture(page(4), FrameId{8}, 1).status, MoveStatus::kChanging);
  EXPECT_EQ(mmu_.install(page(0), FrameId{0}, 1).status, MoveStatus::kChanging);
  EXPECT_EQ(mmu_.fill_zero(page(30), 1, false).status, MoveStatus::kChanging);
  EXPECT_EQ(mmu_.fill_zero(page(30), 1, true).status, MoveStatus::kChanging);
  static constexpr std::byte kBytes[kPageBytes] = {};
  EXPECT_EQ(mmu_.install_copy(page(30), kBytes, 1).status, MoveStatus::kChanging);
  EXPECT_EQ(mmu_.poison(page(30)), MoveStatus::kChanging);
  Message message = mmu_.next_message();
  EXPECT_EQ(message.kind, MessageKind::kRemove);
  EXPECT_EQ(message.range, (PageRange{page(10), page(12)}));
  // The kernel lets go only when the thread that it has told of is running again.
  changer.join();
  EXPECT_EQ(mmu_.install(page(0), FrameId{0}, 2).moved, 2u) << "the message is taken";
}

TEST_F(LinuxMmuTest, UnmapAndRemapAreTold) {
  manage(0, kPages);
  std::thread unmapper([&] { munmap(area_.data(4), 2 * kPageBytes); });
  mmu_.wait_message(kForever);
  Message message = mmu_.next_message();
  EXPECT_EQ(message.kind, MessageKind::kUnmap);
  EXPECT_EQ(message.range, (PageRange{page(4), page(6)}));
  unmapper.join();
  EXPECT_EQ(mmu_.capture(page(4), FrameId{0}, 1).moved, 0u);

  TestArea target(4);
  std::thread mover([&] {
    mremap(area_.data(20), 4 * kPageBytes, 4 * kPageBytes, MREMAP_MAYMOVE | MREMAP_FIXED, target.data());
  });
  mmu_.wait_message(kForever);
  message = mmu_.next_message();
  // The move also unmaps where it was; the order of the two is the kernel's.
  if (message.kind == MessageKind::kUnmap) {
    mmu_.wait_message(kForever);
    message = mmu_.next_message();
  }
  ASSERT_EQ(message.kind, MessageKind::kRemap);
  EXPECT_EQ(message.range, (PageRange{page(20), page(24)}));
  EXPECT_EQ(message.target, target.first());
  // Whatever else the call has to tell is taken until it is through.
  sync::Atomic<bool> through{false};
  std::thread taker([&] {
    while (!through.load()) {
      mmu_.wait_message(1000000);
      mmu_.next_message();
    }
  });
  mover.join();
  through.store(true);
  taker.join();
  EXPECT_TRUE(all_bytes(target.data(0), 21));
  mmu_.unregister_range(target.range());
}

TEST_F(LinuxMmuTest, InterruptEndsEveryWait) {
  manage();
  mmu_.wait_message(0);
  std::thread waiter([&] { mmu_.wait_message(kForever); });
  mmu_.interrupt();
  waiter.join();
  mmu_.wait_message(kForever);  // and every later one
}

TEST_F(LinuxMmuTest, NamesItsDescriptors) {
  manage();
  int fds[4];
  mmu_.descriptors(fds);
  for (int fd : fds) EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_EQ(fds[0], mmu_.main().fd());
  EXPECT_TRUE(mmu_.belongs_to_this_process(fds[0]));
}

// Fails: with frame 0 a hole and frame 1 in use, the question moves frame 1's page into frame 0.
TEST_F(LinuxMmuTest, AskingWhoseDescriptorItIsMovesNothing) {
  manage(0, 2);
  ASSERT_EQ(mmu_.capture(page(1), FrameId{1}, 1).moved, 1u);
  EXPECT_TRUE(mmu_.belongs_to_this_process(mmu_.main().fd()));
  PageIndex frame = page_of(reinterpret_cast<std::uint64_t>(mmu_.frame_data(FrameId{1})));
  EXPECT_EQ(present({frame, frame + 1}), 1u) << "frame 1 lost its page";
}

TEST(LinuxMmu, SaysWhenThereIsNoRoomForItsFrames) {
  EngineMemory memory;
  ASSERT_TRUE(memory.init(std::size_t{1} << 20));
  LinuxMmu mmu;
  ASSERT_TRUE(mmu.init({.frame_count = 4096}));
  Status status = mmu.activate(memory);
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().text.view().find("address space"), std::string_view::npos);
  EXPECT_FALSE(mmu.active());
  mmu.close();
  memory.destroy();
}

}  // namespace
}  // namespace coldpress::os
