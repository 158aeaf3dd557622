// Orders to a managed process: set, reclaim, writeback, swapon, swapoff.
#include <fmt/format.h>

#include <cstring>
#include <filesystem>

#include "base/size_text.h"
#include "cli/commands.h"
#include "cli/managed.h"
#include "os/linux/process.h"
#include "runtime/config.h"

namespace coldpress::cli {
namespace {

constexpr unsigned kQuickS = 10, kLongS = 3600;

int give(long pid, runtime::Order order, const std::string& text, std::uint64_t argument,
         unsigned timeout_s) {
  return Managed(pid, true).give(order, text, argument, timeout_s);
}

int give_size(long pid, runtime::Order order, const std::string& size) {
  auto bytes = parse_size(size, os::physical_memory_bytes());
  if (!bytes || *bytes == 0) {
    complain(size + " is not a size: write it as 100M");
    return 2;
  }
  return give(pid, order, "", *bytes, kLongS);
}

// The engine's working directory is not the tool's.
std::string absolute_spec(const std::string& text) {
  if (text.empty() || text[0] == ',' || text.starts_with("ram:")) return text;
  std::size_t comma = text.find(',');
  std::string rest = comma == std::string::npos ? "" : text.substr(comma);
  return std::filesystem::absolute(text.substr(0, comma)).lexically_normal().string() + rest;
}

}  // namespace

int set(long pid, const std::vector<std::string>& settings) {
  if (settings.empty()) {
    runtime::Told told;
    int status = Managed(pid, true).give(runtime::Order::kSettings, "", 0, kQuickS, &told);
    if (status == 0)
      fmt::print("{}", printable({told.settings, strnlen(told.settings, sizeof told.settings)}));
    return status;
  }
  for (std::string setting : settings) {
    if (setting.starts_with("limit=")) {
      auto bytes = parse_size(setting.substr(6), os::physical_memory_bytes());
      if (!bytes) {
        complain(setting + " is not a size: write it as limit=512M or limit=50%");
        return 2;
      }
      setting = "limit=" + std::to_string(*bytes);
    }
    if (int status = give(pid, runtime::Order::kSet, setting, 0, kQuickS); status != 0) return status;
  }
  return 0;
}

int reclaim(long pid, const std::string& size) { return give_size(pid, runtime::Order::kReclaim, size); }

int writeback(long pid, const std::string& size) { return give_size(pid, runtime::Order::kWriteBack, size); }

int swapon(long pid, const std::string& text) {
  runtime::SwapSpec spec;
  std::string absolute = absolute_spec(text);
  if (Text problem = runtime::parse_swap(absolute, spec); !problem.view().empty()) {
    complain(std::string(problem.view()));
    return 2;
  }
  return give(pid, runtime::Order::kSwapOn, absolute, 0, kQuickS);
}

int swapoff(long pid, const std::string& name) {
  bool memory =
      name == "ram" || (name.size() == 4 && name.starts_with("ram") && name[3] >= '2' && name[3] <= '4');
  bool is_path = name != "auto" && !memory;
  return give(pid, runtime::Order::kSwapOff, is_path ? absolute_spec(name) : name, 0, kLongS);
}

}  // namespace coldpress::cli
