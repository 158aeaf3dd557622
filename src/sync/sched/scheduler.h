// The controlled scheduler: threads are tasks on fibers, one runs at a time, and a Strategy says which.
//
// What sync does in a sched build comes down to these verbs. Before each visible operation the task makes a
// point(): another may go first. There is none at the start of a task, none at unlock and none at a wake-up:
// what could be told apart by them is told apart by the points around them, and each would multiply the
// number of schedules (two tasks of five operations: 252, with one more point each: 924).
//
//  1. choose() is the only source of nondeterminism: the next task, which sleeper wakes, whether one wakes
//     for nothing, whether a weak exchange fails, what a device answers. The same answers give the same
//     execution.
//  2. A task that waits for a lock can be chosen only when the lock is free, and has it when it goes on.
//  3. Time stands still while a task can run. When none can, it goes to the next deadline; a deadline that
//     passes earlier is a choice, and counts as a preemption. That a sleeper wakes for nothing is a choice,
//     too, as long as anything else can happen: a deadlock stays one.
//  4. No task can run and no deadline is left: a deadlock, unless only daemons are left; then they are told
//     to stop. Too many steps: a livelock. Both are failures, as is anything that fail() reports.
//  5. Outside of run(), and while a Quiet lives, nothing is a point: set-up and checks.
//
// Thread safety: one OS thread; one execution at a time. Nothing here allocates from the heap. Under
// ThreadSanitizer this part is not instrumented: all tasks use it, and nothing of it orders them but what is
// announced (locks, the begin and the end of tasks). So none of it is inline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <source_location>
#include <span>
#include <string_view>

#include "sync/sched/fiber.h"

namespace coldpress::sched {

using Where = std::source_location;

inline constexpr std::uint32_t kMaxTasks = 8;

enum class Op : std::uint8_t {
  kLoad,
  kStore,
  kExchange,
  kCas,
  kUpdate,
  kLock,
  kTryLock,
  kUnlock,
  kWait,
  kWake,
  kSleep,
  kEnd,
  kChoice,
  kMark
};

enum class Kind : std::uint8_t { kTask, kSleeper, kWeakCas, kOutcome };

// What is asked of a strategy. Alternatives from `free` on cost a preemption each, those from `surprise` on a
// surprise instead: what may happen for no reason, a wake-up or a weak exchange that fails. 0 is what happens
// when nobody interferes.
struct Question {
  Kind kind;
  std::uint32_t count;
  std::uint32_t free;
  std::uint32_t surprise;
  std::uint32_t can_run = 0;                 // kTask: alternatives from here on wake somebody
  std::span<const std::uint8_t> tasks = {};  // kTask: who the alternatives are
};

class Strategy {
 public:
  virtual std::uint32_t choose(const Question& question) = 0;

 protected:
  ~Strategy() = default;
};

struct Step {
  std::uint32_t number;
  std::uint8_t task;
  Op op;
  bool preempts;
  const void* object;
  std::uint64_t before, after;
  const char* text;
  Where where;
};

// Told of what happens, for traces and reports. fail() does not return.
class Listener {
 public:
  virtual void on_step(const Step& step) = 0;
  virtual void on_choice(std::uint32_t chosen) = 0;
  virtual void on_mark(const char* name) = 0;
  [[noreturn]] virtual void on_failure(std::string_view what) = 0;

 protected:
  ~Listener() = default;
};

struct Limits {
  std::uint32_t steps = 20000;
  std::uint32_t sleeps = 1000;  // of one task, by the clock: more is polling
};

class Scheduler {
 public:
  // --- one execution, from outside of tasks
  void reset(Strategy& strategy, Listener& listener, const Limits& limits, bool traced);
  // Adds a task. A daemon need not end; when only daemons are left, stopping() becomes true and all wake.
  void add(const char* name, void (*entry)(void*), void* argument, bool daemon);
  // Runs all tasks to their end.
  void run();
  bool stopping() const;

  // --- the verbs, from tasks
  // kMaxTasks: none runs.
  std::uint32_t current_task() const;
  bool in_task() const;
  void point(Op op, const void* object, const Where& where);
  // Tells the trace what the operation did.
  void did(std::uint64_t before, std::uint64_t after);
  // `machine`: of what stands for the kernel. A sanitizer is not told that it orders anything, nor sees what
  // is done under it: else it would take every system call for a lock that all threads share.
  void lock(bool& held, const Where& where, bool machine = false);
  bool try_lock(bool& held, const Where& where);
  void unlock(bool& held, bool machine = false);
  // Sleeps until woken through `object`, or for nothing; false: the deadline came first. timeout_ns < 0:
  // none.
  bool block(const void* object, std::int64_t timeout_ns, const Where& where);
  void wake(const void* object, std::uint32_t count);
  std::uint32_t choose(Kind kind, std::uint32_t count, std::uint32_t free);
  std::int64_t now_ns();
  void mark(const char* name);
  // No points from hold() to let_go().
  void hold();
  void let_go();
  [[noreturn]] void fail(std::string_view what);

  // --- for reports
  const char* task_name(std::uint32_t task) const { return tasks_[task].name; }
  std::uint32_t steps() const { return steps_; }
  std::uint64_t digest() const { return digest_; }

 private:
  enum class State : std::uint8_t { kRunnable, kBlocked, kEnded };
  struct Task {
    Fiber fiber;
    const char* name = "";
    void (*entry)(void*) = nullptr;
    void* argument = nullptr;
    State state = State::kEnded;
    bool daemon = false, timed_out = false, surprised = false;
    bool fresh = false;             // was chosen, and has done nothing yet: its next point needs no choice
    const bool* wants = nullptr;    // a lock
    const void* on = nullptr;       // what it sleeps on
    std::int64_t deadline_ns = -1;  // while it sleeps; -1: none
    std::uint32_t sleeps = 0;
    const char* last_woken_by = "nobody";
    Where where;
  };

  static void task_main(void* task);
  void end_task();
  // Decides who goes on, and goes there.
  void reschedule();
  bool can_run(const Task& task) const {
    return task.state == State::kRunnable && (task.wants == nullptr || !*task.wants);
  }
  void time_out(Task& task);
  void wake_for_nothing(Task& task);
  bool let_time_pass();
  void describe_deadlock();
  void switch_to(Task* next);
  void show(std::uint64_t before, std::uint64_t after);
  void record(Op op, const void* object, const Where& where, const char* text);
  void digest(std::uint64_t what);

  Strategy* strategy_ = nullptr;
  Listener* listener_ = nullptr;
  Limits limits_;
  Fiber main_;
  Task tasks_[kMaxTasks];
  std::uint32_t task_count_ = 0;
  Task* current_ = nullptr;
  std::uint32_t quiet_ = 0;
  std::uint32_t steps_ = 0;
  std::uint64_t digest_ = 0;
  std::int64_t now_ns_ = 0;
  bool stopping_ = false, traced_ = false, preempted_ = false;
  Step last_{};
};

Scheduler& scheduler();

// No points while this lives.
class Quiet {
 public:
  Quiet() { scheduler().hold(); }
  ~Quiet() { scheduler().let_go(); }
  Quiet(const Quiet&) = delete;
  Quiet& operator=(const Quiet&) = delete;
};

}  // namespace coldpress::sched
