// A page of statistics that another process of the same user can map.
//
// It is a memfd that only the engine's threads hold open: `coldpress stat` finds it under
// /proc/PID/task/TID/fd, where the kernel's own permission check applies. No socket, no path, no thread.
#pragma once

#include <cstddef>

namespace coldpress::os {

inline constexpr char kStatsFileName[] = "coldpress-stats";
inline constexpr std::size_t kStatsFileBytes = 3 * 4096;
inline constexpr std::size_t kStatsFileKeptBytes = 4096;  // when it is made anew

// Maps a new statistics page, at `at` when not null (replacing what is there, keeping its content).
// Returns the address and the descriptor; nullptr on failure.
void* create_stats_page(void* at, int* fd);

}  // namespace coldpress::os
