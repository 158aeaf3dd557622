// Single orders of changes and their messages, one step at a time on the simulated machine.
#include <gtest/gtest.h>

#include "model_main.h"
#include "os/sim/sim_mmu.h"
#include "support/page_pattern.h"
#include "support/space_access.h"

namespace coldpress::testing {
namespace {

constexpr PageIndex kPlace{512 * 300}, kElsewhere{512 * 310};
constexpr std::uint64_t kPages = 8;
constexpr PageRange kThere{kPlace, kPlace + kPages};

class MessagesTest : public ::testing::Test, public os::FaultHandler {
 protected:
  MessagesTest() : sim_({.frame_count = 64}) {
    group_.init(1 << 20, &stats_);
    EXPECT_TRUE(
        space_.init(memory_, sim_, group_, {.pool_bytes = 1 << 20, .max_slots = 1 << 10, .max_leaves = 64}));
    EXPECT_TRUE(make_worker(memory_, {codec::Kind::kLz4, 1}, worker_));
    sim_.set_fault_handler(this);
  }
  void on_fault(PageIndex page, bool write) override { space_.handle_fault(page, write, worker_); }
  void write(PageIndex first, std::uint64_t number) {
    for (std::uint64_t i = 0; i < kPages; ++i) {
      PageContent content = make_content(ContentKind::kCompressible, number + i);
      ASSERT_EQ(sim_.write(first + i, 0, content.data(), kPageBytes), os::Access::kOk);
    }
  }
  void expect(PageIndex first, std::uint64_t number) {
    for (std::uint64_t i = 0; i < kPages; ++i) {
      PageContent content, expected = make_content(ContentKind::kCompressible, number + i);
      ASSERT_EQ(sim_.read(first + i, 0, content.data(), kPageBytes), os::Access::kOk);
      ASSERT_EQ(content, expected) << "page " << i;
    }
  }
  // Takes the messages that are queued, then lets those who wait for them go on.
  void take_messages(std::initializer_list<os::ChangeId> changes) {
    for (bool done = false; !done;) {
      done = true;
      for (os::ChangeId change : changes) done = sim_.advance(change) && done;
      os::Message fault;
      EXPECT_FALSE(space_.take_message(worker_, &fault));
    }
  }

  HeapMemory memory_;
  memgroup::Stats stats_;
  memgroup::Group group_;
  os::SimMmu sim_;
  vm::Space space_;
  vm::Worker worker_;
};

// What is out is moved to a place and unmapped there; both messages are still to come when somebody new is
// mapped at the place. Adopted at once, the newcomer would make the unmap look like somebody else's.
TEST_F(MessagesTest, NothingIsAdoptedWhileAChangeIsUnderWay) {
  using Adopted = vm::Space::Adopted;
  PageRange old{kElsewhere, kElsewhere + kPages};
  sim_.map(old);
  write(old.begin, 100);
  ASSERT_EQ(space_.adopt(old, worker_), Adopted::kYes);
  ASSERT_EQ(space_.page_out(old, worker_), kPages);
  os::ChangeId moved = sim_.begin_remap(old, kPlace, false);
  os::ChangeId unmapped = sim_.begin_unmap(kThere);
  sim_.map(kThere);
  write(kPlace, 200);
  EXPECT_EQ(space_.adopt(kThere, worker_), Adopted::kLater);
  PageRange found[1];
  PageIndex scanned_to;
  EXPECT_EQ(sim_.scan_registered(kThere, found, &scanned_to), 0u) << "registered all the same";
  take_messages({moved, unmapped});
  EXPECT_EQ(stats_.stored_pages.load(), 0u) << "what was moved there and unmapped is still kept";
  EXPECT_EQ(space_.adopt(kThere, worker_), Adopted::kYes);
  EXPECT_EQ(space_.page_out(kThere, worker_), kPages);
  expect(kPlace, 200);
}

// What came back from its rest is passed over by the next turn of the hand; after make_old() it is not.
TEST_F(MessagesTest, WhatIsSaidToBeColdIsNotPassedOver) {
  for (bool cold : {false, true}) {
    PageRange range{kElsewhere, kElsewhere + kPages};
    if (!cold) {
      sim_.map(range);
      write(range.begin, 100);
      ASSERT_EQ(space_.adopt(range, worker_), vm::Space::Adopted::kYes);
    }
    ASSERT_EQ(space_.page_out(range, worker_), kPages);
    expect(range.begin, 100);  // loaded, soon after
    if (cold) space_.make_old(range);
    for (std::uint64_t i = 0; i < kPages; ++i) {
      EXPECT_EQ(space_.pages().get(range.begin + i).skip() > 0, !cold) << "page " << i;
    }
  }
}

// Something comes to a place, grows there, which no message tells, and moves on with its place kept, while
// another change has been under way all the time: "lately" has not ended. The move is the newcomer's.
class GrownInPlaceTest : public MessagesTest {
 protected:
  void run(std::uint64_t out) {
    PageRange old{kElsewhere, kElsewhere + kPages}, other{kElsewhere + 100, kElsewhere + 101};
    PageIndex last{512 * 320};
    for (PageRange range : {old, other}) {
      sim_.map(range);
      ASSERT_EQ(space_.adopt(range, worker_), vm::Space::Adopted::kYes);
    }
    write(old.begin, 100);
    ASSERT_EQ(space_.page_out({old.begin, old.begin + out}, worker_), out);
    os::ChangeId lasting = sim_.begin_unmap(other);
    os::ChangeId moved = sim_.begin_remap(old, kPlace, false);
    take_messages({moved});
    sim_.grow(kPlace, kPages);
    os::ChangeId moved_on = sim_.begin_remap({kPlace, kPlace + 2 * kPages}, last, true);
    take_messages({moved_on});
    take_messages({lasting});
    expect(last, 100);
    for (std::uint64_t i = 0; i < 2 * kPages; ++i) {
      PageContent content;
      ASSERT_EQ(sim_.read(kPlace + i, 0, content.data(), kPageBytes), os::Access::kOk);
      ASSERT_EQ(content, PageContent{}) << "page " << i << " of the place that was kept";
    }
  }
};

TEST_F(GrownInPlaceTest, WithPagesThatAreOut) { run(kPages); }

TEST_F(GrownInPlaceTest, WithSomePagesThatAreThere) { run(kPages / 2); }

}  // namespace
}  // namespace coldpress::testing
