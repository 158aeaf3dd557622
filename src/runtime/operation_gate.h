// The gate that every engine operation passes, so that a fork finds the engine at rest.
//
// begin()/end() bracket an operation. close() lets no new one in and returns when none is under way.
//
// The fork check. A fork copies the page tables while other threads go on, so the child's image of the
// engine is not of one instant. Two counters tell whether that mattered: `finished` lies on the first page of
// the engine's memory and `started` on the last, and the kernel copies in address order. If the child reads
// finished == started, then every operation that had started when the last page was copied had already
// finished when the first one was: nothing changed in between, and the image is consistent.
//
// Thread safety: all functions from any engine thread; close() and open() by one forking thread at a time.
#pragma once

#include <utility>

#include "sync/explore.h"
#include "sync/mutex.h"

namespace coldpress::runtime {

class OperationGate {
 public:
  // Places the counters: `first` and `last` are zeroed words at the ends of the engine's memory.
  void init(void* first, void* last) {
    if (sync::is_mutant(sync::Mutant::kCountersSwapped)) std::swap(first, last);
    finished_ = static_cast<sync::Atomic<std::uint64_t>*>(first);
    started_ = static_cast<sync::Atomic<std::uint64_t>*>(last);
    sync::name_object(*finished_, "finished");
    sync::name_object(*started_, "started");
    sync::name_object(closed_, "gate closed");
    sync::name_object(changed_, "gate changed");
  }

  // Starts an operation unless the gate is closed.
  [[nodiscard]] bool begin() {
    if (closed()) return false;
    force_begin();
    if (!closed() || sync::is_mutant(sync::Mutant::kLookBefore)) return true;
    end();
    return false;
  }
  // As begin(), but waits while the gate is closed.
  void begin_waiting() {
    while (!begin()) wait_open();
  }
  // Starts an operation though the gate is closed: for the thread that serves faults while a fork runs.
  void force_begin() { started_->fetch_add(1); }
  void end() {
    finished_->fetch_add(1);
    if (closed() && !sync::is_mutant(sync::Mutant::kEndQuietly)) changed_.signal();
  }

  bool closed() const { return closed_.load(); }
  // Sleeps until the gate changes, at most timeout_ns; returns at once when it is open.
  void wait_open(std::int64_t timeout_ns = sync::kForever) const {
    std::uint32_t ticket = changed_.ticket();
    if (closed()) changed_.wait(ticket, timeout_ns);
  }
  void close() {
    closed_.store(true);
    for (;;) {
      std::uint32_t ticket = changed_.ticket();
      if (at_rest()) return;
      changed_.wait(ticket);
    }
  }
  void open() {
    closed_.store(false);
    changed_.signal();
  }
  bool at_rest() const { return finished_->load() == started_->load(); }

 private:
  sync::Atomic<std::uint64_t>* finished_ = nullptr;
  sync::Atomic<std::uint64_t>* started_ = nullptr;
  sync::Atomic<bool> closed_{false};
  sync::Event changed_;
};

}  // namespace coldpress::runtime
