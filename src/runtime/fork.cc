// fork(2). The child shall see its own memory, pages that are out included, and be managed on its own.
//
// With UFFD_FEATURE_EVENT_FORK the kernel gives the child's ranges to a new userfaultfd, whose descriptor
// comes to the parent's engine in a message; until that message is taken, fork() does not return in the
// parent and no page moves. So at that moment the parent's metadata describe the child's address space
// exactly.
//
//   forking thread            a server ("on duty")             child
//   before_fork: gate closed
//   clone(2) ................. takes the message
//   (returns)                  sends the descriptor .......... starts; its early faults (the C library's
//                              serves early faults             own fork code) are answered by the parent
//                                                              after_fork_in_child: takes the descriptor,
//                              <------------------------------ checks its image (operation_gate.h), says so
//                              lets go                         has its own threads: managed
//   goes on
//
// The forking thread goes on when the child needs nothing any more, which it knows by the layout mutex: its
// next step may be to end the process. If that ends otherwise while the child still needs it (a signal,
// another thread's exit or exec), the child is stopped: what it lacks would read zero.
//
// If the image is torn (another thread's fault was being served while the page tables were copied), or the
// descriptor could not be handed over, the parent fills all the child's missing pages, and the child starts
// with an engine as fresh as after exec. On the signal path the child's early faults raise SIGBUS in itself;
// it asks for such a page (wait_early()). A fork that bypasses the C library is answered the same way; that
// child is whole, and not managed. Nobody sees zeros but in the cases that docs/bugs.md lists as known.
//
// Without the fork event (no CAP_SYS_PTRACE) everything is brought back before the fork.
#include <new>
#include <utility>

#include "base/log.h"
#include "os/linux/syscalls.h"
#include "runtime/engine.h"
#include "runtime/signal_path.h"
#include "sync/futex.h"

