#include "sync/thread.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>

namespace coldpress::sync {
namespace {

void* run(void* argument) {
  auto* thread = static_cast<Thread*>(argument);
  if (thread->cpu >= 0) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(thread->cpu), &set);
    sched_setaffinity(0, sizeof set, &set);
  }
  prctl(PR_SET_NAME, thread->name);
  thread->entry(thread->argument);
  return nullptr;
}

}  // namespace

bool start_thread(Thread& thread) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t id;
  bool started = pthread_create(&id, nullptr, run, &thread) == 0;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  thread.handle = started ? reinterpret_cast<void*>(id) : nullptr;
  return started;
}

void join_thread(Thread& thread) {
  if (thread.handle != nullptr) pthread_join(reinterpret_cast<pthread_t>(thread.handle), nullptr);
  thread.handle = nullptr;
}

}  // namespace coldpress::sync
