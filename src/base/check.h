// CHECK: an invariant whose breach could return wrong bytes. Stays on in release.
//
// A failed check reports through the log sink and ends the process by a trap: the engine fails closed.
// Thread safety: any thread, any context; allocates nothing, makes no system call.
#pragma once

namespace coldpress {

[[noreturn]] void check_failed(const char* file, int line, const char* expression);

}  // namespace coldpress

#define COLDPRESS_CHECK(expression)                               \
  do {                                                            \
    if (!(expression)) [[unlikely]]                               \
      ::coldpress::check_failed(__FILE__, __LINE__, #expression); \
  } while (false)
