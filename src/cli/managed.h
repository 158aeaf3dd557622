// A managed process, seen from the tool: its counters and the place for orders.
// Not thread-aware.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "memgroup/stats.h"
#include "runtime/order_giver.h"

namespace coldpress::cli {

class Managed : private runtime::OrderWatch {
 public:
  // `problem`: empty, or why there is nothing to see.
  explicit Managed(long pid, bool to_order = false);
  ~Managed();
  Managed(const Managed&) = delete;
  Managed& operator=(const Managed&) = delete;

  const std::string& problem() const { return problem_; }
  const memgroup::Stats& stats() const { return *static_cast<const memgroup::Stats*>(page_); }

  // Gives an order and waits for what became of it, at most timeout_s. The tool's status: 0; or 1, it was
  // refused, or 2, there was nobody to give it to, after a complaint. 0: `*copy` is what it has told. SIGINT,
  // SIGTERM and SIGHUP stop it meanwhile; what it has done stays done.
  int give(runtime::Order order, const std::string& text, std::uint64_t argument, unsigned timeout_s,
           runtime::Told* copy = nullptr);

 private:
  std::string order(runtime::Order order, const std::string& text, std::uint64_t argument, unsigned timeout_s,
                    runtime::Told* copy);
  runtime::ControlPage& control() const;
  bool ended() const override;
  bool cancelled() const override;

  long pid_;
  void* page_ = nullptr;
  std::string path_;  // of the page, in /proc
  std::string problem_;
};

// What another process has written, for a terminal: control characters as \ooo, but for new lines.
std::string printable(std::string_view text);
// Processes of this user, or all for root, that are managed.
std::vector<long> managed_processes();

}  // namespace coldpress::cli
