#include "runtime/operation_gate.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace coldpress::runtime {
namespace {

class OperationGateTest : public ::testing::Test {
 protected:
  OperationGateTest() { gate_.init(&finished_, &started_); }
  alignas(8) std::uint64_t finished_ = 0;
  alignas(8) std::uint64_t started_ = 0;
  OperationGate gate_;
};

TEST_F(OperationGateTest, CountsWhatStartedAndWhatFinished) {
  EXPECT_TRUE(gate_.at_rest());
  ASSERT_TRUE(gate_.begin());
  EXPECT_FALSE(gate_.at_rest());
  EXPECT_EQ(started_, 1u);
  EXPECT_EQ(finished_, 0u);
  ASSERT_TRUE(gate_.begin()) << "operations may overlap";
  gate_.end();
  EXPECT_FALSE(gate_.at_rest());
  gate_.end();
  EXPECT_TRUE(gate_.at_rest());
  EXPECT_EQ(started_, 2u);
  EXPECT_EQ(finished_, 2u);
}

TEST_F(OperationGateTest, AClosedGateLetsNobodyIn) {
  gate_.close();
  EXPECT_TRUE(gate_.closed());
  EXPECT_FALSE(gate_.begin());
  EXPECT_TRUE(gate_.at_rest()) << "a refused operation leaves no trace";
  gate_.force_begin();
  EXPECT_FALSE(gate_.at_rest());
  gate_.end();
  EXPECT_TRUE(gate_.at_rest());
  gate_.open();
  EXPECT_FALSE(gate_.closed());
  EXPECT_TRUE(gate_.begin());
  gate_.end();
}

TEST_F(OperationGateTest, CloseWaitsForWhatIsUnderWay) {
  ASSERT_TRUE(gate_.begin());
  sync::Atomic<bool> finished{false};
  std::thread closer([&] {
    gate_.close();
    EXPECT_TRUE(finished.load());
    EXPECT_TRUE(gate_.at_rest());
  });
  while (!gate_.closed()) std::this_thread::yield();
  sync::sleep_ns(1000000);  // it likely sleeps by now; the result does not depend on it
  finished.store(true);
  gate_.end();
  closer.join();
}

TEST_F(OperationGateTest, WaitersGoOnWhenItOpens) {
  gate_.close();
  sync::Atomic<int> inside{0};
  std::thread threads[3];
  for (auto& thread : threads) {
    thread = std::thread([&] {
      gate_.begin_waiting();
      inside.fetch_add(1);
      gate_.end();
    });
  }
  sync::sleep_ns(1000000);
  EXPECT_EQ(inside.load(), 0);
  gate_.open();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(inside.load(), 3);
  EXPECT_TRUE(gate_.at_rest());
}

TEST_F(OperationGateTest, NothingRunsBetweenCloseAndOpen) {
  // Workers write a plain number inside operations; while the gate is closed it must stand still.
  sync::Atomic<bool> stop{false};
  sync::Atomic<std::uint64_t> work{0};
  std::vector<std::thread> workers;
  for (int i = 0; i < 4; ++i) {
    workers.emplace_back([&] {
      while (!stop.load()) {
        gate_.begin_waiting();
        work.fetch_add(1);
        gate_.end();
      }
    });
  }
  for (int round = 0; round < 200; ++round) {
    gate_.close();
    std::uint64_t before = work.load();
    for (int i = 0; i < 50; ++i) std::this_thread::yield();
    ASSERT_EQ(work.load(), before) << "an operation ran behind the closed gate";
    gate_.open();
  }
  stop.store(true);
  for (auto& worker : workers) worker.join();
  EXPECT_TRUE(gate_.at_rest());
}

}  // namespace
}  // namespace coldpress::runtime
