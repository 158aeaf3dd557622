// Threads that read and write pages with known content, and a signal handler that does the same, which comes
// at any moment to any of them: also while one of them is inside the engine.
#pragma once

#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <thread>
#include <vector>

#include "content.h"

namespace coldtest {

// What the calling thread does with it. `how`: as of pthread_sigmask().
inline void for_alarm(int how) {
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  require(pthread_sigmask(how, &alarm, nullptr) == 0, "pthread_sigmask");
}

class Interrupts {
 public:
  // The pages from `base` on: those that only read, then as many that count.
  Interrupts(Byte* base, std::size_t pages) : base_(base), half_(pages / 2) {
    for (std::size_t i = 0; i < half_; ++i) fill_page(page(i), compressible_key(i));
    for (std::size_t i = half_; i < 2 * half_; ++i) *counter(i - half_) = 0;
    self = this;
    struct sigaction action {};
    action.sa_handler = [](int) { self->touch(self->handler_random_.fetch_add(1)); };
    action.sa_flags = SA_RESTART;
    require(sigaction(SIGALRM, &action, nullptr) == 0, "sigaction");
    // Threads that are made later let it in: it goes to those that are at work.
    for_alarm(SIG_BLOCK);
    constexpr itimerval kOften{{0, 150}, {0, 150}};
    require(setitimer(ITIMER_REAL, &kOften, nullptr) == 0, "setitimer");
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts() { setitimer(ITIMER_REAL, &kNever, nullptr); }

  // One page is read and one is counted up, both anywhere.
  void touch(std::uint64_t number) {
    std::uint64_t random = mix(number);
    std::size_t i = random % half_;
    check_page("page", page(i), compressible_key(i));
    __atomic_fetch_add(counter((random >> 32) % half_), 1, __ATOMIC_RELAXED);
    touched_.fetch_add(1);
  }

  // After all threads have ended.
  void check() {
    setitimer(ITIMER_REAL, &kNever, nullptr);
    std::uint64_t counted = 0;
    for (std::size_t i = 0; i < half_; ++i) {
      check_page("page", page(i), compressible_key(i));
      counted += *counter(i);
    }
    if (counted != touched_) die("MISMATCH: %zu of %zu were counted", counted, std::size_t{touched_});
    if (handler_random_ < kHandlerSeed + 100) die("FAILED: few signals came");
  }

 private:
  static constexpr std::uint64_t kHandlerSeed = std::uint64_t{1} << 60;
  static constexpr itimerval kNever{};
  static inline Interrupts* self;

  Byte* page(std::size_t i) { return base_ + i * kPageSize; }
  std::uint64_t* counter(std::size_t i) { return reinterpret_cast<std::uint64_t*>(page(half_ + i)); }

  Byte* base_;
  std::size_t half_;
  std::atomic<std::uint64_t> handler_random_{kHandlerSeed}, touched_{0};
};

// `act`, if there is one, is called now and then.
template <typename Act>
void touch_in_threads(Interrupts& interrupts, unsigned threads, std::uint64_t touches, Act act) {
  std::vector<std::thread> all;
  for (std::uint64_t id = 0; id < threads; ++id) {
    all.emplace_back([&, id] {
      for_alarm(SIG_UNBLOCK);
      for (std::uint64_t i = 0; i < touches; ++i) {
        interrupts.touch(id << 40 | i);
        if (i % 64 == 0) act(id, i / 64);
      }
    });
  }
  for (std::thread& thread : all) thread.join();
}

}  // namespace coldtest
