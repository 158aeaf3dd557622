#include "sync/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace coldpress::sync {
namespace {

// More threads than cpus, so that the slow way with its sleep is taken too.
constexpr int kThreads = 8;

void on_threads(auto work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (auto& thread : threads) thread.join();
}

TEST(Mutex, IsFourBytes) { EXPECT_EQ(sizeof(Mutex), 4u); }

TEST(Mutex, LetsOneThreadInAtATime) {
  Mutex mutex;
  std::uint64_t counter = 0;  // not atomic: a second thread inside loses counts
  Atomic<int> inside{0};
  Atomic<bool> crowded{false};
  on_threads([&](int) {
    for (int i = 0; i < 20000; ++i) {
      MutexLock lock(mutex);
      if (inside.fetch_add(1) != 0) crowded.store(true);
      ++counter;
      inside.fetch_sub(1);
    }
  });
  EXPECT_EQ(counter, kThreads * 20000u);
  EXPECT_FALSE(crowded.load());
}

TEST(Mutex, SleepersAreWoken) {
  Mutex mutex;
  int entered = 0;
  mutex.lock();
  std::thread threads[3];
  for (auto& thread : threads) {
    thread = std::thread([&] {
      MutexLock lock(mutex);
      ++entered;
    });
  }
  sleep_ns(3000000);  // they are likely asleep by now; the result does not depend on it
  EXPECT_EQ(entered, 0);
  mutex.unlock();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(entered, 3);
}

TEST(Mutex, TryLockNeverWaits) NO_THREAD_SAFETY_ANALYSIS {
  Mutex mutex;
  ASSERT_TRUE(mutex.try_lock());
  EXPECT_FALSE(mutex.try_lock());
  std::thread([&] { EXPECT_FALSE(mutex.try_lock()); }).join();
  mutex.unlock();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(Event, WaitReturnsAtOnceAfterASignal) {
  Event event;
  std::uint32_t ticket = event.ticket();
  event.signal();
  event.wait(ticket);  // for ever, if the signal were lost
  EXPECT_NE(event.ticket(), ticket);
}

TEST(Event, WaitEndsWhenTimeIsUp) {
  Event event;
  std::uint32_t ticket = event.ticket();
  event.wait(ticket, 1000000);
  EXPECT_EQ(event.ticket(), ticket);
}

TEST(Event, NoSignalIsLost) {
  // Two threads hand a turn to and fro; one lost signal and both sleep for ever.
  constexpr int kRounds = 5000;
  Event event;
  Atomic<int> turn{0};
  auto play = [&](int parity) {
    for (int round = parity; round < 2 * kRounds; round += 2) {
      for (;;) {
        std::uint32_t ticket = event.ticket();
        if (turn.load() == round) break;
        event.wait(ticket);
      }
      turn.store(round + 1);
      event.signal();
    }
  };
  std::thread odd(play, 1);
  play(0);
  odd.join();
  EXPECT_EQ(turn.load(), 2 * kRounds);
}

TEST(Event, WakesEverySleeper) {
  Event event;
  Atomic<bool> done{false};
  Atomic<int> awake{0};
  std::thread signaller([&] {
    done.store(true);
    event.signal();
  });
  on_threads([&](int) {
    for (;;) {
      std::uint32_t ticket = event.ticket();
      if (done.load()) break;
      event.wait(ticket);
    }
    awake.fetch_add(1);
  });
  signaller.join();
  EXPECT_EQ(awake.load(), kThreads);
}

}  // namespace
}  // namespace coldpress::sync
