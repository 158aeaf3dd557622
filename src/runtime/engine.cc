#include "runtime/engine.h"

#include <algorithm>
#include <bit>
#include <new>

#include "os/linux/stats_file.h"
#include "os/linux/syscalls.h"
#include "runtime/report.h"
#include "runtime/signal_path.h"

namespace coldpress::runtime {
namespace {

constexpr std::size_t kThreadStackBytes = 256 << 10;
constexpr std::size_t kThreadBlocks = 4096;
// Address space only: tables are committed as they fill.
constexpr std::uint64_t kMaxSlots = std::uint64_t{1} << 27;   // 512 GiB of pages out
constexpr std::uint64_t kMaxLeaves = std::uint64_t{1} << 21;  // 4 TiB of ranges with page words
constexpr std::uint64_t kTableBytes = std::uint64_t{28} << 30;

std::uint32_t frames_for(std::uint64_t limit_bytes) {
  std::uint64_t frames = std::clamp<std::uint64_t>((limit_bytes >> kPageShift) / 8, 1024, 65536);
  return static_cast<std::uint32_t>(frames / swap::kGroupFrames * swap::kGroupFrames);
}

// For the pool as large as the machine, tables of the pool, which grow with it, and all others.
std::uint64_t address_space_bytes() {
  std::uint64_t machine = os::physical_memory_bytes();
  return bytes_to_pages(machine + machine / 32 + kTableBytes) << kPageShift;
}

}  // namespace

Result<Engine*> Engine::create(const Config& config, Mode mode, PageRange image) {
  os::EngineMemory memory;
  if (auto status = memory.init(address_space_bytes()); !status) return status.error();
  void* place = memory.allocate(sizeof(Engine), "coldpress-engine");
  if (place == nullptr) {
    memory.destroy();
    return Error{Text() << "out of memory while starting"};
  }
  auto* engine = new (place) Engine;
  engine->config_ = config;
  engine->mode_ = mode;
  engine->image_ = image;
  engine->memory_ = memory;
  engine->gate_.init(memory.first_page(), memory.last_page());
  if (!engine->make_home()) {
    engine->memory_.destroy();
    return Error{Text() << "out of memory while starting"};
  }
  if (auto status = engine->start(); !status) {
    Error error = status.error();
    engine->destroy();
    return error;
  }
  return engine;
}

Status Engine::start() {
  bool must = mode_ == Mode::kLibrary || config_.root_pid == os::sys_getpid();
  if (auto status = devices_.open(config_, must); !status) return status;
  if (auto status = open_all(-1, false); !status) return status;
  pid_ = os::sys_getpid();
  home_->store(1);
  running_.store(true);
  if (config_.fault_path == FaultPath::kSignal && !add_signal_engine(*this)) {
    return Error{Text() << "too many pagers on the signal path in one process"};
  }
  if (mode_ == Mode::kLibrary) {
    if (auto status = activate(); !status) return status;
  }
  if (!start_monitor()) {
    return Error{Text() << "can not start a thread: raise the limit on processes (ulimit -u)"};
  }
  return Done{};
}

Status Engine::open_all(int main_fd, bool keep_staging) {
  auto fail = [&](const Error& error) {
    mmu_.close();
    view_.close();
    if (stats_fd_ >= 0) os::sys_close(stats_fd_);
    stats_fd_ = -1;
    return error;
  };
  Status opened =
      keep_staging || main_fd >= 0
          ? mmu_.reopen_after_fork(main_fd, keep_staging)
          : mmu_.init({frames_for(config_.limit_bytes), config_.fault_path == FaultPath::kSignal});
  if (!opened) return fail(opened.error());
  if (!view_.open()) return fail({Text() << "can not open /proc/self/statm and maps: mount /proc here"});
  auto* page = static_cast<memgroup::Stats*>(os::create_stats_page(stats_, &stats_fd_));
  if (page == nullptr) return fail({Text() << "can not create a memory file for statistics"});
  stats_ = page;
  stats_->pid.store(static_cast<std::uint64_t>(os::sys_getpid()));
  group_.init(config_.limit_bytes >> kPageShift, stats_);
  stats_->magic.store(memgroup::Stats::kMagic);
  if (config_.stats_path[0] != 0 && config_.root_pid == os::sys_getpid()) {
    report_fd_ = static_cast<int>(os::sys_open(config_.stats_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  }
  return Done{};
}

void Engine::descriptors(Descriptors& fds) const {
  int of_mmu[4], of_view[3], of_devices[SwapDevices::kMaxDescriptors];
  mmu_.descriptors(of_mmu);
  view_.descriptors(of_view);
  devices_.descriptors(of_devices);
  std::copy_n(of_mmu, 4, fds.fd);
  std::copy_n(of_view, 3, fds.fd + 4);
  fds.fd[7] = stats_fd_;
  fds.fd[8] = report_fd_;
  std::copy_n(of_devices, SwapDevices::kMaxDescriptors, fds.fd + Descriptors::kOfDevices);
}

// In kProcess mode the engine's threads have a table of their own; the program's shall not show the engine's
// descriptors. On the signal path program threads serve themselves and need them, but for those of devices.
// Once the monitor runs, its numbers are not those of the program's table any more: hence taken before.
bool Engine::start_monitor() {
  Descriptors copies;
  descriptors(copies);
  if (!start_engine_thread(monitor_thread_, &monitor_entry, "coldpress")) return false;
  if (mode_ == Mode::kLibrary) return true;
  std::size_t first = config_.fault_path == FaultPath::kSignal ? Descriptors::kOfDevices : 0;
  for (int* fd = copies.fd + first; fd != std::end(copies.fd); ++fd) {
    if (*fd >= 0) os::sys_close(*fd);
  }
  return true;
}

bool Engine::start_engine_thread(sync::Thread& thread, void (*entry)(void*), const char* name) {
  if (thread.stack == nullptr) {
    memory_.reserve(kPageBytes);  // guard
    thread.stack = memory_.allocate(kThreadStackBytes, "coldpress-stack");
    if (thread.stack == nullptr) return false;
    thread.stack_bytes = kThreadStackBytes;
  }
  thread.entry = entry;
  if (thread.argument == nullptr) thread.argument = this;
  thread.name = name;
  thread.own_descriptors = &thread == &monitor_thread_;  // servers share the monitor's table
  return sync::start_thread(thread);
}

bool Engine::make_worker(vm::Worker& worker) {
  // For any codec, since it can be changed; what is not used takes no memory.
  std::size_t codec_bytes = codec::Codec::max_workspace_bytes();
  constexpr std::size_t kRunBytes = vm::Worker::kMaxRun * kPageBytes;
  std::byte* memory = memory_.allocate(kRunBytes + kPageBytes + swap::DeviceStore::kReadBytes + codec_bytes,
                                       "coldpress-worker");
  if (memory == nullptr) return false;
  worker.pending = memory_.allocate<std::uint64_t>(vm::Worker::kMaxPending, "coldpress-worker");
  if (worker.pending == nullptr) return false;
  worker.page = memory;
  worker.store.buffer = memory + kRunBytes;
  worker.io = worker.store.buffer + kPageBytes;
  worker.store.workspace = worker.io + swap::DeviceStore::kReadBytes;
  worker.store.workspace_bytes = codec_bytes;
  return worker.store.codec.init(config_.codec, worker.store.workspace, codec_bytes);
}

Status Engine::activate() {
  auto no_memory = [] { return Error{Text() << "out of memory while the engine becomes active"}; };
  if (auto status = mmu_.activate(memory_); !status) return status;
  vm::SpaceOptions options{.pool_bytes = os::physical_memory_bytes(),
                           .max_slots = kMaxSlots,
                           .max_leaves = kMaxLeaves,
                           .max_pool_percent = config_.max_pool_percent,
                           .accept_threshold_percent = config_.accept_threshold_percent,
                           .counted = mode_ == Mode::kLibrary};
  apply_settings();
  if (!space_.init(memory_, mmu_, group_, options)) return no_memory();
  space_.set_fork_handler(this);
  space_.set_usage_source(this);
  space_.offer_swap(devices_.attach(space_));
  if (!make_worker(monitor_worker_)) return no_memory();
  constexpr codec::Choice kDense{codec::Kind::kZstd, 1};
  std::size_t dense_bytes = codec::Codec::workspace_bytes(kDense);
  std::byte* dense = memory_.allocate(dense_bytes, "coldpress-worker");
  if (dense == nullptr || !dense_codec_.init(kDense, dense, dense_bytes)) return no_memory();
  monitor_worker_.store.dense = &dense_codec_;
  monitor_worker_.background = true;
  monitor_worker_.devices = true;
  for (auto& worker : spare_workers_) {
    if (!make_worker(worker)) return no_memory();
    worker.devices = mode_ == Mode::kLibrary;
  }
  spares_.init(kSpareWorkers);
  maps_buffer_ = memory_.allocate<char>(kMapsBufferBytes, "coldpress-maps");
  thread_blocks_ = memory_.allocate<std::uint64_t>(kThreadBlocks, "coldpress-maps");
  if (maps_buffer_ == nullptr || thread_blocks_ == nullptr) return no_memory();
  int cpus[kMaxServers];
  server_count_ = os::allowed_cpus(cpus);
  sync::spins_worth_while.store(server_count_ > 1 ? 512 : 0);  // its holder runs on another cpu
  bool pin = server_count_ > 1 && config_.fault_path == FaultPath::kThread;
  if (server_count_ < 2) server_count_ = 2;  // one serves while the other waits for a change of layout
  if (config_.fault_path == FaultPath::kSignal) server_count_ = 1;  // layout messages only
  for (std::size_t i = 0; i < server_count_; ++i) {
    if (!make_worker(server_workers_[i])) return no_memory();
    server_workers_[i].devices = true;
    servers_[i] = {this, &server_workers_[i]};
    server_threads_[i].argument = &servers_[i];
    server_threads_[i].cpu = pin ? cpus[i] : -1;
  }
  if (!start_servers()) {
    return Error{Text() << "can not start a thread: raise the limit on processes (ulimit -u)"};
  }
  active_.store(true);
  return Done{};
}

bool Engine::start_servers() {
  for (std::size_t i = 0; i < server_count_; ++i) {
    if (!start_engine_thread(server_threads_[i], &server_entry, "coldpress-fault")) return false;
  }
  return true;
}

void Engine::destroy() {
  remove_signal_engine(*this);
  stopping_.store(true);
  pressure_.signal();
  sync::join_thread(monitor_thread_);
  // After the monitor, which may have slept on a fault.
  servers_stopping_.store(true);
  mmu_.interrupt();
  for (std::size_t i = 0; i < server_count_; ++i) sync::join_thread(server_threads_[i]);
  mmu_.close();
  view_.close();
  devices_.close();
  if (stats_fd_ >= 0) os::sys_close(stats_fd_);
  if (stats_ != nullptr) os::sys_munmap(stats_, os::kStatsFileBytes);
  os::EngineMemory memory = memory_;  // this object lies in it
  memory.destroy();
}

void Engine::begin_operation() {
  constexpr std::int64_t kPatience = 2'000'000;
  if (gate_.begin()) return;
  if (static_cast<std::uint32_t>(os::sys_gettid()) != forking_thread_.load()) {
    gate_.wait_open(kPatience);
    if (gate_.begin()) return;
  }
  gate_.force_begin();
}

bool Engine::serve_in_signal(PageIndex page, bool write) {
  // In the child of a fork of a library process there is no engine, and its memory may be used for anything.
  if (!active_.load() || (mode_ == Mode::kLibrary && !running())) return false;
  // The copy of an engine would serve its parent's memory.
  if (mode_ == Mode::kProcess && home_->load(sync::kRelaxed) == 0) return wait_early(page);
  // Engine threads have their own descriptors; the program may have closed this thread's.
  if (mode_ == Mode::kProcess && !mmu_.usable_here()) return ask_and_wait(page);
  vm::Worker& worker = borrow_worker();
  begin_operation();
  // What is out is ours; of the rest the kernel knows.
  bool ours = space_.pages().get(page).is_out() || space_.knows(page), served = true;
  if (ours) {
    {
      memgroup::Waiting thread(lost_);
      served = space_.handle_fault(page, write, worker);
    }
    serve_pending(worker);
  }
  end_operation();
  return_worker(worker);
  // What lies on a device is read by the engine's own threads: they have its descriptors.
  return served ? ours : ask_and_wait(page);
}

bool Engine::ask_and_wait(PageIndex page) {
  memgroup::Waiting thread(lost_);
  return ask(Request::kServeFault, page);
}

void Engine::check_accounts() {
  constexpr int kTries = 100;
  constexpr std::int64_t kBetweenNs = 10'000'000;
  if (!active_.load()) return;
  os::SignalsHeld held;
  sync::MutexLock lock(fork_mutex_);
  for (int tries = kTries;; --tries) {
    gate_.close();
    Text problem = space_.accounts();
    gate_.open();
    if (problem.view().empty()) return;
    if (tries == 0) {
      report(Text() << "the accounts do not close: " << problem.view());
      __builtin_trap();
    }
    sync::sleep_ns(kBetweenNs);
  }
}

bool Engine::ask(Request request, PageIndex page) {
  os::SignalsHeld held;
  sync::MutexLock lock(ask_mutex_);
  request_page_ = page;
  post_and_wait(request);
  return request_answer_;
}

bool Engine::ask_if_free(Request request) {
  os::SignalsHeld held;
  if (!ask_mutex_.try_lock()) return false;
  post_and_wait(request);
  bool answer = request_answer_;
  ask_mutex_.unlock();
  return answer;
}

void Engine::advise(PageRange range, Advice advice, bool first) {
  // Before there is any pressure everything is in memory, and only the strongest word changes that.
  if (!active_.load() && advice != Advice::kPageOut) return;
  os::SignalsHeld held;
  sync::MutexLock lock(ask_mutex_);
  request_range_ = range;
  request_advice_ = advice;
  request_looks_ = first;
  post_and_wait(Request::kAdvise);
}

void Engine::answer_advice() {
  if (!active_.load() && !try_to_activate()) return;
  switch (request_advice_) {
    case Advice::kCold:
      space_.make_old(request_range_);
      break;
    case Advice::kPageOut:
      if (request_looks_) {
        adopted_at_ = 0;
        adopt_everything();
      }
      space_.page_out(request_range_, monitor_worker_);
      break;
    case Advice::kWillNeed:
      space_.page_in(request_range_, monitor_worker_);
      break;
  }
}

bool Engine::running() const { return running_.load() && pid_ == os::sys_getpid(); }

void Engine::post_and_wait(Request request) {
  std::uint32_t ticket = answered_.ticket();
  request_.store(request);
  pressure_.signal();
  while (request_.load() != Request::kNone) {
    answered_.wait(ticket);
    ticket = answered_.ticket();
  }
}

// Inside the gate: everything but kRemap.
void Engine::answer_request() {
  Request request = request_.load();
  if (request == Request::kNone || request == Request::kRemap) return;
  request_answer_ = true;
  switch (request) {
    case Request::kServeFault:
      request_answer_ = active_.load() && space_.knows(request_page_);
      if (request_answer_) space_.handle_fault(request_page_, true, monitor_worker_);
      break;
    case Request::kPrepareFork:
      space_.prepare_unseen_fork(monitor_worker_);
      break;
    case Request::kEndFork:
      space_.end_unseen_fork();
      break;
    case Request::kWriteStats:
      request_answer_ = write_stats_json(*stats_, report_fd_);
      break;
    case Request::kAdvise:
      if (!gate_.closed()) answer_advice();  // a fork would find its child's memory torn
      break;
    case Request::kRemap:
    case Request::kNone:
      break;
  }
  finish_request();
}

void Engine::finish_request() {
  request_.store(Request::kNone);
  answered_.signal();
}

vm::Worker& Engine::borrow_worker() { return spare_workers_[spares_.borrow()]; }

void Engine::return_worker(vm::Worker& worker) {
  spares_.give_back(static_cast<std::uint32_t>(&worker - spare_workers_));
}

}  // namespace coldpress::runtime
