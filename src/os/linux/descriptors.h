// File descriptors across the two file tables of a managed process: the program's, and the engine threads'.
//
// Engine threads of the preload library have a table of their own, so that close_range(), dup2() and the like
// of the program can not reach the engine's descriptors. Thread safety: any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace coldpress::os {

// Closes every descriptor of the calling thread's table that is not in `keep` (entries below 0 are ignored).
// keep is sorted in place; at most 32 entries.
void close_all_but(std::span<int> keep);

// Takes a copy of a descriptor of the thread-group leader's table (the program's). -1: not possible.
int take_from_program(int fd);

// Where standard error was at start-up, so that messages never go into another file that took its number.
struct ErrorStream {
  std::uint64_t device = 0, inode = 0;
  bool known = false;
};
ErrorStream identify_error_stream();
// Writes a line (with "coldpress: " before it) to the program's standard error, if it still is that stream.
void write_error_line(const ErrorStream& stream, std::string_view line);

// A pair of connected sockets, close-on-exec. false: the system refused.
bool make_socket_pair(int (&fds)[2]);
// A pipe, close-on-exec: its reading and its writing end. false: the system refused.
bool make_pipe(int (&fds)[2]);
// Sends one byte and, unless negative, a descriptor. false: the peer is gone.
bool send_byte(int socket, char byte, int fd = -1);
inline constexpr char kEnded = 1;
// Waits for one byte, at most timeout_ns. 0: time is up; kEnded: the peer is gone. *fd gets a descriptor, or
// -1.
char receive_byte(int socket, std::int64_t timeout_ns, int* fd = nullptr);
// Waits until one of the two can be read. 0: time is up; else bit 0 and bit 1.
int wait_either(int first, int second, std::int64_t timeout_ns);

}  // namespace coldpress::os
