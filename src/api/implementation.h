// What a Pager is made of: an engine, and the ways of a program's thread into it.
// Thread safety: all functions from any thread.
#pragma once

#include <optional>
#include <string>

#include "api/forks.h"
#include "coldpress/pager.h"
#include "runtime/engine.h"
#include "runtime/order_giver.h"

namespace coldpress {

// What is wrong with a device is said in the words of the command line.
inline std::string plain(const Text& text) {
  std::string_view said = text.view();
  return std::string(said.substr(said.starts_with("--") ? 2 : 0));
}

struct Pager::Implementation {
  explicit Implementation(runtime::Engine* made) : engine(made), forks_wait(std::in_place, *made) {}
  ~Implementation() {
    if (engine->config().check_accounts && engine->running()) engine->check_accounts();
    forks_wait.reset();
    engine->destroy();
  }

  runtime::Engine* engine;
  std::optional<ForksWait> forks_wait;
  sync::Mutex ordering;  // one order after the other
  sync::Atomic<std::uint32_t> cancels{0};

  std::string order(runtime::Order order, const std::string& text, std::uint64_t argument,
                    runtime::Told* told = nullptr) {
    using runtime::Given;
    constexpr unsigned kForeverS = ~0u;  // the place for orders is this process's until it is done
    runtime::ControlPage& page = engine->control();
    struct Watch final : runtime::OrderWatch {
      explicit Watch(const sync::Atomic<std::uint32_t>& of) : cancels(of), before(of.load()) {}
      bool cancelled() const override { return cancels.load() != before; }
      const sync::Atomic<std::uint32_t>& cancels;
      const std::uint32_t before;
    } watch(cancels);  // before the lock: who waits for his turn is cancelled, too
    sync::MutexLock lock(ordering);
    Text answer;
    switch (runtime::give_order(page, order, text, argument, kForeverS, watch, answer, told)) {
      case Given::kFollowed:
        return "";
      case Given::kRefused:
        return plain(answer);
      default:
        if (watch.cancelled()) return "cancelled";
        return "the pager is busy with something else: try again";
    }
  }

  // Runs work(space, slice, worker) for one part of the range after the other, each an operation of the
  // engine: faults, forks and signals wait no longer than one takes. false: one was, and was the last.
  template <typename Work>
  bool in_slices(PageRange range, Work work) {
    constexpr std::uint64_t kSlicePages = 4096;
    bool good = true;
    while (good && !range.empty()) {
      PageRange slice{range.begin, std::min(range.end, range.begin + kSlicePages)};
      good =
          engine->operate([&](vm::Space& space, vm::Worker& worker) { return work(space, slice, worker); });
      range.begin = slice.end;
    }
    return good;
  }

  // What reclaim or a clone met of pages that a fork has shared. Outside of operations: it may sleep on a
  // fault.
  void make_own() {
    PageRange shared[vm::Space::kMaxShared];
    std::size_t count =
        engine->operate([&](vm::Space& space, vm::Worker&) { return space.take_shared(shared); });
    for (std::size_t i = 0; i < count; ++i) engine->make_own(shared[i]);
  }
};

}  // namespace coldpress
