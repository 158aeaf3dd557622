// For tests of Zswap.
// Thread safety: none; each thread has its own.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "unit/contents.h"
#include "zswap/zswap.h"

namespace coldpress::zswap {

// A worker with its memory.
struct OwnedWorker {
  explicit OwnedWorker(codec::Choice choice = {}) {
    std::size_t bytes = codec::Codec::workspace_bytes(choice);
    workspace.reset(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)), &std::free);
    EXPECT_TRUE(worker.codec.init(choice, workspace.get(), bytes));
    worker.buffer = buffer.data();
  }
  std::shared_ptr<std::byte> workspace;
  testing::Page buffer{};
  Worker worker;
};

}  // namespace coldpress::zswap