namespace coldpress::runtime {
namespace {

constexpr std::int64_t kPatienceNs = 5000 * kMillisecond;
constexpr char kHere = 'H', kWhole = 'W', kTorn = 'T', kFilled = 'F', kEarly = 'E';

}  // namespace

bool Engine::make_home() {
  home_ = reinterpret_cast<sync::Atomic<std::uint32_t>*>(memory_.allocate(kPageBytes, "coldpress-home"));
  return home_ != nullptr && os::wipe_on_fork(home_, kPageBytes);
}

void Engine::before_fork() {
  if (!running()) {
    fork_prepared_ = false;  // of a fork in a process whose memory was copied without asking
    return;
  }
  // Until the fork is done: whose fault is served, and by whom, changes on the way.
  std::uint64_t signals = os::hold_signals();
  fork_mutex_.lock();
  fork_signals_ = signals;
  fork_prepared_ = true;
  fork_sockets_[0] = fork_sockets_[1] = -1;
  fork_turn_.fetch_add(1);  // before the gate closes: it can not be taken for the one that has ended
  gate_.close();
  // Not before the gate is closed: the engine could become active in between.
  if (active_.load()) {
    if (!mmu_.main().has_fork_event()) {
      preparing_fork_.store(true);
      ask(Request::kPrepareFork);
      preparing_fork_.store(false);
      gate_.close();  // at rest again
    } else if (!os::make_socket_pair(fork_sockets_)) {
      fork_sockets_[0] = fork_sockets_[1] = -1;  // no hand-over: the child will be filled
    }
  }
  if (active_.load()) devices_.before_fork(space_);
  forking_self_ = os::thread_pointer();
  forking_thread_.store(static_cast<std::uint32_t>(os::sys_gettid()));
}

void Engine::after_fork_in_parent() {
  if (!fork_prepared_) return;
  memgroup::add_to(stats_->forks);
  forking_thread_.store(0);
  gate_.open();
  auto close_socket = [this](int end) {
    if (fork_sockets_[end] >= 0) os::sys_close(fork_sockets_[end]);
    fork_sockets_[end] = -1;
  };
  close_socket(1);  // so that a child that has ended, or never was, can be told
  // Whoever took the fork's message has held the mutex since before clone() returned.
  if (active_.load()) wait_until_followed();
  close_socket(0);  // to the child that says: this process has ended, or has followed it
  if (active_.load() && !mmu_.main().has_fork_event()) ask(Request::kEndFork);
  fork_prepared_ = false;
  std::uint64_t signals = fork_signals_;
  fork_mutex_.unlock();
  os::restore_signals(signals);
}

// A server that finds the gate closed. One of them looks for the fork message; faults of other threads wait
// a little for it, because serving one while the page tables are copied tears the child's image.
void Engine::fork_duty(vm::Worker& worker) {
  // Never sleep past a change of the gate here: it may open and close for the next fork at once, and that one
  // needs somebody on duty.
  if (preparing_fork_.load()) {
    // The forking thread waits for the monitor, and the monitor may sleep on a fault (Mmu::make_own).
    os::Message fault;
    gate_.force_begin();
    if (preparing_fork_.load()) {
      if (space_.take_message(worker, &fault)) {
        space_.handle_fault(fault.range.begin, fault.write, worker);
      }
      serve_pending(worker);
    }
    gate_.end();
    return;
  }
  std::uint32_t turn = fork_turn_.load();
  if (forking_thread_.load() == 0 && config_.fault_path == FaultPath::kSignal) {
    // The fork waits for operations to end. Those of the program's threads may wait for a layout message, and
    // do not take it themselves.
    os::Message fault;
    gate_.force_begin();
    if (forking_thread_.load() == 0 && space_.take_message(worker, &fault)) {
      worker.put_aside(fault.range.begin, fault.write);
    }
    gate_.end();
    mmu_.wait_message(kMillisecond);
    return;
  }
  if (forking_thread_.load() == 0 || !duty_mutex_.try_lock()) {
    gate_.wait_open(kMillisecond);
    return;
  }
  duty_socket_ = fork_sockets_[0] >= 0 ? os::take_from_program(fork_sockets_[0]) : -1;
  constexpr std::int64_t kDelay = 2 * kMillisecond;
  std::int64_t first_stashed = worker.pending_count > 0 ? sync::now_ns() : 0;
  auto serve_stashed = [&] {
    gate_.force_begin();
    serve_pending(worker);
    gate_.end();
    first_stashed = 0;
  };
  // Also when one was served: it may have been of a fork that bypasses the C library, at the same moment.
  while (gate_.closed() && forking_thread_.load() != 0) {
    os::Message fault;
    gate_.force_begin();
    // Has the next fork begun, with other sockets? While this operation lasts none gets past the gate.
    bool over = fork_turn_.load() != turn;
    bool is_fault = !over && space_.take_message(worker, &fault);
    if (is_fault && fault.thread == forking_thread_.load()) {
      // It can not be in clone(2) now, and it may need this page to get there.
      space_.handle_fault(fault.range.begin, fault.write, worker);
      is_fault = false;
    }
    gate_.end();
    if (over) break;
    if (is_fault) worker.put_aside(fault.range.begin, fault.write);
    // Also what was put aside deep inside, on the way to a layout message: it may be the forking thread's.
    if (first_stashed == 0 && worker.pending_count > 0) first_stashed = sync::now_ns();
    // The forking thread may wait for a lock of a thread that waits here.
    if (first_stashed != 0 && sync::now_ns() - first_stashed > kDelay) serve_stashed();
    mmu_.wait_message(first_stashed != 0 ? kDelay / 4 : kMillisecond);
  }
  if (duty_socket_ >= 0) os::sys_close(duty_socket_);
  duty_socket_ = -1;
  duty_mutex_.unlock();
}

void Engine::on_fork(int child, bool calm, vm::Worker& worker) {
  // Not asked of forking_thread_: clone(2) returns in the parent as soon as its message was taken.
  int socket = std::exchange(duty_socket_, -1);
  serve_child(child, socket, calm, worker);
  if (socket >= 0) os::sys_close(socket);
}

void Engine::serve_child(int child, int socket, bool calm, vm::Worker& worker) {
  bool taken_over = false,
       fill = !calm || socket < 0 || !os::send_byte(socket, kHere, child) || !devices_.send(socket);
  os::Userfault of_child;
  of_child.adopt(child, true);
  std::int64_t deadline = sync::now_ns() + kPatienceNs;
  while (!fill && !taken_over) {
    std::int64_t left = deadline - sync::now_ns();
    int ready = left > 0 ? os::wait_either(socket, child, left) : 0;
    if (ready == 0) fill = true;  // stopped, by a debugger for instance: it will find its memory complete
    if ((ready & 1) != 0) {
      // First: once it has said that it takes over, what waits on its userfaultfd, which is one file for both
      // processes, is for its own threads.
      char answer = os::receive_byte(socket, 0);
      if (answer == kTorn) {
        fill = true;
      } else if (answer == kEarly) {
        serve_early(child, worker);
      } else {
        taken_over = true;  // kWhole; or it is gone, by exec or by death
      }
    } else if ((ready & 2) != 0) {
      os::Message message = of_child.read_message();
      if (message.kind == os::MessageKind::kFault) {
        space_.child_fault(child, message.range.begin, worker);
      } else if (message.kind != os::MessageKind::kNone) {
        fill = true;  // it changes its layout before it has an engine to hear of it
      }
    }
  }
  if (fill) {
    memgroup::add_to(stats_->fork_torn);
    space_.populate_child(child, worker);
  }
  devices_.after_fork();
  mmu_.child_close(child);
  control().followed.store(++followed_);
  if (fill && socket >= 0) os::send_byte(socket, kFilled);
}

void Engine::serve_early(int child, vm::Worker& worker) {
  std::uint64_t page = control().early_page.load();
  if (page == 0) return;  // asked for twice
  space_.child_fault(child, PageIndex{page - 1}, worker);
  control().early_page.store(0);
}

// Signal path, in the child of a fork before it has an engine: brings a page that the parent had. The touch
// is made again in any case, and comes here again, until the page is there or the parent has ended.
bool Engine::wait_early(PageIndex page) {
  constexpr std::int64_t kLookNs = 50'000, kLooks = 20;
  if (!space_.pages().get(page).is_out() && !space_.copy_knows(page)) return false;
  // Else it is of a fork that bypassed the C library: all is being filled.
  bool asks = fork_prepared_ && forking_self_ == os::thread_pointer() && fork_sockets_[1] >= 0;
  if (asks) {
    control().early_page.store(page.value + 1);
    asks = os::send_byte(fork_sockets_[1], kEarly);
  }
  for (int look = 0; look < kLooks; ++look) {
    sync::sleep_ns(kLookNs);
    if (asks && control().early_page.load() == 0) break;
  }
  return true;
}

// In the child: a byte from the parent, however long that is stopped. os::kEnded: it is not there any more.
char Engine::hear(int socket, int* fd) {
  constexpr std::int64_t kLookNs = 1000 * kMillisecond;
  for (;;) {
    if (char byte = os::receive_byte(socket, kLookNs, fd); byte != 0) return byte;
  }
}

// In the child: returns when the parent has filled it. `ended`: the parent is not there any more, or done.
void Engine::wait_until_filled(bool ended) {
  constexpr std::int64_t kLookNs = kMillisecond / 5;
  while (control().followed.load() <= followed_) {
    long parent = os::sys_getppid();  // 0: in another namespace, where no number says it
    ended = ended || (parent != pid_ && parent != 0);
    if (ended && control().followed.load() <= followed_) {
      report(Text() << "forked process " << os::sys_getpid()
                    << " has lost memory, since its parent ended before it had handed it over: stopped");
      __builtin_trap();
    }
    sync::sleep_ns(kLookNs);
  }
}

void Engine::after_fork_in_child() {
  if (!fork_prepared_) return;
  std::uint64_t signals = fork_signals_;
  signal_path_in_child();
  // What a takeover needs may have gone with the privileges of this process; better to know before.
  bool whole = gate_.at_rest() && os::LinuxMmu::can_open() && os::ProcessView::can_open();
  int socket = fork_sockets_[1];
  int main_fd = -1;
  bool ended = false;
  if (active_.load() && socket >= 0) {
    os::sys_close(fork_sockets_[0]);
    char first = hear(socket, &main_fd);
    ended = first == os::kEnded;
    bool received = main_fd >= 0 && devices_.receive(socket, kPatienceNs);
    whole = whole && received;
    // Two forks at once, one of them past the C library, could have swapped their messages.
    if (main_fd >= 0) whole = whole && mmu_.belongs_to_this_process(main_fd);
    // Whole, it needs nobody: it has what the parent had.
    if (main_fd >= 0) (void)os::send_byte(socket, whole ? kWhole : kTorn);
    if (received && !whole) devices_.give_up_received();
    if (main_fd >= 0 && !whole) {
      ended = hear(socket, nullptr) == os::kEnded;  // else kFilled
      os::sys_close(main_fd);
      main_fd = -1;
    }
    os::sys_close(socket);
  }
  if (active_.load() && main_fd < 0 && mmu_.main().has_fork_event()) wait_until_filled(ended);
  fork_sockets_[0] = fork_sockets_[1] = -1;
  start_afresh(main_fd);
  os::restore_signals(signals);
}

// In the child: new descriptors and threads; with main_fd the inherited state, else a new one.
void Engine::start_afresh(int main_fd) {
  bool inherit = main_fd >= 0;
  Config config = config_;
  if (!inherit) {
    devices_.unmap();
    os::EngineMemory memory = memory_;
    memory.reset(this + 1);
    PageRange image = image_;
    memgroup::Stats* stats = stats_;
    new (this) Engine;
    config_ = config;
    image_ = image;
    memory_ = memory;
    stats_ = stats;
    gate_.init(memory_.first_page(), memory_.last_page());
    (void)make_home();  // where the parent's was: it can not fail
  } else {
    new (&fork_mutex_) sync::Mutex;
    new (&duty_mutex_) sync::Mutex;
    new (&lost_) memgroup::Pressure;
    duty_socket_ = -1;
    fork_prepared_ = false;
    // Whoever had borrowed one is not in this process.
    spares_.init(kSpareWorkers);
    for (auto& worker : spare_workers_) worker.pending_count = 0;
    forking_thread_.store(0);
    monitor_worker_.pending_count = 0;
    for (auto& worker : server_workers_) worker.pending_count = 0;  // faults of the parent's threads
    restart_servers_ = true;
  }
  stats_fd_ = report_fd_ = -1;
  new (&ask_mutex_) sync::Mutex;
  request_.store(Request::kNone);
  Status opened = open_all(main_fd, inherit);
  if (!opened) {
    // Only reached when userfaultfd was available to the parent and is not any more.
    if (inherit) {
      report(Text() << "forked process " << os::sys_getpid() << " can not be served: stopped");
      __builtin_trap();
    }
    report(Text() << "process " << os::sys_getpid() << " goes on without a limit");
    running_.store(false);
    return;
  }
  // Events start at zero in a new process; gauges of inherited state go on. Not by the counters: their page
  // is shared memory, in which the parent goes on counting.
#define COLDPRESS_ZERO(name) stats_->name.store(0, sync::kRelaxed);
  COLDPRESS_COUNTERS(COLDPRESS_ZERO)
  COLDPRESS_GAUGES(COLDPRESS_ZERO)
#undef COLDPRESS_ZERO
  stats_->limit_bytes.store(config.limit_bytes);
  swapping_off_ = swap::kMaxAreas;
  // The page is a copy of the parent's.
  control().turn.store(0);
  control().followed.store(followed_);
  control().early_page.store(0);
  if (inherit) {
    space_.recount();
    devices_.inherit(space_);
  }
  (void)devices_.open(config_, false);
  if (inherit) space_.offer_swap(devices_.attach(space_));
  pid_ = os::sys_getpid();
  home_->store(1);
  running_.store(true);
  // The gate is opened before the threads start: they are all there is.
  if (inherit) {
    space_.drop_filled();
    gate_.open();
  }
  if (!start_monitor()) {
    if (inherit) {
      report(Text() << "forked process " << os::sys_getpid() << " can not start its threads: stopped");
      __builtin_trap();
    }
    running_.store(false);
    return;
  }
}

bool Engine::was_managed_here(PageIndex page) const {
  return mode_ == Mode::kLibrary && pid_ != os::sys_getpid() && space_.copy_knows(page);
}

}  // namespace coldpress::runtime
