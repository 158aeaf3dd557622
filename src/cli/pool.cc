// The classes of the pool of compressed pages, as zsmalloc's in debugfs.
#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/managed.h"

namespace coldpress::cli {

int pool(long pid, bool compact, bool json) {
  constexpr unsigned kTimeoutS = 3600;
  Managed process(pid, true);
  runtime::Told told;
  int status = process.give(runtime::Order::kPool, "", compact ? 1 : 0, kTimeoutS, &told);
  if (status != 0) return status;
  const runtime::PoolRows& pool = told.pool;
  auto all = nlohmann::ordered_json::array();
  std::uint64_t pages = 0, in_use = 0, freeable = 0;
  const char* line = "{:>6} {:>14} {:>16} {:>9} {:>9} {:>9} {:>9}  {}\n";
  if (!json) {
    fmt::print(fmt::runtime(line), "bytes", "zspage pages", "zspage objects", "zspages", "objects", "pages",
               "freeable", "zspages by tenths in use, and full");
  }
  for (std::size_t i = 0; i < std::min(pool.count, std::uint64_t{std::size(pool.rows)}); ++i) {
    const runtime::PoolRows::Row& row = pool.rows[i];
    std::uint64_t row_pages = std::uint64_t{row.zspages} * row.pages;
    pages += row_pages;
    in_use += row.in_use;
    freeable += row.freeable_pages;
    if (json) {
      all.push_back({{"object_bytes", row.object_bytes},
                     {"zspage_pages", row.pages},
                     {"zspage_objects", row.objects},
                     {"zspages", row.zspages},
                     {"objects", row.in_use},
                     {"pages", row_pages},
                     {"freeable_pages", row.freeable_pages},
                     {"by_tenth", row.by_tenth}});
    } else if (row.zspages > 0) {
      fmt::print(fmt::runtime(line), row.object_bytes, row.pages, row.objects, row.zspages, row.in_use,
                 row_pages, row.freeable_pages, fmt::join(row.by_tenth, " "));
    }
  }
  if (json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"pid", pid}, {"classes", all}}.dump(2));
  } else {
    fmt::print(fmt::runtime(line), "all", "", "", "", in_use, pages, freeable, "");
  }
  return 0;
}

}  // namespace coldpress::cli
