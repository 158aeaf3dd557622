#include "base/check.h"

#include "base/log.h"

namespace coldpress {

void check_failed(const char* file, int line, const char* expression) {
  Text message;
  message << "internal check failed: " << expression << " (" << file << ":" << line
          << "); the program is stopped because its memory may be damaged";
  report(message);
  __builtin_trap();
}

}  // namespace coldpress
