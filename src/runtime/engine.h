// Engine: a running instance. Owns the memory, the Mmu, the address space and the threads.
//
// Two modes. kProcess (the preload library): all anonymous memory of the process is watched; nothing is
// registered, no table exists and one thread sleeps until memory use nears the limit; then everything
// anonymous is adopted. kLibrary: only ranges that are added are managed, from the start.
//
// Threads: a monitor (memory use, adoption, background reclaim) and, once active, one server for each cpu up
// to kMaxServers, pinned, because a fault is served fastest on the cpu where it happened. In kProcess mode
// they are made by clone(2) and share a file table of their own.
//
// Fork, see fork.cc. Lock order: fork_mutex_, gate, then those of vm::Space.
// Thread safety: start() and stop() by one thread; the rest as said.
#pragma once

#include "memgroup/group.h"
#include "memgroup/pressure.h"
#include "os/linux/descriptors.h"
#include "os/linux/engine_memory.h"
#include "os/linux/linux_mmu.h"
#include "os/linux/process.h"
#include "runtime/config.h"
#include "runtime/control.h"
#include "runtime/lending.h"
#include "runtime/operation_gate.h"
#include "runtime/swap_devices.h"
#include "sync/thread.h"
#include "vm/space.h"

namespace coldpress::runtime {

inline constexpr std::int64_t kMillisecond = 1'000'000;  // ns

enum class Mode { kProcess, kLibrary };

class Engine final : public vm::ForkHandler, public vm::UsageSource {
 public:
  // Opens what is needed and starts the monitor (kLibrary: everything). On error nothing is left behind. The
  // engine lies in its own memory, so that the fork check covers it. `image`, when not empty, is kept from
  // adoption: the pages of the program file that holds this code.
  static Result<Engine*> create(const Config& config, Mode mode, PageRange image);
  // kLibrary only: ends the threads and gives everything back. No range may be managed any more.
  void destroy();

  vm::Space& space() { return space_; }
  memgroup::Group& group() { return group_; }
  const memgroup::Stats& stats() const { return *stats_; }
  const Config& config() const { return config_; }
  // Whether there is an engine in this process: not in the child of a fork that bypassed the C library.
  bool running() const;
  // In the child of a fork of a library process, which has no engine: whether the page belonged to its
  // parent's.
  bool was_managed_here(PageIndex page) const;
  // Whether ranges are registered (kProcess: the limit has been near).
  bool managing() const { return active_.load(); }

  // Runs work(space, worker) as one operation of the engine, in a thread of the program (kLibrary). Waits
  // while all workers are in use. Signals wait: a handler could touch a page that this thread has locked.
  template <typename Work>
  auto operate(Work work) {
    os::SignalsHeld held;
    vm::Worker& worker = borrow_worker();
    begin_operation();
    auto result = work(space_, worker);
    space_.handle_pending(worker);
    end_operation();
    return_worker(worker);
    return result;
  }
  // Outside of operations: may sleep on a fault.
  void make_own(PageRange range) { mmu_.make_own(range); }
  // Signal path: serves the touch of `page` by the calling thread, a write or a read, which decides what a
  // page becomes that was never touched. Signals are held. false: not a page of this engine.
  bool serve_in_signal(PageIndex page, bool write);
  // Has the monitor do something that needs the engine's descriptors, for a thread of the program, and waits.
  enum class Request : std::uint32_t {
    kNone,
    kServeFault,
    kWriteStats,
    kPrepareFork,
    kEndFork,
    kAdvise,
    kRemap
  };
  bool ask(Request request, PageIndex page = {});
  bool ask_and_wait(PageIndex page);  // to serve a fault; counts as pressure
  // The same, unless somebody is asking, who may be this very thread, in a signal handler. false then, too.
  bool ask_if_free(Request request);
  // What the program says of the use that it will make of a range; `first`: before it looks for mappings that
  // are new. Not followed while a fork is under way.
  enum class Advice : std::uint8_t { kCold, kPageOut, kWillNeed };
  void advise(PageRange range, Advice advice, bool first);
  // Moves the mappings of a range to a fixed address, one by one, as mremap(2) with `flags` does. 0, an error
  // of the kernel's (then a part may have moved), or kNotOurs: the range was not one mapping to begin with.
  // To address 0: only looks.
  struct Remap {
    std::uint64_t from, bytes, to;
    int flags;
    long answer;
  };
  static constexpr long kNotOurs = 1;
  long move_mappings(const Remap& remap);
  // Where orders are given: order_giver.h.
  ControlPage& control() const;
  // CHECKs that what is counted agrees (vm::Space::accounts()), once nothing is being changed.
  void check_accounts();
  // Limits have changed: the monitor looks at once.
  void look_now() { pressure_.signal(); }
  // Brings gauges up to date: for the monitor, which is inside an operation.
  void refresh_gauges();
  // The same, for a thread of the program.
  void refresh_gauges_now();
  // After fork(2), in the parent: returns when the child needs nothing of this engine any more.
  void wait_until_followed() { sync::MutexLock followed(space_.layout_mutex()); }
  // kLibrary, in the child: returns when its memory is whole.
  void wait_in_child() {
    if (active_.load() && mmu_.main().has_fork_event()) wait_until_filled(false);
  }
  // kProcess: the three moments of fork(2), for pthread_atfork.
  void before_fork() NO_THREAD_SAFETY_ANALYSIS;  // held until one of the other two
  void after_fork_in_parent() NO_THREAD_SAFETY_ANALYSIS;
  void after_fork_in_child() NO_THREAD_SAFETY_ANALYSIS;

