// sync::Mutex under the controlled scheduler (sync/mutex.h has the contract): who wants it can be chosen only
// when it is free. Thread safety: tasks, which are one thread.
#pragma once

#include "sync/annotations.h"
#include "sync/sched/scheduler.h"

namespace coldpress::sync {
inline namespace fibers {

inline void pause() {}

class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock(const sched::Where& where = sched::Where::current()) ACQUIRE() {
    sched::scheduler().lock(held_, where);
  }
  bool try_lock(const sched::Where& where = sched::Where::current()) TRY_ACQUIRE(true) {
    return sched::scheduler().try_lock(held_, where);
  }
  void unlock() RELEASE() { sched::scheduler().unlock(held_); }
  void lock_machine(const sched::Where& where) ACQUIRE() { sched::scheduler().lock(held_, where, true); }
  void unlock_machine() RELEASE() { sched::scheduler().unlock(held_, true); }

 private:
  bool held_ = false;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex, const sched::Where& where = sched::Where::current()) ACQUIRE(mutex)
      : mutex_(mutex) {
    mutex_.lock(where);
  }
  ~MutexLock() RELEASE() { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace fibers
}  // namespace coldpress::sync
