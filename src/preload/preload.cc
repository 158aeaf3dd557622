// The preload library: what `coldpress run` puts into a program.
//
// What the program does to its mappings, and its forks, are told by the kernel, whichever way the program
// does them; nothing depends on interposition. What is interposed all the same: _exit() for the report,
// mremap() (mremap.cc), madvise() (madvise.cc), and the signal calls for the signal path (signals.cc). The
// constructor starts the engine before the program's own code runs.
//
// This library never calls malloc, uses no C++ run-time library and has no thread-local storage of its own;
// it shows the symbols in preload.map only.
#include "preload/preload.h"

#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>

#include "base/log.h"
#include "codec/sealer.h"
#include "runtime/report.h"
#include "sync/raw_syscall.h"

extern "C" char __ehdr_start;  // the linker's: first byte of this library's image
extern "C" char _end;          // and the first behind it

namespace coldpress::preload {
namespace {

using runtime::Engine;

Engine* engine = nullptr;  // never destroyed: its threads go on until the process ends
os::ErrorStream error_stream;
sync::Atomic<bool> reported{false};

void message_sink(std::string_view line) { os::write_error_line(error_stream, line); }

// At exit of the process that `coldpress run` became; not of its children.
void report_exit() {
  if (engine == nullptr || !engine->running()) return;
  const runtime::Config& config = engine->config();
  if (config.check_accounts) engine->check_accounts();
  if (config.root_pid != raw_syscall(SYS_getpid) || reported.exchange(true)) return;
  engine->refresh_gauges_now();
  if (!config.quiet) report(runtime::exit_line(engine->stats()));
  if (config.stats_path[0] == 0) return;
  // Another thread may be asking for something else.
  constexpr int kTries = 100;
  constexpr std::int64_t kBetweenNs = 10'000'000;
  bool written = false;
  for (int tries = 0; !written && tries < kTries; ++tries) {
    if (tries > 0) sync::sleep_ns(kBetweenNs);
    written = engine->ask_if_free(Engine::Request::kWriteStats);
  }
  if (!written) {
    report(Text() << "can not write statistics to " << config.stats_path);
  }
}

void before_fork() { engine->before_fork(); }
void after_fork_in_parent() { engine->after_fork_in_parent(); }
void after_fork_in_child() { engine->after_fork_in_child(); }

// Last of the destructors of this library: the program's exit handlers have run.
[[gnu::destructor]] void at_exit() { report_exit(); }

[[gnu::constructor]] void start() {
  const char* text = std::getenv(runtime::kConfigVariable);
  if (text == nullptr) return;
  error_stream = os::identify_error_stream();
  set_message_sink(&message_sink);
  runtime::Config config;
  bool is_root = false;
  Text problem;
  if (!runtime::parse_config(text, config)) {
    problem << "the environment variable " << runtime::kConfigVariable
            << " is not one that coldpress run wrote: unset it";
  } else {
    is_root = config.root_pid == raw_syscall(SYS_getpid);
    PageRange image{page_of(reinterpret_cast<std::uint64_t>(&__ehdr_start)),
                    page_of(reinterpret_cast<std::uint64_t>(&_end) + kPageBytes - 1)};
    auto started = Engine::create(config, runtime::Mode::kProcess, image);
    if (started) {
      engine = started.value();
      pthread_atfork(&before_fork, &after_fork_in_parent, &after_fork_in_child);
      return;
    }
    problem = started.error().text;
  }
  report(problem);
  // The program that was asked for is not started unmanaged. What it starts in turn may have lost the
  // right to userfaultfd (another user, a sandbox); it goes on without a limit, and that was said.
  if (is_root) raw_syscall(SYS_exit_group, 2);
}

}  // namespace

Engine* running_engine() { return engine != nullptr && engine->running() ? engine : nullptr; }

bool signal_path() { return engine != nullptr && engine->config().fault_path == runtime::FaultPath::kSignal; }

}  // namespace coldpress::preload

extern "C" {

// Programs that leave by _exit() run no destructors; the report is due all the same.
[[gnu::visibility("default")]] void _exit(int status) {
  coldpress::preload::report_exit();
  for (;;) coldpress::raw_syscall(SYS_exit_group, status);
}
[[gnu::visibility("default")]] void _Exit(int status) { _exit(status); }

// For the codecs' unused allocating entry points, which must not reach the program's allocator. Local to
// this library (preload.map).
void* malloc(std::size_t) { return nullptr; }
void* calloc(std::size_t, std::size_t) { return nullptr; }
void free(void*) {}
// What libsodium's ciphers ask of the rest of it, which would bring its guarded heap and its random source.
[[gnu::visibility("hidden")]] void sodium_misuse() { __builtin_trap(); }
[[gnu::visibility("hidden")]] void randombytes_buf(void*, std::size_t) { __builtin_trap(); }
[[gnu::visibility("hidden")]] void sodium_memzero(void* memory, std::size_t bytes) {
  coldpress::codec::Sealer::wipe(static_cast<std::byte*>(memory), bytes);
}
[[gnu::visibility("hidden")]] void __cxa_pure_virtual() { __builtin_trap(); }
}
