#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/managed.h"

namespace coldpress::cli {

int stat(long pid, bool json) {
  Managed process(pid);
  if (!process.problem().empty()) {
    complain(process.problem());
    return 2;
  }
  nlohmann::ordered_json all{{"pid", process.stats().pid.load()}};
  memgroup::for_each_field(process.stats(), [&](const char* name, std::uint64_t value) {
    if (json) {
      all[name] = value;
    } else {
      fmt::print("{:22} {}\n", name, value);
    }
  });
  if (json) fmt::print("{}\n", all.dump(2));
  return 0;
}

}  // namespace coldpress::cli
