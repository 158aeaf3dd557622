// The signal path: a touch of a page that is out raises SIGBUS in the touching thread (UFFD_FEATURE_SIGBUS),
// and the handler serves it there. No other thread takes part, so it is the fastest way; but accesses by the
// kernel on the program's behalf are not served (EFAULT), and a thread that blocks SIGBUS is killed by its
// fault.
//
// One handler for the process; engines register with it. A SIGBUS that no engine answers for goes to the
// handler that was there before (or that chain_sigbus() names). Thread safety: the handler runs in any
// thread, also nested in other handlers; it allocates nothing.
#pragma once

#include <signal.h>

namespace coldpress::runtime {

class Engine;

// Installs the handler if need be and adds the engine. false: too many engines.
bool add_signal_engine(Engine& engine);
void remove_signal_engine(Engine& engine);
// In the child of a fork: who was adding one is not there.
void signal_path_in_child();

// What the program wants to happen on a SIGBUS of its own. `before` gets what it wanted until now.
void chain_sigbus(const struct sigaction* action, struct sigaction* before);

}  // namespace coldpress::runtime
