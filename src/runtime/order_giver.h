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
  kEnded,      // `ended` said so
};

// Waits at most timeout_s for the end of it. `ended(context)`:
// whether there is no engine behind the page any more.
Given give_order(ControlPage& page, Order order, std::string_view text, std::uint64_t argument,
                 unsigned timeout_s, bool (*ended)(const void*), const void* context, Text& answer);

}  // namespace coldpress::runtime
