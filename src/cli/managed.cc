#include "cli/managed.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>
#include <filesystem>

#include "cli/commands.h"
#include "os/linux/stats_file.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;
using runtime::ControlPage;

volatile std::sig_atomic_t told_to_stop = 0;

// The descriptors of statistics pages, held by one of the engine's threads.
std::vector<std::string> find_stats_files(long pid, bool* denied) {
  std::error_code error;
  std::vector<std::string> found;
  std::string wanted = fmt::format("/memfd:{} (deleted)", os::kStatsFileName);
  for (const auto& thread : fs::directory_iterator(fmt::format("/proc/{}/task", pid), error)) {
    fs::directory_iterator descriptors(thread.path() / "fd", error);
    if (error) {
      *denied = *denied || error.value() == EACCES || error.value() == EPERM;
      continue;
    }
    for (const auto& descriptor : descriptors) {
      if (fs::read_symlink(descriptor.path(), error).string() == wanted)
        found.push_back(descriptor.path().string());
    }
  }
  return found;
}

void* map_page(const std::string& path, bool writable) {
  int fd = open(path.c_str(), (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
  if (fd < 0) return nullptr;
  int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
  void* page = mmap(nullptr, os::kStatsFileBytes, protection, MAP_SHARED, fd, 0);
  int error = errno;
  close(fd);
  errno = error;
  return page == MAP_FAILED ? nullptr : page;
}

}  // namespace

Managed::Managed(long pid, bool to_order) : pid_(pid) {
  if (!fs::exists(fmt::format("/proc/{}", pid))) {
    problem_ = fmt::format("there is no process {}", pid);
    return;
  }
  bool denied = false;
  std::vector<std::string> paths = find_stats_files(pid, &denied);
  if (paths.empty()) {
    problem_ = denied ? fmt::format("process {} is another user's: run this as that user", pid)
                      : fmt::format("process {} is not managed: start it with coldpress run", pid);
    return;
  }
  for (const std::string& path : paths) {
    void* page = map_page(path, to_order);
    if (page == nullptr) continue;
    // A forked child may still hold its parent's. (Its number is another where it counts processes itself.)
    bool its_own = static_cast<memgroup::Stats*>(page)->pid.load() == static_cast<std::uint64_t>(pid);
    if (page_ != nullptr && !its_own) {
      munmap(page, os::kStatsFileBytes);
      continue;
    }
    if (page_ != nullptr) munmap(page_, os::kStatsFileBytes);
    page_ = page;
    path_ = path;
    if (its_own) break;
  }
  if (page_ == nullptr) {
    problem_ = fmt::format("the counters of process {} can not be read: {}", pid, std::strerror(errno));
  } else if (stats().magic.load() != memgroup::Stats::kMagic) {
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

int Managed::give(runtime::Order what, const std::string& text, std::uint64_t argument, unsigned timeout_s,
                  runtime::Told* copy) {
  if (!problem_.empty()) {
    complain(problem_);
    return 2;
  }
  std::string problem = order(what, text, argument, timeout_s, copy);
  if (problem.empty()) return 0;
  complain(problem);
  return 1;
}

std::string Managed::order(runtime::Order order, const std::string& text, std::uint64_t argument,
                           unsigned timeout_s, runtime::Told* copy) {
  using runtime::Given;
  ControlPage& page = control();
  Text answer;
  struct sigaction action {};
  action.sa_handler = [](int) { told_to_stop = 1; };
  action.sa_flags = SA_RESETHAND;  // the next one ends the tool
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    sigaction(signal, nullptr, &before);
    if (before.sa_handler == SIG_DFL) sigaction(signal, &action, nullptr);  // not what nohup has off
  }
  switch (runtime::give_order(page, order, text, argument, timeout_s, *this, answer, copy)) {
    case Given::kFollowed:
      return "";
    case Given::kRefused:
      return std::string(answer.view());
    case Given::kBusy:
      if (told_to_stop != 0) return "interrupted: the order was not given";
      return fmt::format("process {} is busy with another order", pid_);
    case Given::kNoAnswer:
      if (told_to_stop != 0) return "interrupted: the order was taken back";
      return fmt::format("process {} does not answer: is it stopped?", pid_);
    case Given::kStillAtIt:
      return fmt::format("process {} is still at it", pid_);
    case Given::kEnded:
      break;
  }
  return fmt::format("process {} has ended, or begun another program, meanwhile", pid_);
}

// Nobody holds the page any more.
bool Managed::ended() const {
  std::error_code error;
  return fs::read_symlink(path_, error).string().find(os::kStatsFileName) == std::string::npos;
}

bool Managed::cancelled() const { return told_to_stop != 0; }

std::string printable(std::string_view text) {
  std::string shown;
  for (char c : text) {
    auto byte = static_cast<unsigned char>(c);
    bool control = (byte < ' ' && c != '\n') || byte == 127;
    control ? shown += fmt::format("\\{:03o}", byte) : shown += c;
  }
  return shown;
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
    if (!find_stats_files(pid, &denied).empty()) found.push_back(pid);
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace coldpress::cli