 private:
  static constexpr std::size_t kMaxServers = 8;
  static constexpr std::size_t kSpareWorkers = 8;
  static constexpr std::int64_t kMonitorSliceNs = 50'000'000;  // before it looks what else there is to do
  static constexpr std::size_t kMapsBufferBytes = 64 << 10;

  // What a thread of the program does around an operation. Never waits for the end of a fork for long: the
  // forking thread may be waiting for this one.
  vm::Worker& borrow_worker();
  void return_worker(vm::Worker& worker);
  void begin_operation();
  void end_operation() { gate_.end(); }

  // vm::ForkHandler
  void on_fork(int child, bool calm, vm::Worker& worker) override;
  // vm::UsageSource
  bool keep_going() override;
  void pressure() override { pressure_.signal(); }
  void make_swap() override { devices_.make_automatic(config_, space_); }

  Status start();
  Status open_all(int main_fd, bool keep_staging);
  Status activate();
  bool try_to_activate();
  bool start_servers();
  bool make_worker(vm::Worker& worker);
  bool start_engine_thread(sync::Thread& thread, void (*entry)(void*), const char* name);
  struct Descriptors {
    static constexpr std::size_t kOfDevices = 9;        // the place of the first
    int fd[kOfDevices + SwapDevices::kMaxDescriptors];  // -1: none
  };
  void descriptors(Descriptors& fds) const;
  bool start_monitor();

  void post_and_wait(Request request) REQUIRES(ask_mutex_);
  void answer_request();
  void answer_remap();
  void answer_advice();
  void finish_request();
  static void monitor_entry(void* engine);
  static void server_entry(void* server);
  void monitor();
  void watch();
  void reclaim_to_low();
  std::int64_t tick_ns() const;
  void refresh_usage();
  void adopt_everything();
  void serve_pending(vm::Worker& worker);
  // control.cc; by the monitor, inside the gate
  bool order_waits() const;
  bool show_pool(bool compact);
  void show_settings();
  void device_came();
  void look_for_order();
  bool follow_order(Order order, std::uint64_t argument, Text& answer);
  void stop_order(Text& answer);
  bool write_some_back(std::uint64_t bytes, Text& answer);
  void set(std::string_view text, Text& answer);
  void set_mark(std::string_view key, std::string_view value, Text& answer);
  void apply_settings();
  bool reclaim_some(std::uint64_t bytes, Text& answer);
  void swap_on(std::string_view text, Text& answer);
  bool swap_off(std::string_view name, Text& answer);
  void serve(vm::Worker& worker);
  void fork_duty(vm::Worker& worker);
  void serve_child(int child, int socket, bool calm, vm::Worker& worker) NO_THREAD_SAFETY_ANALYSIS;
  void serve_early(int child, vm::Worker& worker) NO_THREAD_SAFETY_ANALYSIS;
  bool wait_early(PageIndex page);
  static char hear(int socket, int* fd);
  void wait_until_filled(bool ended);
  bool make_home();
  void start_afresh(int main_fd);

