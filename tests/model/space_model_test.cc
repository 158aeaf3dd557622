// Random operations on a Space over the simulated machine, compared with a reference after every few.
//
// Every run draws its own subset of the operations (swarm testing): what one operation hides, its absence
// shows. A failure prints the seed and the last operations.
//   COLDPRESS_MODEL_SEED=N   only this run          COLDPRESS_MODEL_FIRST=N, COLDPRESS_MODEL_RUNS=N  many
//   COLDPRESS_MODEL_STEPS=N  operations in a run    COLDPRESS_MODEL_TRACE=1   print every operation
//   COLDPRESS_MODEL_LATE_FORKS=1  see os/sim/sim_mmu.h; not part of the normal run
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "model_main.h"
#include "space_world.h"

namespace coldpress::testing {
namespace {

#if defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kRuns = 8;  // of one thread
#elif defined(__SANITIZE_ADDRESS__)
constexpr std::uint64_t kRuns = 40;
#else
constexpr std::uint64_t kRuns = 150;
#endif
constexpr std::uint64_t kFirstSeed = 1;

std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

WorldOptions options_for(std::uint64_t seed) {
  Random random(seed ^ 0xabcdef);
  WorldOptions options;
  options.seed = seed;
  options.limit_pages = 450 + random.below(1200);
  options.frame_count = 32 * static_cast<std::uint32_t>(8 + random.below(16));
  if (random.one_in(4)) options.codec = {codec::Kind::kZstd, 1};
  if (random.one_in(2)) options.interference.changing = 3 + static_cast<std::uint32_t>(random.below(20));
  if (random.one_in(2)) options.interference.shorten = 3;
  if (random.one_in(3)) options.pages = 100 + random.below(400);
  if (random.one_in(2)) options.device_bytes = (std::uint64_t{1} << 20) * (2 + random.below(8));
  options.counted = random.one_in(3);
  options.trace = std::getenv("COLDPRESS_MODEL_TRACE") != nullptr;
  options.late_forks = std::getenv("COLDPRESS_MODEL_LATE_FORKS") != nullptr;
  return options;
}

void run(std::uint64_t seed, std::uint64_t steps) {
  World world(options_for(seed));
  Random random(seed * 7919);
  // Without memory nothing happens; the rest is drawn.
  std::vector<World::Operation> chosen;
  for (const World::Operation& operation : World::operations()) {
    std::string name = operation.name;
    bool always = name == "map" || name == "write" || name == "step";
    std::uint64_t weight = always || random.one_in(2) ? 1 + random.below(4) : 0;
    chosen.insert(chosen.end(), weight, operation);
  }
  for (int i = 0; i < 5; ++i) world.map_some();
  for (std::uint64_t step = 0; step < steps && !world.broken(); ++step) {
    (world.*chosen[random.below(chosen.size())].run)();
    if (random.one_in(8)) world.check_structure();
    if (random.one_in(50)) world.verify_everything();
  }
  world.finish_changes();
  world.check_structure();
  world.verify_everything();
  if (!world.broken()) world.close();
  if (::testing::Test::HasFailure()) std::cerr << "last operations:\n" << world.last_operations();
}

// Nothing but changes that overlap in time, in little address space.
void run_storms(std::uint64_t seed, std::uint64_t steps) {
  WorldOptions options = options_for(seed);
  Random random(seed * 6271);
  options.pages = 60 + random.below(240);
  options.interference = {};
  World world(options);
  for (std::uint64_t step = 0; step < steps / 20 && !world.broken(); ++step) {
    world.map_some();
    if (random.one_in(3)) world.adopt_some();
    if (random.one_in(2)) world.write_some();
    world.storm();
  }
  world.finish_changes();
  world.check_structure();
  if (!world.broken()) world.close();
  if (::testing::Test::HasFailure()) std::cerr << "last operations:\n" << world.last_operations();
}

void run_seeds(void (*run_one)(std::uint64_t seed, std::uint64_t steps), std::uint64_t usual_runs) {
  std::uint64_t only = setting("COLDPRESS_MODEL_SEED", 0);
  std::uint64_t runs = setting("COLDPRESS_MODEL_RUNS", usual_runs);
  std::uint64_t steps = setting("COLDPRESS_MODEL_STEPS", 300);
  std::uint64_t first = only != 0 ? only : setting("COLDPRESS_MODEL_FIRST", kFirstSeed);
  std::uint64_t end = only != 0 ? only + 1 : first + runs;
  std::cout << "seeds " << first << " to " << end - 1 << ", " << steps << " operations each\n";
  for (std::uint64_t seed = first; seed < end; ++seed) {
    running_now() = "COLDPRESS_MODEL_SEED=" + std::to_string(seed);
    SCOPED_TRACE(running_now());
    run_one(seed, steps);
    if (::testing::Test::HasFailure()) return;
  }
}

TEST(SpaceModel, ReadsWhatTheReferenceSaysWhateverHappens) { run_seeds(&run, kRuns); }
TEST(SpaceModel, FollowsChangesWhoseMessagesComeInAnyOrder) { run_seeds(&run_storms, kRuns * 2); }

}  // namespace
}  // namespace coldpress::testing
