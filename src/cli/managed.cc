#include "cli/managed.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "os/linux/stats_file.h"
#include "sync/futex.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;
using runtime::ControlPage;

// The descriptor of the statistics page, held by one of the engine's threads. "" when there is none.
std::string find_stats_file(long pid, bool* denied) {
  std::error_code error;
  std::string wanted = fmt::format("/memfd:{} (deleted)", os::kStatsFileName);
  for (const auto& thread : fs::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    fs::directory_iterator descriptors(thread.path() / "fd", error);
    if (error) {
      *denied = *denied || error.value() == EACCES || error.value() == EPERM;
      continue;
    }
    for (const auto& descriptor : descriptors) {
      if (fs::read_symlink(descriptor.path(), error).string() == wanted) return descriptor.path().string();
    }
  }
  return "";
}

}  // namespace

Managed::Managed(long pid, bool to_order) : pid_(pid) {
  if (!fs::exists(fmt::format("/proc/{}", pid))) {
    problem_ = fmt::format("there is no process {}", pid);
    return;
  }
  bool denied = false;
  std::string path = find_stats_file(pid, &denied);
  if (path.empty()) {
    problem_ = denied ? fmt::format("process {} is another user's: run this as that user", pid)
                      : fmt::format("process {} is not managed: start it with coldpress run", pid);
    return;
  }
  int fd = open(path.c_str(), (to_order ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  int protection = to_order ? PROT_READ | PROT_WRITE : PROT_READ;
  void* page = fd < 0 ? MAP_FAILED : mmap(nullptr, os::kStatsFileBytes, protection, MAP_SHARED, fd, 0);
  int error = errno;
  if (fd >= 0) close(fd);
  if (page == MAP_FAILED) {
    problem_ = fmt::format("the counters of process {} can not be read: {}", pid, std::strerror(error));
    return;
  }
  page_ = page;
  if (stats().magic.load() != memgroup::Stats::kMagic) {
    problem_ = fmt::format(
        "process {} is managed by another version of coldpress: use the tool of that version", pid);
  }
}

Managed::~Managed() {
  if (page_ != nullptr) munmap(page_, os::kStatsFileBytes);
}

ControlPage& Managed::control() const {
  return *reinterpret_cast<ControlPage*>(static_cast<std::byte*>(page_) + ControlPage::kOffset);
}

std::string Managed::order(runtime::Order order, const std::string& text, std::uint64_t argument,
                           unsigned timeout_s) {
  constexpr std::int64_t kLook = 2'000'000, kSecond = 1'000'000'000;
  ControlPage& page = control();
  if (text.size() >= sizeof page.text) return "that is too long";
  std::int64_t until = sync::now_ns() + std::int64_t{timeout_s} * kSecond;
  std::uint32_t idle = ControlPage::kIdle;
  while (!page.state.compare_exchange_strong(idle, ControlPage::kTaken)) {
    // Another tool's turn, unless it has died.
    std::uint32_t other = page.tool.load();
    if (other != 0 && kill(static_cast<pid_t>(other), 0) != 0 && errno == ESRCH) {
      page.state.compare_exchange_strong(idle, ControlPage::kIdle);
    }
    if (sync::now_ns() > until) return fmt::format("process {} is busy with another order", pid_);
    sync::sleep_ns(kLook);
    idle = ControlPage::kIdle;
  }
  page.tool.store(static_cast<std::uint32_t>(getpid()));
  page.order = order;
  page.argument = argument;
  std::memcpy(page.text, text.c_str(), text.size() + 1);
  page.state.store(ControlPage::kPosted, sync::kRelease);
  while (page.state.load(sync::kAcquire) != ControlPage::kDone) {
    if (kill(static_cast<pid_t>(pid_), 0) != 0 && errno == ESRCH) {
      return fmt::format("process {} has ended meanwhile", pid_);
    }
    std::uint32_t posted = ControlPage::kPosted;
    // Nobody looks: taken back, unless it was done this very moment.
    if (sync::now_ns() > until && page.state.compare_exchange_strong(posted, ControlPage::kIdle)) {
      return fmt::format("process {} does not answer: is it stopped?", pid_);
    }
    sync::sleep_ns(kLook);
  }
  std::string answer =
      page.good != 0 ? "" : std::string(page.answer, strnlen(page.answer, sizeof page.answer));
  page.state.store(ControlPage::kIdle);
  return answer;
}

std::vector<long> managed_processes() {
  std::vector<long> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    std::string name = entry.path().filename().string();
    long pid = 0;
    auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    bool denied = false;
    if (bad != std::errc{} || end != name.data() + name.size()) continue;
    if (!find_stats_file(pid, &denied).empty()) found.push_back(pid);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace coldpress::cli
