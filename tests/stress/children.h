// Children of the stress program: each checks what it sees of its parent's memory, and that what it writes
// there is its own. Only one thread forks them.
#pragma once

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <shared_mutex>
#include <thread>
#include <vector>

#include "memory.h"

namespace coldtest {

// Without CAP_SYS_PTRACE it does not, and a child has nothing where a region was.
inline bool kernel_tells_of_forks() {
  int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  int fd = device >= 0 ? ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC)
                       : static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY));
  uffdio_api api{.api = UFFD_API, .features = UFFD_FEATURE_EVENT_FORK, .ioctls = 0};
  bool tells = fd >= 0 && ioctl(fd, UFFDIO_API, &api) == 0;
  if (fd >= 0) close(fd);
  if (device >= 0) close(device);
  return tells;
}

// Children that are forked while some runs are held as by a reader, so that it is known what they must see.
class Children {
 public:
  Children(Memory& memory, Counts& counts) : memory_(memory), counts_(counts) {
    constexpr int kShared = MAP_SHARED | MAP_ANONYMOUS;
    void* shared = mmap(nullptr, sizeof *told_, PROT_READ | PROT_WRITE, kShared, -1, 0);
    require(shared != MAP_FAILED, "shared memory");
    told_ = static_cast<Told*>(shared);
  }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;
  ~Children() { munmap(told_, sizeof *told_); }

  void fork_one(Rng& rng) {
    std::vector<std::shared_lock<std::shared_mutex>> held;
    first_ = rng.below(kStep);
    for (std::size_t run = first_; run < kRuns; run += kStep) {
      held.emplace_back(memory_.lock_of(run));
      if (rng.one_in(4)) memory_.cold(run);
    }
    std::size_t pages = looks_ ? held.size() * kRun : 0, checks = 2 * pages;
    *told_ = {};
    pid_t child = fork();
    if (child == 0) look();
    held.clear();  // whatever is written from now on is not the child's
    require(child > 0, "fork");
    hear(child, checks);
    ++counts_.forks;
    counts_.checked_by_children += pages;
  }

 private:
  // Every so many runs, which are 48 or 49: ThreadSanitizer takes no thread with 64 locks.
  static constexpr std::size_t kStep = 21;
  static constexpr int kGood = 7;

  struct Told {
    std::size_t checked;
    const char* wrong;  // null: nothing was
    std::size_t page;
    unsigned word;  // the first wrong one
    std::uint64_t key, found;
    unsigned right, zero;  // words of the page
  };

  // In the child, which has its parent's locks but not its threads: it reads, writes and ends, no more.
  [[noreturn]] void look() {
    if (looks_) {
      for_each_page([this](std::size_t page) { check(page, memory_.key(page), "what it got"); });
      for_each_page([this](std::size_t page) { fill_page(memory_.at(page), own_key(page)); });
      for_each_page([this](std::size_t page) { check(page, own_key(page), "what it wrote"); });
    }
    _exit(kGood);
  }

  template <typename Body>
  void for_each_page(Body body) {
    for (std::size_t run = first_; run < kRuns; run += kStep) {
      for (std::size_t page = run * kRun; page < (run + 1) * kRun; ++page) body(page);
    }
  }

  std::uint64_t own_key(std::size_t page) const { return mix(memory_.key(page) ^ page); }

  void check(std::size_t page, std::uint64_t key, const char* what) {
    ++told_->checked;
    if (page_is(memory_.at(page), key)) return;
    const auto* words = reinterpret_cast<const volatile std::uint64_t*>(memory_.at(page));
    Told told{told_->checked, what, page, kWordsPerPage, key, 0, 0, 0};
    for (unsigned word = 0; word < kWordsPerPage; ++word) {
      std::uint64_t found = words[word];
      if (found == 0) ++told.zero;
      if (found == word_of(key, word)) {
        ++told.right;
      } else if (told.word == kWordsPerPage) {
        told.word = word;
        told.found = found;
      }
    }
    *told_ = told;
    _exit(1);
  }

  void hear(pid_t child, std::size_t checks) {
    int status = wait_for(child);
    if (told_->wrong != nullptr) {
      die("MISMATCH: child %d, %s: page %zu (%p): first wrong word %u: expected %016lx, found %016lx (key "
          "%016lx; %u of %u words right, %u zero)",
          child, told_->wrong, told_->page, memory_.at(told_->page), told_->word,
          word_of(told_->key, told_->word), told_->found, told_->key, told_->right, kWordsPerPage,
          told_->zero);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != kGood || told_->checked != checks)
      die("FAILED: child %d: wait status %04x, %zu of %zu checks", child, status, told_->checked, checks);
  }

  int wait_for(pid_t child) {
    int status = 0;
    for (auto end = Clock::now() + kPatience; Clock::now() < end;) {
      pid_t ended = waitpid(child, &status, WNOHANG);
      require(ended == 0 || ended == child, "waitpid");
      if (ended == child) return status;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    kill(child, SIGKILL);
    die("FAILED: child %d does not end, after %zu checks", child, told_->checked);
  }

  Memory& memory_;
  Counts& counts_;
  Told* told_ = nullptr;
  std::size_t first_ = 0;
  const bool looks_ = kernel_tells_of_forks();
};

}  // namespace coldtest
