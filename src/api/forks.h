// Forks of a process that has pagers. Its child gets all that is out as ordinary memory, filled in by the
// parent's engines. fork() returns, in both, when that is done: what ends right after it, be it the parent,
// would leave zeros behind. Forks that bypass the C library do not wait.
//
// Thread safety: all functions from any thread.
#pragma once

#include "runtime/engine.h"

namespace coldpress {

// From its beginning to its end, which is before the engine's, forks wait for the engine.
class ForksWait {
 public:
  explicit ForksWait(runtime::Engine& engine);
  ~ForksWait();
  ForksWait(const ForksWait&) = delete;
  ForksWait& operator=(const ForksWait&) = delete;

 private:
  friend struct ForkHandlers;

  runtime::Engine& engine_;
  ForksWait* next_ = nullptr;
  bool here_ = false;  // the engine is this process's
};

}  // namespace coldpress
