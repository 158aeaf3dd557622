// What the engine reads of its own process: memory use, mappings, the machine's size.
//
// Descriptors are opened once, early: a program may change its root, its user or its limits later.
// Thread safety: none; each object has one user at a time.
#pragma once

#include <signal.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/units.h"

namespace coldpress::os {

// A line of /proc/self/maps.
struct Mapping {
  PageRange range;
  bool readable = false, writable = false, executable = false, shared = false;
  bool file = false;      // has an inode
  std::string_view name;  // path, "[heap]", "[anon:...]" or empty; valid until the next line
};

// Parses one line (without its newline). false: not a line of a maps file.
bool parse_mapping(std::string_view line, Mapping& mapping);

class ProcessView {
 public:
  // false: /proc is not there.
  bool open();
  // Whether open() would do in this process.
  static bool can_open();
  void close();
  void descriptors(int (&fds)[3]) const {
    fds[0] = statm_;
    fds[1] = maps_;
    fds[2] = tasks_;
  }

  // Anonymous resident memory as the kernel shows it (RssAnon), in pages.
  std::uint64_t rss_anon_pages() const;

  // Calls visit(mapping) for every mapping. false: could not be read to the end.
  template <typename Visit>
  bool for_each_mapping(std::span<char> buffer, Visit visit) const {
    std::uint64_t offset = 0;
    std::size_t kept = 0;
    for (;;) {
      long count = read_maps(buffer.subspan(kept), offset);
      if (count < 0) return false;
      if (count == 0) return kept == 0;
      offset += static_cast<std::uint64_t>(count);
      std::string_view text(buffer.data(), kept + static_cast<std::size_t>(count));
      for (auto end = text.find('\n'); end != std::string_view::npos; end = text.find('\n')) {
        Mapping mapping;
        if (parse_mapping(text.substr(0, end), mapping)) visit(mapping);
        text.remove_prefix(end + 1);
      }
      kept = text.size();
      if (kept == buffer.size()) return false;
      for (std::size_t i = 0; i < kept; ++i) buffer[i] = text[i];
    }
  }

  // An address in the thread block of every thread that the C library made: it lies in the thread's stack
  // mapping. Fills `addresses`, returns how many.
  std::size_t thread_blocks(std::span<std::uint64_t> addresses) const;
  // Threads of the process; 0: unknown.
  std::size_t thread_count() const;

 private:
  long read_maps(std::span<char> buffer, std::uint64_t offset) const;

  int statm_ = -1;
  int maps_ = -1;
  int tasks_ = -1;
};

// Sets of signals: bit n - 1 is signal n.
constexpr std::uint64_t signal_bit(int number) { return std::uint64_t{1} << (number - 1); }
// All but those that an instruction raises.
inline constexpr std::uint64_t kHeldSignals =
    ~(signal_bit(SIGBUS) | signal_bit(SIGSEGV) | signal_bit(SIGFPE) | signal_bit(SIGILL) |
      signal_bit(SIGTRAP) | signal_bit(SIGSYS));

// Keeps kHeldSignals from the calling thread from now on: a handler shall not wait for what the code that it
// interrupts holds. Returns those that were kept before.
std::uint64_t hold_signals();
// Keeps these and no others.
void restore_signals(std::uint64_t held);

class SignalsHeld {
 public:
  SignalsHeld() : before_(hold_signals()) {}
  ~SignalsHeld() { restore_signals(before_); }
  SignalsHeld(const SignalsHeld&) = delete;
  SignalsHeld& operator=(const SignalsHeld&) = delete;

 private:
  std::uint64_t before_;
};

// What tells the calling thread from all others of the process; the same in a child that it forks.
std::uint64_t thread_pointer();
// Private memory, whole pages, that reads zero in the child of a fork. false: the system refused.
bool wipe_on_fork(void* start, std::size_t bytes);
// Whether there is a process of that number, anybody's.
bool process_exists(long pid);
// Fills with random bytes fit for keys. false: the system has none.
bool random_bytes(std::byte* into, std::size_t count);

// Room on the file system of an open directory, for users like this one. 0: can not be told.
std::uint64_t free_space_bytes(int directory);

// Physical memory of the machine, in bytes.
std::uint64_t physical_memory_bytes();

// Cpus this process may run on: fills `cpus` with their numbers, returns how many there are in it.
std::size_t allowed_cpus(std::span<int> cpus);

}  // namespace coldpress::os
