// Proves that a child goes on well whose first faults were served by its parent: the C library resets the
// locks of all open FILEs before the child has an engine of its own. Their pages are cold here, and what
// surrounds them does not compress, so that they are on their way out, or back, when the fork comes.
//
//   early_child MIB [SEED [FORKS]]
#include <sys/wait.h>

#include <memory>
#include <vector>

#include "pressure.h"

namespace coldtest {
namespace {

constexpr std::size_t kFiles = 200;
constexpr std::size_t kAround = 3500;  // bytes; with a FILE about a page
constexpr std::uint64_t kRandomKind = 3;
constexpr std::size_t kChildPages = 2048;

class Files {
 public:
  explicit Files(Rng& rng) {
    for (File& file : files_) {
      file = {std::fopen("/dev/null", "w"), static_cast<Byte*>(std::malloc(kAround)), 0};
      require(file.file != nullptr && file.around != nullptr, "fopen, malloc");
      file.key = (rng.next() & ~std::uint64_t{31}) | kRandomKind;
      fill_bytes(file.around, kAround, file.key);
    }
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  ~Files() {
    for (File& file : files_) {
      std::fclose(file.file);
      std::free(file.around);
    }
  }
  void check(Digest& digest) const {
    for (std::size_t i = 0; i < kFiles; ++i) {
      check_bytes("beside a FILE", files_[i].around, kAround, files_[i].key);
      require(std::fputc('x', files_[i].file) == 'x' && std::fflush(files_[i].file) == 0, "fputc");
      digest.add(i, files_[i].key);
    }
  }

 private:
  struct File {
    FILE* file;
    Byte* around;
    std::uint64_t key;
  };
  std::vector<File> files_{kFiles};
};

int run(int argc, char** argv) {
  Arguments arguments = parse_arguments(argc, argv);
  int forks = argc > 3 ? std::atoi(argv[3]) : 24;
  Rng rng(arguments.seed);
  BackgroundHog hog(arguments.pages(), arguments.seed);
  Digest digest;
  for (int i = 0; i < forks; ++i) {
    Files files(rng);
    usleep(static_cast<useconds_t>(rng.below(60000)));
    pid_t child = fork();
    require(child >= 0, "fork");
    if (child == 0) {
      Digest of_child;
      Hog own(kChildPages, arguments.seed);
      own.sweep();
      files.check(of_child);
      _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0, "the child");
    files.check(digest);
  }
  print_digest("early_child", arguments, digest);
  return 0;
}

}  // namespace
}  // namespace coldtest

int main(int argc, char** argv) { return coldtest::run(argc, argv); }
