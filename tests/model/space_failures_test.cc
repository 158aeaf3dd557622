// Every call of the machine that can fail is made to fail, at every step: a fixed series of operations is run
// again and again; in each run one call fails, the next one each time, or the next few in a row.
//
// What every page reads is compared with the reference, nothing may be left over at the end, and nothing may
// hang. The same at random, beside everything else: model.space; with other threads: sched.failures.
//   COLDPRESS_MODEL_RUNS=N  as many series, from COLDPRESS_MODEL_SEED=N on
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>

#include "model_main.h"
#include "space_world.h"

namespace coldpress::testing {
namespace {

using os::SimInterference;

struct Failure {
  const char* name;
  std::uint32_t SimInterference::*odds;
};
constexpr Failure kFailures[] = {
    {"changing", &SimInterference::changing},
    {"shorten", &SimInterference::shorten},
    {"keep_frame", &SimInterference::keep_frame},
    {"no_memory", &SimInterference::no_memory},
    {"busy", &SimInterference::busy},
    {"populate", &SimInterference::populate},
    {"refuse_register", &SimInterference::refuse_register},
    {"keep_registered", &SimInterference::keep_registered},
};

struct DeviceFailure {
  const char* name;
  std::uint32_t os::SimDevice::Faults::*odds;
};
constexpr DeviceFailure kDeviceFailures[] = {
    {"read_error", &os::SimDevice::Faults::read_error}, {"write_error", &os::SimDevice::Faults::write_error},
    {"no_space", &os::SimDevice::Faults::no_space},     {"torn_write", &os::SimDevice::Faults::torn_write},
    {"lost_write", &os::SimDevice::Faults::lost_write}, {"late", &os::SimDevice::Faults::late},
};

// All operations but those that bring failures of their own.
struct Chances {
  std::uint64_t of_machine, of_memory, of_devices;
};
Chances run_series(std::uint64_t seed, WorldOptions options) {
  options.seed = seed;
  options.limit_pages = 450;
  options.frame_count = 128;
  options.pages = 250;
  options.device_bytes = std::uint64_t{2} << 20;
  options.counted = seed % 3 == 0;
  options.trace = std::getenv("COLDPRESS_MODEL_TRACE") != nullptr;
  World world(options);
  Random random(seed);
  std::vector<World::Operation> chosen;
  for (const World::Operation& operation : World::operations()) {
    std::string name = operation.name;
    if (name == "interference" || name == "device" || name == "storm") continue;
    bool of_devices = name == "write_back" || name == "page_out" || name == "swap_off" || name == "read";
    if (of_devices && options.device_faults.only_at != 0) chosen.insert(chosen.end(), 6, operation);
    bool often = name == "page_out" || name == "corrupt" || name == "fork" || name == "read";
    chosen.insert(chosen.end(), often ? 3 : 1, operation);
  }
  // Devices hear little of each operation.
  int steps = options.device_faults.only_at != 0 ? 200 : 60;
  for (int i = 0; i < 4; ++i) world.map_some();
  for (int step = 0; step < steps && !world.broken(); ++step) {
    (world.*chosen[random.below(chosen.size())].run)();
  }
  world.finish_changes();
  world.check_structure();
  world.verify_everything();
  std::uint64_t of_devices = world.device(0).chances() + world.device(1).chances();
  if (!world.broken()) world.close();
  std::uint64_t of_machine = world.sim().chances(), of_memory = world.memory().calls();
  if (::testing::Test::HasFailure()) std::cerr << "last operations:\n" << world.last_operations();
  return {of_machine, of_memory, of_devices};
}

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class SpaceFailures : public ::testing::TestWithParam<Failure> {};

TEST_P(SpaceFailures, OneAfterTheOther) {
  std::uint64_t first = setting("COLDPRESS_MODEL_SEED", 1), runs = setting("COLDPRESS_MODEL_RUNS", 1);
  std::uint64_t steps = 0, calls = 0;
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    for (std::uint64_t times : {1, 3}) {
      std::uint64_t at = 1;
      for (std::uint64_t chances = 1; at <= chances; ++at, ++steps) {
        SimInterference interference{.only_at = at, .times = times};
        interference.*GetParam().odds = 1;
        running_now() = "COLDPRESS_MODEL_SEED=" + std::to_string(seed) + ", call " + std::to_string(at) +
                        ", " + std::to_string(times) + " in a row";
        SCOPED_TRACE(running_now());
        chances = run_series(seed, {.interference = interference}).of_machine;
        calls += chances;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(calls, 0u) << "nothing could fail: this proves nothing";
  std::cout << steps << " runs\n";
}

class SpaceFailuresOfDevices : public ::testing::TestWithParam<DeviceFailure> {};

// Both devices fail at the same call, each of its own. Five in a row are more than a read is tried.
TEST_P(SpaceFailuresOfDevices, OneAfterTheOther) {
  std::uint64_t first = setting("COLDPRESS_MODEL_SEED", 1), runs = setting("COLDPRESS_MODEL_RUNS", 3);
  std::uint64_t steps = 0, calls = 0;
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    for (std::uint64_t times : {1, 5}) {
      for (std::uint64_t at = 1, chances = 1; at <= chances; at += (times + 1) / 2, ++steps) {
        os::SimDevice::Faults faults{.only_at = at, .times = times};
        faults.*GetParam().odds = 1;
        running_now() = "COLDPRESS_MODEL_SEED=" + std::to_string(seed) + ", call " + std::to_string(at) +
                        ", " + std::to_string(times) + " in a row";
        SCOPED_TRACE(running_now());
        chances = run_series(seed, {.device_faults = faults}).of_devices;
        calls += chances;
        if (HasFailure()) return;
      }
    }
  }
  EXPECT_GT(calls, 0u) << "nothing could fail: this proves nothing";
  std::cout << steps << " runs\n";
}

// What can not be noted stops the process (COLDPRESS_CHECK); everything else goes on without. In a process of
// its own, because of that.
TEST(SpaceFailuresOfTables, MemoryForTablesRunsOut) {
  std::uint64_t first = setting("COLDPRESS_MODEL_SEED", 1), runs = setting("COLDPRESS_MODEL_RUNS", 4);
  std::uint64_t steps = 0, stopped = 0;
  for (std::uint64_t seed = first; seed < first + runs; ++seed) {
    std::uint64_t chances = run_series(seed, {}).of_memory;
    for (std::uint64_t at = 1; at <= chances; ++at, ++steps) {
      for (std::uint64_t times : {1, 3}) {
        running_now() = "COLDPRESS_MODEL_SEED=" + std::to_string(seed) + ", call " + std::to_string(at) +
                        ", " + std::to_string(times) + " in a row";
        SCOPED_TRACE(running_now());
        int said[2];
        ASSERT_EQ(pipe(said), 0);
        pid_t child = fork();
        if (child == 0) {
          alarm(60);
          rlimit none{0, 0};
          setrlimit(RLIMIT_CORE, &none);
          dup2(said[1], STDERR_FILENO);
          close(said[1]);
          run_series(seed, {.fail_memory_at = at, .fail_memory_times = times});
          _exit(HasFailure() ? 1 : 0);
        }
        close(said[1]);
        std::string text;
        char part[512];
        for (ssize_t got; (got = read(said[0], part, sizeof part)) > 0;)
          text.append(part, static_cast<std::size_t>(got));
        close(said[0]);
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        bool was_stopped = WIFSIGNALED(status) && (WTERMSIG(status) == SIGILL || WTERMSIG(status) == SIGTRAP);
        stopped += was_stopped ? 1 : 0;
        ASSERT_TRUE(was_stopped || status == 0) << text;
        if (was_stopped) {
          ASSERT_NE(text.find("table_.ensure("), std::string::npos) << "stopped for another reason: " << text;
        }
      }
    }
  }
  std::cout << steps << " calls; the process was stopped " << stopped << " times\n";
}

// Damaged before the fork, and known to be or not: the child must not read zeros.
TEST(SpaceFailuresOfForks, AChildHearsOfLostPagesWhateverFails) {
  for (std::uint32_t SimInterference::*odds : {&SimInterference::no_memory, &SimInterference::changing}) {
    for (bool known : {false, true}) {
      World world({.seed = 1});
      PageRange range{World::kBase, World::kBase + 4};
      world.map_range(range, true);
      for (std::uint64_t i = 0; i < range.pages(); ++i) {
        world.write_page(range.begin + i, make_content(ContentKind::kCompressible, i + 1));
      }
      world.space().page_out(range, world.worker());
      ASSERT_TRUE(world.corrupt_one(range.begin + 1));
      if (known) world.check_page(range.begin + 1);
      for (std::uint64_t at = 1; at <= range.pages() + 1; ++at) {
        SimInterference interference{.only_at = at, .times = 2};
        interference.*odds = 1;
        world.sim().interfere(interference, 1);
        world.fork_some();
        world.finish_changes();
        ASSERT_FALSE(world.broken());
      }
      world.close();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Of, SpaceFailures, ::testing::ValuesIn(kFailures),
                         [](const auto& info) { return info.param.name; });
INSTANTIATE_TEST_SUITE_P(Of, SpaceFailuresOfDevices, ::testing::ValuesIn(kDeviceFailures),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace coldpress::testing
