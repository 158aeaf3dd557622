#include "sync/sched/scheduler.h"

#include <cstring>

#include "base/check.h"
#include "base/log.h"
#include "sync/sched/names.h"

#ifdef COLDPRESS_SCHED_TSAN
#include <sanitizer/tsan_interface.h>
#define COLDPRESS_ORDER_AFTER(object) __tsan_acquire(const_cast<void*>(static_cast<const void*>(object)))
#define COLDPRESS_ORDER_BEFORE(object) __tsan_release(const_cast<void*>(static_cast<const void*>(object)))
extern "C" {
void AnnotateIgnoreReadsBegin(const char* file, int line);
void AnnotateIgnoreReadsEnd(const char* file, int line);
void AnnotateIgnoreWritesBegin(const char* file, int line);
void AnnotateIgnoreWritesEnd(const char* file, int line);
}
#else
#define COLDPRESS_ORDER_AFTER(object) static_cast<void>(0)
#define COLDPRESS_ORDER_BEFORE(object) static_cast<void>(0)
#endif

namespace coldpress::sched {
namespace {

constinit Scheduler the_scheduler;

constexpr std::int64_t kLookNs = 1000;  // what it takes to read the clock

// Accesses in between are none of the engine's: a sanitizer does not look at them.
void begin_outside() {
#ifdef COLDPRESS_SCHED_TSAN
  AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
  AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
#endif
}
void end_outside() {
#ifdef COLDPRESS_SCHED_TSAN
  AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
  AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
#endif
}

// What strategies and listeners keep is no business of the tasks' order, nor are the copies and allocations
// that the C library makes for them.
class Outside {
 public:
  Outside() { begin_outside(); }
  ~Outside() { end_outside(); }
  Outside(const Outside&) = delete;
  Outside& operator=(const Outside&) = delete;
};

}  // namespace

Scheduler& scheduler() { return the_scheduler; }

bool Scheduler::stopping() const { return stopping_; }

std::uint32_t Scheduler::current_task() const {
  return current_ == nullptr ? kMaxTasks : static_cast<std::uint32_t>(current_ - tasks_);
}

bool Scheduler::in_task() const { return current_ != nullptr && quiet_ == 0; }

void Scheduler::hold() { ++quiet_; }

void Scheduler::let_go() { --quiet_; }

void Scheduler::reset(Strategy& strategy, Listener& listener, const Limits& limits, bool traced) {
  strategy_ = &strategy;
  listener_ = &listener;
  limits_ = limits;
  traced_ = traced;
  task_count_ = steps_ = quiet_ = 0;
  current_ = nullptr;
  digest_ = 0xcbf29ce484222325;
  now_ns_ = 1'000'000'000;
  stopping_ = preempted_ = false;
}

void Scheduler::add(const char* name, void (*entry)(void*), void* argument, bool daemon) {
  COLDPRESS_CHECK(task_count_ < kMaxTasks && current_ == nullptr);
  Task& task = tasks_[task_count_++];
  task.name = name;
  task.entry = entry;
  task.argument = argument;
  task.state = State::kRunnable;
  task.daemon = daemon;
  task.wants = nullptr;
  task.on = nullptr;
  task.deadline_ns = -1;
  task.sleeps = 0;
  task.fresh = true;
  task.last_woken_by = "nobody";
  task.fiber.prepare(&task_main, &task);
}

void Scheduler::task_main(void* argument) {
  auto* task = static_cast<Task*>(argument);
  COLDPRESS_ORDER_AFTER(task);
  task->entry(task->argument);
  COLDPRESS_ORDER_BEFORE(task);
  scheduler().end_task();
}

void Scheduler::run() {
  for (std::uint32_t i = 0; i < task_count_; ++i) COLDPRESS_ORDER_BEFORE(&tasks_[i]);
  reschedule();
  for (std::uint32_t i = 0; i < task_count_; ++i) COLDPRESS_ORDER_AFTER(&tasks_[i]);
}

void Scheduler::end_task() {
  record(Op::kEnd, nullptr, Where::current(), nullptr);
  current_->state = State::kEnded;
  reschedule();
}

void Scheduler::switch_to(Task* next) {
  Task* from = current_;
  if (from == next) return;
  current_ = next;
  Fiber::switch_from(from == nullptr ? main_ : from->fiber, next == nullptr ? main_ : next->fiber,
                     from != nullptr && from->state == State::kEnded);
}

void Scheduler::reschedule() {
  for (;;) {
    std::uint8_t alternatives[2 * kMaxTasks];
    std::uint32_t count = 0;
    bool stays = current_ != nullptr && can_run(*current_);
    if (stays) alternatives[count++] = static_cast<std::uint8_t>(current_ - tasks_);
    for (std::uint32_t i = 0; i < task_count_; ++i) {
      if (&tasks_[i] != current_ && can_run(tasks_[i])) alternatives[count++] = static_cast<std::uint8_t>(i);
    }
    if (count == 0) {
      if (let_time_pass()) continue;
      bool ended = true, only_daemons = true;
      for (std::uint32_t i = 0; i < task_count_; ++i) {
        if (tasks_[i].state == State::kEnded) continue;
        ended = false;
        only_daemons = only_daemons && tasks_[i].daemon;
      }
      if (ended) return switch_to(nullptr);
      if (!only_daemons || stopping_) describe_deadlock();
      stopping_ = true;
      for (std::uint32_t i = 0; i < task_count_; ++i) {
        if (tasks_[i].state == State::kBlocked) time_out(tasks_[i]);
      }
      continue;
    }
    std::uint32_t free = stays ? 1 : count, can_run = count, surprises = 0;
    std::uint8_t sleepers[kMaxTasks];
    for (std::uint32_t i = 0; i < task_count_; ++i) {
      if (tasks_[i].state != State::kBlocked) continue;
      if (tasks_[i].deadline_ns >= 0) alternatives[count++] = static_cast<std::uint8_t>(i);
      if (tasks_[i].on != nullptr) sleepers[surprises++] = static_cast<std::uint8_t>(i);
    }
    std::uint32_t surprise = count;
    for (std::uint32_t i = 0; i < surprises; ++i) alternatives[count++] = sleepers[i];
    std::uint32_t chosen = 0;
    if (count > 1) {
      Outside outside;
      chosen = strategy_->choose({Kind::kTask, count, free, surprise, can_run, {alternatives, count}});
      COLDPRESS_CHECK(chosen < count);
      listener_->on_choice(chosen);
    }
    preempted_ = chosen >= free;
    Task& next = tasks_[alternatives[chosen]];
    if (chosen >= surprise) {
      wake_for_nothing(next);
    } else if (next.state == State::kBlocked) {
      time_out(next);
    }
    return switch_to(&next);
  }
}

void Scheduler::time_out(Task& task) {
  if (task.deadline_ns > now_ns_) now_ns_ = task.deadline_ns;
  task.state = State::kRunnable;
  task.timed_out = true;
  task.last_woken_by = "the clock";
}

void Scheduler::wake_for_nothing(Task& task) {
  task.state = State::kRunnable;
  task.surprised = true;
  task.last_woken_by = "nothing";
}

bool Scheduler::let_time_pass() {
  Task* first = nullptr;
  for (std::uint32_t i = 0; i < task_count_; ++i) {
    Task& task = tasks_[i];
    // Daemons that look from time to time keep nobody alive.
    if (task.state != State::kBlocked || task.deadline_ns < 0) continue;
    if (first == nullptr || task.deadline_ns < first->deadline_ns) first = &task;
  }
  bool others = false;
  for (std::uint32_t i = 0; i < task_count_; ++i) {
    others = others || (tasks_[i].state != State::kEnded && !tasks_[i].daemon);
  }
  if (first == nullptr || (!others && !stopping_)) return false;
  time_out(*first);
  return true;
}

void Scheduler::describe_deadlock() {
  Text text;
  text << "deadlock:";
  for (std::uint32_t i = 0; i < task_count_; ++i) {
    const Task& task = tasks_[i];
    if (task.state == State::kEnded) continue;
    const char* file = std::strrchr(task.where.file_name(), '/');
    const void* object = task.wants != nullptr ? task.wants : task.on;
    char name[Names::kMostLetters + 1];
    bool named = object != nullptr && names().find(object, name);
    text << "\n  " << task.name << (task.wants != nullptr ? " waits for a lock" : " sleeps")
         << (named ? ", " : "") << (named ? name : "") << (named ? ", at " : " at ")
         << (file != nullptr ? file + 1 : task.where.file_name()) << ":" << task.where.line()
         << ", last woken by " << task.last_woken_by;
  }
  fail(text.view());
}

void Scheduler::record(Op op, const void* object, const Where& where, const char* text) {
  auto task = static_cast<std::uint64_t>(current_ - tasks_);
  digest(task << 40 | static_cast<std::uint64_t>(op) << 32 | where.line());
  if (!traced_) return;
  last_ = {steps_, static_cast<std::uint8_t>(task), op, preempted_, object, 0, 0, text, where};
  preempted_ = false;
  Outside outside;
  listener_->on_step(last_);
}

void Scheduler::point(Op op, const void* object, const Where& where) {
  if (!in_task()) return;
  if (++steps_ > limits_.steps) fail("livelock: more steps than an execution may take");
  current_->where = where;
  if (!current_->fresh || !can_run(*current_)) reschedule();
  current_->fresh = false;
  record(op, object, where, nullptr);
}

void Scheduler::did(std::uint64_t before, std::uint64_t after) {
  if (!in_task()) return;
  digest(before);
  digest(after);
  show(before, after);
}

void Scheduler::digest(std::uint64_t what) { digest_ = (digest_ ^ what) * 0x100000001b3; }

void Scheduler::show(std::uint64_t before, std::uint64_t after) {
  if (!traced_) return;
  last_.before = before;
  last_.after = after;
  last_.text = "";
  Outside outside;
  listener_->on_step(last_);
}

void Scheduler::lock(bool& held, const Where& where, bool machine) {
  if (in_task()) {
    current_->wants = &held;
    point(Op::kLock, &held, where);
    current_->wants = nullptr;
  }
  COLDPRESS_CHECK(!held);  // outside of tasks: nobody else runs, so nobody would ever unlock it
  held = true;
  if (machine) {
    begin_outside();
  } else {
    COLDPRESS_ORDER_AFTER(&held);
  }
}

bool Scheduler::try_lock(bool& held, const Where& where) {
  point(Op::kTryLock, &held, where);
  if (held) return false;
  held = true;
  COLDPRESS_ORDER_AFTER(&held);
  return true;
}

void Scheduler::unlock(bool& held, bool machine) {
  COLDPRESS_CHECK(held);
  if (machine) {
    end_outside();
  } else {
    COLDPRESS_ORDER_BEFORE(&held);
  }
  held = false;
  if (in_task()) record(Op::kUnlock, &held, current_->where, nullptr);
}

bool Scheduler::block(const void* object, std::int64_t timeout_ns, const Where& where) {
  if (!in_task()) fail("somebody sleeps where nobody would wake him: outside of the tasks");
  if (object == nullptr && ++current_->sleeps > limits_.sleeps) fail("livelock: a task polls by the clock");
  current_->state = State::kBlocked;
  current_->on = object;
  current_->deadline_ns = timeout_ns < 0 ? -1 : now_ns_ + timeout_ns;
  current_->timed_out = current_->surprised = false;
  current_->where = where;
  record(Op::kSleep, object, where, nullptr);
  Task* self = current_;
  reschedule();
  if (self->timed_out || self->surprised) record(Op::kWake, object, where, self->last_woken_by);
  self->fresh = true;
  self->on = nullptr;
  self->deadline_ns = -1;
  return !self->timed_out;
}

void Scheduler::wake(const void* object, std::uint32_t count) {
  for (; count > 0; --count) {
    Task* sleepers[kMaxTasks];
    std::uint32_t found = 0;
    for (std::uint32_t i = 0; i < task_count_; ++i) {
      if (tasks_[i].state == State::kBlocked && tasks_[i].on == object) sleepers[found++] = &tasks_[i];
    }
    if (found == 0) return;
    // Who is woken matters only when not all are.
    Task& woken = *sleepers[count < found ? choose(Kind::kSleeper, found, found) : 0];
    woken.state = State::kRunnable;
    woken.last_woken_by = current_ != nullptr ? current_->name : "the scenario";
    if (in_task()) record(Op::kWake, object, current_->where, woken.name);
  }
}

std::uint32_t Scheduler::choose(Kind kind, std::uint32_t count, std::uint32_t free) {
  if (current_ == nullptr || count < 2) return 0;  // also while it is quiet: nobody else runs for it
  std::uint32_t chosen;
  {
    Outside outside;
    chosen = strategy_->choose({kind, count, free, kind == Kind::kWeakCas ? free : count});
    COLDPRESS_CHECK(chosen < count);
    listener_->on_choice(chosen);
  }
  if (chosen != 0) {
    record(Op::kChoice, nullptr, current_->where, kind == Kind::kWeakCas ? "fails for nothing" : nullptr);
    if (kind != Kind::kWeakCas) show(chosen, chosen);
  }
  return chosen;
}

std::int64_t Scheduler::now_ns() { return now_ns_ += kLookNs; }

void Scheduler::mark(const char* name) {
  if (current_ == nullptr) return;  // set-up and checks show nothing
  {
    Outside outside;
    listener_->on_mark(name);
  }
  if (in_task()) record(Op::kMark, nullptr, current_->where, name);
}

void Scheduler::fail(std::string_view what) {
  COLDPRESS_CHECK(listener_ != nullptr);
  listener_->on_failure(what);
  __builtin_trap();
}

}  // namespace coldpress::sched
