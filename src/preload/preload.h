// What the files of the preload library share.
// Both functions may be called from any thread, also before the engine runs.
#pragma once

#include "runtime/engine.h"

namespace coldpress::preload {

// The engine of this process; nullptr when it is not managed.
runtime::Engine* running_engine();

// Whether faults are served in the faulting thread (--fault-path signal).
bool signal_path();

}  // namespace coldpress::preload
