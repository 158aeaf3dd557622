// Threads of the engine.
//
// Two implementations, chosen at link time: thread_pthread.cc for programs that link libcoldpress, and
// thread_clone.cc for the preload library, whose threads must not go through the C library (pthread_create
// allocates from the program's heap). Engine threads block every signal and never end by themselves before
// stop is asked for.
#pragma once

#include <cstddef>

#include "sync/atomic.h"

namespace coldpress::sync {

struct Thread {
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
  const char* name = "coldpress";
  int cpu = -1;                  // pinned to this cpu, or -1
  bool own_descriptors = false;  // clone only: starts with a copy of the file table, not the table
  std::byte* stack = nullptr;    // clone only: the caller's memory, stack_bytes long
  std::size_t stack_bytes = 0;
  void* handle = nullptr;        // pthread only
  Atomic<std::uint32_t> tid{0};  // non-zero while the thread lives; the kernel clears it
};

// Starts the thread described. false: the system refused; nothing was started.
[[nodiscard]] bool start_thread(Thread& thread);

// Waits until the thread has ended.
void join_thread(Thread& thread);

}  // namespace coldpress::sync
