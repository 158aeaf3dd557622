// Runs a fuzz target without libFuzzer: corpus_main DIRECTORY RUNS. First every file of the directory (all
// that it can find must stay found), then RUNS mutations of them and random inputs, the same on every
// machine.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/fuzz_input.h"
#include "unit/random.h"

namespace {

using Input = std::vector<std::uint8_t>;
using coldpress::testing::Random;

const Input* current = nullptr;

// Leaves the input that was being run where it can be run again.
void keep_input(int signal) {
  const char name[] = "crash-input";
  if (FILE* file = current != nullptr ? std::fopen(name, "wb") : nullptr; file != nullptr) {
    std::fwrite(current->data(), 1, current->size(), file);
    std::fclose(file);
    std::fprintf(stderr, "the input is in ./%s (%zu bytes)\n", name, current->size());
  }
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

void run(const Input& input) {
  current = &input;
  // A copy of exactly its size, so that sanitizers see a read behind its end.
  std::uint8_t* exact = new std::uint8_t[input.size()];
  std::copy(input.begin(), input.end(), exact);
  LLVMFuzzerTestOneInput(exact, input.size());
  delete[] exact;
}

Input mutate(const std::vector<Input>& seeds, Random& random) {
  Input input = seeds[random.below(seeds.size())];
  for (std::uint64_t changes = random.between(1, 6); changes > 0; --changes) {
    std::uint64_t at = random.below(input.size() + 1);
    auto value = static_cast<std::uint8_t>(random.next());
    auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    switch (random.below(5)) {
      case 0:
        input.insert(place, value);
        break;
      case 1:
        if (at < input.size()) input.erase(place);
        break;
      case 2:
        if (at < input.size()) input[at] ^= static_cast<std::uint8_t>(1u << (value % 8));
        break;
      case 3:
        input.resize(at);
        break;
      default: {  // something of another seed
        const Input& other = seeds[random.below(seeds.size())];
        std::uint64_t from = random.below(other.size() + 1);
        std::uint64_t count = std::min<std::uint64_t>(other.size() - from, random.below(64));
        auto begin = other.begin() + static_cast<std::ptrdiff_t>(from);
        input.insert(place, begin, begin + static_cast<std::ptrdiff_t>(count));
      }
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s CORPUS_DIRECTORY RUNS\n", argv[0]);
    return 2;
  }
  for (int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE}) std::signal(signal, &keep_input);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1]))
    names.push_back(entry.path().string());
  std::sort(names.begin(), names.end());
  std::vector<Input> seeds;
  for (const std::string& name : names) {
    std::ifstream file(name, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    run(seeds.back());
  }
  if (seeds.empty()) {
    std::fprintf(stderr, "%s: there are no seeds in %s\n", argv[0], argv[1]);
    return 2;
  }
  Random random(1);
  long runs = std::atol(argv[2]);
  for (long i = 0; i < runs; ++i) {
    if (i % 4 == 0) {
      Input input(random.below(300));
      for (auto& byte : input) byte = static_cast<std::uint8_t>(random.next());
      run(input);
    } else {
      run(mutate(seeds, random));
    }
  }
  std::printf("%zu seeds and %ld inputs\n", seeds.size(), runs);
  return 0;
}
