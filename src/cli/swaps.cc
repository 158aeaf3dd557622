// The swap devices of a managed process, as /proc/swaps.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/managed.h"

namespace coldpress::cli {
namespace {

using Rows = runtime::DeviceRows;

// What another process has written may be anything.
const char* kind_name(Rows::Kind kind) {
  return kind == Rows::Kind::kRam ? "ram" : kind == Rows::Kind::kPartition ? "partition" : "file";
}

const char* state_name(Rows::State state) {
  switch (state) {
    case Rows::State::kReady:
      return "ready";
    case Rows::State::kLater:
      return "when needed";
    case Rows::State::kFailing:
      return "failing";
    case Rows::State::kParents:
      return "parent's";
  }
  return "unknown";
}

}  // namespace

int swaps(long pid, bool json) {
  constexpr unsigned kTimeoutS = 10;
  runtime::Told told;
  int status = Managed(pid, true).give(runtime::Order::kDevices, "", 0, kTimeoutS, &told);
  if (status != 0) return status;
  Rows& rows = told.devices;
  auto all = nlohmann::ordered_json::array();
  const char* line = "{:<40} {:<10} {:>12} {:>12} {:>10} {:>5}  {}\n";
  if (!json) fmt::print(fmt::runtime(line), "device", "kind", "KiB", "KiB used", "pages", "prio", "state");
  for (std::size_t i = 0; i < std::min<std::uint64_t>(rows.count, std::size(rows.rows)); ++i) {
    const Rows::Row& row = rows.rows[i];
    std::string name(row.name, strnlen(row.name, sizeof row.name));
    if (json) {
      all.push_back({{"device", name},
                     {"kind", kind_name(row.kind)},
                     {"size_bytes", row.size_bytes},
                     {"used_bytes", row.used_bytes},
                     {"pages", row.pages},
                     {"priority", row.priority},
                     {"state", state_name(row.state)}});
    } else {
      std::replace(name.begin(), name.end(), '\n', '?');
      fmt::print(fmt::runtime(line), printable(name), kind_name(row.kind), row.size_bytes >> 10,
                 row.used_bytes >> 10, row.pages, row.priority, state_name(row.state));
    }
  }
  if (json) {
    constexpr auto kAnyBytes = nlohmann::ordered_json::error_handler_t::replace;  // a path may hold any
    fmt::print("{}\n", nlohmann::ordered_json{{"pid", pid}, {"devices", all}}.dump(2, ' ', false, kAnyBytes));
  }
  return 0;
}

}  // namespace coldpress::cli
