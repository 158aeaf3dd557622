#include "os/linux/process.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>

#include "os/linux/syscalls.h"

namespace coldpress::os {
namespace {

bool take_hex(std::string_view& text, std::uint64_t& number) {
  std::size_t used = 0;
  number = 0;
  while (used < text.size()) {
    char c = text[used];
    unsigned digit;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a' + 10);
    } else {
      break;
    }
    number = number << 4 | digit;
    ++used;
  }
  text.remove_prefix(used);
  return used > 0;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

std::uint64_t take_decimal(std::string_view& text) {
  std::uint64_t number = 0;
  while (!text.empty() && text[0] >= '0' && text[0] <= '9') {
    number = number * 10 + static_cast<std::uint64_t>(text[0] - '0');
    text.remove_prefix(1);
  }
  while (take(text, ' ')) {
  }
  return number;
}

}  // namespace

bool parse_mapping(std::string_view line, Mapping& mapping) {
  std::uint64_t begin, end, ignored;
  if (!take_hex(line, begin) || !take(line, '-') || !take_hex(line, end) || !take(line, ' ')) return false;
  if (line.size() < 5 || end < begin) return false;
  mapping.range = {page_of(begin), page_of(end)};
  mapping.readable = line[0] == 'r';
  mapping.writable = line[1] == 'w';
  mapping.executable = line[2] == 'x';
  mapping.shared = line[3] == 's';
  line.remove_prefix(5);
  if (!take_hex(line, ignored) || !take(line, ' ')) return false;                              // offset
  if (!take_hex(line, ignored) || !take(line, ':') || !take_hex(line, ignored)) return false;  // device
  if (!take(line, ' ')) return false;
  mapping.file = take_decimal(line) != 0;
  mapping.name = line;
  return true;
}

bool ProcessView::open() {
  statm_ = static_cast<int>(sys_open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
  maps_ = static_cast<int>(sys_open("/proc/self/maps", O_RDONLY | O_CLOEXEC));
  tasks_ = static_cast<int>(sys_open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  return statm_ >= 0 && maps_ >= 0 && tasks_ >= 0;
}

bool ProcessView::can_open() {
  ProcessView view;
  bool opened = view.open();
  view.close();
  return opened;
}

void ProcessView::close() {
  if (statm_ >= 0) sys_close(statm_);
  if (maps_ >= 0) sys_close(maps_);
  if (tasks_ >= 0) sys_close(tasks_);
  statm_ = maps_ = tasks_ = -1;
}

std::uint64_t ProcessView::rss_anon_pages() const {
  char text[128];
  long count = sys_pread(statm_, text, sizeof text, 0);
  if (count <= 0) return 0;
  std::string_view view(text, static_cast<std::size_t>(count));
  take_decimal(view);
  std::uint64_t resident = take_decimal(view);
  std::uint64_t shared = take_decimal(view);  // file and shmem pages
  return resident > shared ? resident - shared : 0;
}

long ProcessView::read_maps(std::span<char> buffer, std::uint64_t offset) const {
  return sys_pread(maps_, buffer.data(), buffer.size(), offset);
}

std::size_t ProcessView::thread_count() const {
  struct stat of_tasks;  // of the directory: a link for each thread, and its own two
  if (raw_syscall(SYS_fstat, tasks_, reinterpret_cast<long>(&of_tasks)) != 0) return 0;
  return of_tasks.st_nlink > 2 ? of_tasks.st_nlink - 2 : 0;
}

std::size_t ProcessView::thread_blocks(std::span<std::uint64_t> addresses) const {
  struct Entry {  // linux_dirent64
    std::uint64_t inode;
    std::int64_t offset;
    std::uint16_t length;
    std::uint8_t type;
    char name[1];
  };
  alignas(Entry) char buffer[2048];
  std::size_t count = 0;
  raw_syscall(SYS_lseek, tasks_, 0, SEEK_SET);
  for (;;) {
    long bytes = raw_syscall(SYS_getdents64, tasks_, reinterpret_cast<long>(buffer), sizeof buffer);
    if (bytes <= 0) return count;
    for (long at = 0; at < bytes;) {
      auto* entry = reinterpret_cast<Entry*>(buffer + at);
      at += entry->length;
      std::string_view name(entry->name);
      std::uint64_t tid = take_decimal(name);
      void* head = nullptr;
      std::size_t length = 0;
      // The list head is part of the C library's thread structure, which lies on top of the thread's stack.
      if (tid == 0 || count == addresses.size() ||
          raw_syscall(SYS_get_robust_list, static_cast<long>(tid), reinterpret_cast<long>(&head),
                      reinterpret_cast<long>(&length)) != 0 ||
          head == nullptr) {
        continue;
      }
      addresses[count++] = reinterpret_cast<std::uint64_t>(head);
    }
  }
}

std::uint64_t hold_signals() {
  std::uint64_t before = 0;
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&kHeldSignals),
              reinterpret_cast<long>(&before), sizeof before);
  return before;
}

void restore_signals(std::uint64_t held) {
  raw_syscall(SYS_rt_sigprocmask, SIG_SETMASK, reinterpret_cast<long>(&held), 0, sizeof held);
}

std::uint64_t thread_pointer() {
  std::uint64_t self;
  asm("mov %%fs:0, %0" : "=r"(self));
  return self;
}

bool wipe_on_fork(void* start, std::size_t bytes) { return sys_madvise(start, bytes, MADV_WIPEONFORK) == 0; }

bool process_exists(long pid) { return raw_syscall(SYS_kill, pid, 0) != -ESRCH; }

bool random_bytes(std::byte* into, std::size_t count) {
  long got;
  do {
    got = raw_syscall(SYS_getrandom, reinterpret_cast<long>(into), static_cast<long>(count), 0);
  } while (got == -EINTR);
  return got == static_cast<long>(count);
}

std::uint64_t free_space_bytes(int directory) {
  struct statfs about = {};
  if (raw_syscall(SYS_fstatfs, directory, reinterpret_cast<long>(&about)) != 0) return 0;
  return std::uint64_t{about.f_bavail} * static_cast<std::uint64_t>(about.f_bsize);
}

std::uint64_t physical_memory_bytes() {
  struct sysinfo info {};
  raw_syscall(SYS_sysinfo, reinterpret_cast<long>(&info));
  return info.totalram * std::uint64_t{info.mem_unit};
}

std::size_t allowed_cpus(std::span<int> cpus) {
  unsigned long mask[16] = {};
  long bytes = raw_syscall(SYS_sched_getaffinity, 0, sizeof mask, reinterpret_cast<long>(mask));
  std::size_t count = 0;
  for (long cpu = 0; cpu < bytes * 8 && count < cpus.size(); ++cpu) {
    if ((mask[cpu / 64] >> (cpu % 64)) & 1) cpus[count++] = static_cast<int>(cpu);
  }
  return count;
}

}  // namespace coldpress::os
