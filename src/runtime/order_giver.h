// The other side of runtime/control.h: gives one order through a control page and waits for what became of
// it.
//
// Thread safety: any number of threads and processes may give orders to one engine; each waits for its turn.
#pragma once

#include <string_view>

#include "base/log.h"
#include "runtime/control.h"

namespace coldpress::runtime {

enum class Given {
  kFollowed,
  kRefused,    // `answer` says why
  kBusy,       // another order did not end for long
  kNoAnswer,   // nobody looked at it: taken back
  kStillAtIt,  // it runs on
  kEnded,      // there is no engine behind the page any more
};

// What the giver looks at while it waits.
class OrderWatch {
 public:
  // Whether there is no engine behind the page any more.
  virtual bool ended() const { return false; }
  // Whether the order is not wanted any more: what is running stops, and what it has done stays done.
  virtual bool cancelled() const { return false; }

 protected:
  ~OrderWatch() = default;
};

// Waits at most timeout_s for the end of it. kFollowed: `*copy`, if there is to be one, is what it has told.
Given give_order(ControlPage& page, Order order, std::string_view text, std::uint64_t argument,
                 unsigned timeout_s, const OrderWatch& watch, Text& answer, Told* copy = nullptr);

}  // namespace coldpress::runtime
