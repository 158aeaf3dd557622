#include "runtime/signal_path.h"

#include <ucontext.h>

#include <algorithm>
#include <iterator>

#include "runtime/engine.h"

extern "C" int __sigaction(int, const struct sigaction*, struct sigaction*);

namespace coldpress::runtime {
namespace {

constexpr std::size_t kMaxEngines = 16;
sync::Atomic<Engine*> engines[kMaxEngines];
sync::Mutex install_mutex;
struct sigaction chained;
sync::Atomic<std::int64_t> waited_ns{0};  // for a parent

// Signals 1 to 64, which is all that the kernel has.
template <typename Set>
auto& first_word(Set& set) {
  return set.__val[0];
}

// With the signals held that the kernel would have held for that handler; but never SIGBUS.
void call_chained(int number, siginfo_t* info, void* context) {
  std::uint64_t held = first_word(static_cast<const ucontext_t*>(context)->uc_sigmask);
  os::restore_signals((held | first_word(chained.sa_mask)) & ~os::signal_bit(SIGBUS));
  if ((chained.sa_flags & SA_SIGINFO) != 0 && chained.sa_sigaction != nullptr) {
    chained.sa_sigaction(number, info, context);
  } else if (chained.sa_handler != SIG_DFL && chained.sa_handler != SIG_IGN) {
    chained.sa_handler(number);
  } else {
    // The default: die of it, at the same instruction, so that a core dump shows it.
    struct sigaction standard {};
    standard.sa_handler = SIG_DFL;
    __sigaction(SIGBUS, &standard, nullptr);
  }
}

// In the child of a fork, until the parent has filled it: then its memory is registered no more, and what
// faults there has another reason. A parent that was killed meanwhile leaves it so, too.
bool waits_for_parent(PageIndex page) {
  constexpr std::int64_t kLookNs = 200'000, kPatienceNs = 60'000'000'000;
  for (auto& slot : engines) {
    Engine* engine = slot.load(sync::kAcquire);
    if (engine == nullptr || !engine->was_managed_here(page) || waited_ns.load() > kPatienceNs) continue;
    waited_ns.fetch_add(kLookNs);
    sync::sleep_ns(kLookNs);
    return true;
  }
  return false;
}

// Whether the touch was a write.
bool is_write(const void* context) {
  constexpr greg_t kWrite = 2;  // of x86's page fault error code
  return (static_cast<const ucontext_t*>(context)->uc_mcontext.gregs[REG_ERR] & kWrite) != 0;
}

void handle(int number, siginfo_t* info, void* context) {
  // A touch of a missing page; poison (BUS_MCEERR_AR) and what the program raises itself are not ours.
  if (info->si_code == BUS_ADRERR) {
    PageIndex page = page_of(reinterpret_cast<std::uint64_t>(info->si_addr));
    for (auto& slot : engines) {
      Engine* engine = slot.load(sync::kAcquire);
      if (engine != nullptr && engine->serve_in_signal(page, is_write(context))) return;
    }
    if (waits_for_parent(page)) return;
  }
  call_chained(number, info, context);
}

}  // namespace

bool add_signal_engine(Engine& engine) {
  sync::MutexLock lock(install_mutex);
  bool alone =
      std::none_of(std::begin(engines), std::end(engines), [](auto& slot) { return slot.load() != nullptr; });
  if (alone) {  // also if the program has set a handler since the last one went
    struct sigaction action {};
    struct sigaction before {};
    action.sa_sigaction = &handle;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART;
    // Another signal's handler could touch a page that this thread has locked.
    first_word(action.sa_mask) = os::kHeldSignals;
    if (__sigaction(SIGBUS, &action, &before) != 0) return false;
    if ((before.sa_flags & SA_SIGINFO) == 0 || before.sa_sigaction != &handle) chained = before;
  }
  for (auto& slot : engines) {
    if (slot.load() == nullptr) {
      slot.store(&engine);
      return true;
    }
  }
  return false;
}

void signal_path_in_child() { new (&install_mutex) sync::Mutex; }

void remove_signal_engine(Engine& engine) {
  for (auto& slot : engines) {
    if (slot.load() == &engine) slot.store(nullptr);
  }
}

void chain_sigbus(const struct sigaction* action, struct sigaction* before) {
  os::SignalsHeld held;  // its caller may be a handler
  sync::MutexLock lock(install_mutex);
  if (before != nullptr) *before = chained;
  if (action != nullptr) chained = *action;
}

}  // namespace coldpress::runtime