  Config config_;
  Mode mode_ = Mode::kProcess;
  os::EngineMemory memory_;
  os::LinuxMmu mmu_;
  os::ProcessView view_;
  memgroup::Pressure lost_;  // the time that the program waits for the engine
  std::int64_t given_back_ns_ = 0;
  memgroup::Stats* stats_ = nullptr;
  int stats_fd_ = -1;
  memgroup::Group group_;
  vm::Space space_;
  SwapDevices devices_;
  OperationGate gate_;
  sync::Event pressure_;
  sync::Atomic<bool> running_{false};
  sync::Atomic<bool> active_{false};
  sync::Atomic<bool> stopping_{false};  // the monitor, and reclaim
  sync::Atomic<bool> servers_stopping_{false};

  struct Server {
    Engine* engine;
    vm::Worker* worker;
  };
  sync::Thread monitor_thread_;
  sync::Thread server_threads_[kMaxServers];
  Server servers_[kMaxServers] = {};
  std::size_t server_count_ = 0;
  bool restart_servers_ = false;  // in the child of a fork: by the monitor, whose file table they share
  vm::Worker monitor_worker_;
  codec::Codec dense_codec_;
  vm::Worker server_workers_[kMaxServers];
  vm::Worker spare_workers_[kSpareWorkers];
  Lending spares_;  // by their numbers

  PageRange image_;
  char* maps_buffer_ = nullptr;
  std::uint64_t* thread_blocks_ = nullptr;
  sync::Atomic<std::int64_t> usage_read_at_{0};
  std::int64_t adopted_at_ = 0;
  std::int64_t metadata_charged_ = 0;  // kLibrary
  std::int64_t reclaim_again_ns_ = 0, reclaim_pause_ns_ = 0;
  // Of an order under way.
  std::uint64_t reclaim_from_ = 0;  // pages that had gone out when it began
  std::int64_t reclaim_goal_ = -1;  // in pages
  bool writing_back_ = false;
  std::uint64_t writeback_from_ = 0, writeback_seen_ = 0;  // written_back_bytes then, and at the last look
  std::int64_t writeback_moved_ns_ = 0;
  std::int64_t order_begun_ns_ = 0;
  char order_text_[sizeof ControlPage::text] = {};
  std::size_t swapping_off_ = swap::kMaxAreas;
  bool activation_failed_ = false;

  // One request at a time.
  sync::Mutex ask_mutex_;
  sync::Atomic<Request> request_{Request::kNone};
  PageIndex request_page_;
  bool request_answer_ = false;
  Remap request_remap_{};
  PageRange request_range_;
  Advice request_advice_ = Advice::kCold;
  bool request_looks_ = false;  // for mappings that are new, first
  sync::Event answered_;
  int report_fd_ = -1;  // the file for --stats, opened early

  long pid_ = 0;
  bool fork_prepared_ = false;
  // 1, and 0 in the child of a fork until it has an engine: memory that the kernel wipes there.
  sync::Atomic<std::uint32_t>* home_ = nullptr;
  sync::Atomic<std::uint32_t> fork_turn_{0};  // counts forks, so that one is not taken for the next
  std::uint64_t forking_self_ = 0;            // os::thread_pointer() of the forking thread
  std::uint64_t followed_ = 0;      // as ControlPage::followed, of the moment of the fork in a child
  std::uint64_t fork_signals_ = 0;  // that the forking thread held before
  sync::Mutex fork_mutex_;
  sync::Mutex duty_mutex_;
  int fork_sockets_[2] = {-1, -1};  // in the program's table: [0] parent's end, [1] child's
  sync::Atomic<bool> preparing_fork_{false};
  sync::Atomic<std::uint32_t> forking_thread_{0};
  int duty_socket_ = -1;  // in the engine's table; guarded by duty_mutex_
};

}  // namespace coldpress::runtime
