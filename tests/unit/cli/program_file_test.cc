#include "cli/program_file.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "unit/cli/temporary_directory.h"

namespace coldpress::cli {
namespace {

namespace fs = std::filesystem;
using testing::TemporaryDirectory;

constexpr char kLoader[] = "/lib64/ld-linux-x86-64.so.2";

// The start of an ELF file: enough for who looks, nothing that runs.
std::string elf_file(const std::string& loader, unsigned char file_class = ELFCLASS64,
                     unsigned machine = EM_X86_64) {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = file_class;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_DYN;
  header.e_machine = static_cast<Elf64_Half>(machine);
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  Elf64_Phdr segments[2]{};
  segments[0].p_type = PT_LOAD;
  segments[1].p_type = loader.empty() ? static_cast<Elf64_Word>(PT_NOTE) : static_cast<Elf64_Word>(PT_INTERP);
  segments[1].p_offset = sizeof header + sizeof segments;
  segments[1].p_filesz = loader.size() + 1;
  std::string file(reinterpret_cast<char*>(&header), sizeof header);
  file.append(reinterpret_cast<char*>(segments), sizeof segments);
  return file + loader + '\0';
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

class ProgramFileTest : public ::testing::Test {
 protected:
  // What is said of the file is about the file and says more than nothing.
  static ProgramFile refused(const std::string& path, int status) {
    ProgramFile program = inspect_program(path);
    EXPECT_EQ(program.exit_status, status) << path << ": " << program.problem;
    EXPECT_TRUE(has(program.problem, ": ")) << program.problem;
    return program;
  }
  static void accepted(const std::string& path) {
    ProgramFile program = inspect_program(path);
    EXPECT_EQ(program.exit_status, 0) << program.problem;
    EXPECT_EQ(program.problem, "");
  }

  TemporaryDirectory directory_;
};

TEST_F(ProgramFileTest, TakesADynamicProgram) {
  accepted(directory_.write("dynamic", elf_file(kLoader)));
  accepted("/proc/self/exe");
}

TEST_F(ProgramFileTest, RefusesWhatTheLoaderDoesNotServe) {
  EXPECT_TRUE(has(refused(directory_.write("static", elf_file("")), 2).problem, "statically linked"));
  EXPECT_TRUE(
      has(refused(directory_.write("musl", elf_file("/lib/ld-musl-x86_64.so.1")), 2).problem, "ld-musl"));
  EXPECT_TRUE(has(refused(directory_.write("old", elf_file(kLoader, ELFCLASS32)), 2).problem, "32-bit"));
  EXPECT_TRUE(has(refused(directory_.write("arm", elf_file(kLoader, ELFCLASS64, EM_AARCH64)), 2).problem,
                  "another kind of machine"));
}

TEST_F(ProgramFileTest, ACutElfFileIsRefused) {
  std::string whole = elf_file(kLoader);
  for (std::size_t length = 0; length < whole.size() - sizeof(kLoader); ++length) {
    ProgramFile program = inspect_program(directory_.write("cut", whole.substr(0, length)));
    ASSERT_NE(program.exit_status, 0) << "cut to " << length;
  }
}

TEST_F(ProgramFileTest, LooksThroughAScriptAtItsInterpreter) {
  std::string dynamic = directory_.write("interpreter", elf_file(kLoader));
  std::string fixed = directory_.write("fixed", elf_file(""));
  accepted(directory_.write("script", "#!" + dynamic + "\necho\n"));
  accepted(directory_.write("spaced", "#! \t" + dynamic + " -x -y\n"));
  accepted(directory_.write("nested", "#!" + (directory_.path() / "script").string() + "\n"));
  EXPECT_TRUE(has(refused(directory_.write("bad", "#!" + fixed + "\n"), 2).problem, "statically"));
  EXPECT_EQ(inspect_program((directory_.path() / "script").string()).path, directory_.path() / "script")
      << "what is run is the script";
}

TEST_F(ProgramFileTest, AScriptWithoutAnInterpreterIsRefused) {
  refused(directory_.write("empty-line", "#!\n"), 126);
  refused(directory_.write("missing", "#!/no/such/interpreter\n"), 127);
  std::string circle = (directory_.path() / "circle").string();
  refused(directory_.write("circle", "#!" + circle + "\n"), 126);
}

// Fails: the interpreter is looked for beyond the first line.
TEST_F(ProgramFileTest, TheInterpreterStandsInTheFirstLine) {
  refused(directory_.write("empty-line", "#!\n/bin/sh\n"), 126);
  refused(directory_.write("blank-line", "#!  \n/bin/sh\n"), 126);
}

TEST_F(ProgramFileTest, AnswersAsAShellWould) {
  refused((directory_.path() / "none").string(), 127);
  refused("coldpress-no-such-command", 127);
  refused("", 127);
  EXPECT_TRUE(has(refused(directory_.path().string(), 126).problem, "directory"));
  EXPECT_TRUE(
      has(refused(directory_.write("plain", elf_file(kLoader), 0644), 126).problem, "not executable"));
  refused(directory_.write("text", "just words\n"), 126);
  refused(directory_.write("nothing", ""), 126);
  refused(directory_.write("script", "#!/bin/sh\n") + "/below", 127);
}

TEST_F(ProgramFileTest, ProgramsWithOtherRightsAreRefused) {
  std::string path = directory_.write("setuid", elf_file(kLoader));
  ASSERT_EQ(chmod(path.c_str(), 04755), 0);
  accepted(path);  // one's own: nothing changes by it
  if (geteuid() != 0) return;
  ASSERT_EQ(chown(path.c_str(), 65534, 0), 0);
  ASSERT_EQ(chmod(path.c_str(), 04755), 0);
  EXPECT_TRUE(has(refused(path, 2).problem, "set-user-ID"));
  ASSERT_EQ(chown(path.c_str(), 0, 65534), 0);
  ASSERT_EQ(chmod(path.c_str(), 02755), 0);
  refused(path, 2);
}

class ProgramPath : public ProgramFileTest {
 protected:
  ProgramPath() : before_(getenv("PATH")) {
    std::string first = (directory_.path() / "first").string(),
                second = (directory_.path() / "second").string();
    setenv("PATH", (first + ":/no/such/place:" + second).c_str(), 1);
  }
  ~ProgramPath() override { setenv("PATH", before_.c_str(), 1); }
  std::string before_;
};

TEST_F(ProgramPath, TheFirstExecutableIsTaken) {
  directory_.write("first/tool", "not executable", 0644);
  std::string good = directory_.write("second/tool", elf_file(kLoader));
  EXPECT_EQ(inspect_program("tool").path, good);
  std::string earlier = directory_.write("first/other", elf_file(kLoader));
  directory_.write("second/other", elf_file(kLoader));
  EXPECT_EQ(inspect_program("other").path, earlier);
  fs::create_directories(directory_.path() / "first/dir");
  std::string behind = directory_.write("second/dir", elf_file(kLoader));
  EXPECT_EQ(inspect_program("dir").path, behind) << "a directory is no command";
}

TEST_F(ProgramPath, AFileThatIsNotExecutableIsNamed) {
  directory_.write("second/tool", "not executable", 0644);
  EXPECT_TRUE(has(refused("tool", 126).problem, "second/tool"));
}

TEST_F(ProgramPath, ANameWithASlashIsNotSearched) {
  directory_.write("first/tool", elf_file(kLoader));
  refused("./tool", 127);
}

}  // namespace
}  // namespace coldpress::cli
