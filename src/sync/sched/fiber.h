// Fibers: the threads of the sched build. One OS thread runs them all, one at a time, switching stacks.
//
// Stacks are mapped once, with a guard page below, and kept: a fiber is prepared again for each execution.
// The switch saves what the x86-64 calling convention says that a callee must keep, nothing else; it makes no
// system call. The sanitizers are told of each switch. ThreadSanitizer is told that a switch orders nothing
// (else the scheduler's baton would hide every race): what orders is annotated where it happens.
//
// Thread safety: one OS thread.
#pragma once

#include <cstddef>

namespace coldpress::sched {

class Fiber {
 public:
  static constexpr std::size_t kStackBytes = 256 << 10;

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // The next switch to it calls entry(argument), which never returns: it switches away for good.
  void prepare(void (*entry)(void*), void* argument);

  // Leaves `from`, which is running, and goes on in `to`; returns when somebody switches back to `from`.
  // `for_good`: nobody will.
  static void switch_from(Fiber& from, Fiber& to, bool for_good = false);

 private:
  static void begin();

  void* stack_pointer_ = nullptr;
  std::byte* stack_ = nullptr;  // lowest usable byte; nullptr: the OS thread's own
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  void* asan_stack_ = nullptr;
  const void* asan_bottom_ = nullptr;  // of the OS thread's own stack, learnt at the first switch
  std::size_t asan_bytes_ = 0;
  void* tsan_ = nullptr;
};

}  // namespace coldpress::sched
