#include "cli/program_file.h"

#include <elf.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

namespace coldpress::cli {
namespace {

constexpr int kNotExecutable = 126, kNotFound = 127;

bool is_file(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

std::string find_in_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "/usr/local/bin:/usr/bin:/bin");
  std::string directory, not_executable;
  while (std::getline(directories, directory, ':')) {
    std::string candidate = (directory.empty() ? "." : directory) + "/" + name;
    if (!is_file(candidate)) continue;
    if (access(candidate.c_str(), X_OK) == 0) return candidate;
    not_executable = candidate;
  }
  return not_executable;
}

// "" when the dynamic loader of the GNU C library will load the preload library into this ELF file.
std::string elf_problem(const std::vector<char>& head, std::ifstream& file) {
  Elf64_Ehdr header;
  if (head[EI_CLASS] != ELFCLASS64 || head.size() < sizeof header) {
    return "is a 32-bit program; coldpress manages 64-bit programs";
  }
  std::memcpy(&header, head.data(), sizeof header);
  if (header.e_machine != EM_X86_64) return "is a program for another kind of machine";
  for (int i = 0; i < header.e_phnum && i < 256; ++i) {
    Elf64_Phdr segment;
    file.clear();
    file.seekg(static_cast<std::streamoff>(header.e_phoff + std::uint64_t{header.e_phentsize} * i));
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof segment)) break;
    if (segment.p_type != PT_INTERP) continue;
    std::string loader(segment.p_filesz < 4096 ? segment.p_filesz : 0, '\0');
    file.seekg(static_cast<std::streamoff>(segment.p_offset));
    file.read(loader.data(), static_cast<std::streamsize>(loader.size()));
    if (loader.find("ld-linux") != std::string::npos) return "";
    return "uses the loader " + std::string(loader.c_str()) +
           "; only programs of the GNU C library can be preloaded";
  }
  return "is statically linked, so nothing can be preloaded into it; use a dynamically linked build";
}

// Set-user-ID and the like make the loader ignore LD_PRELOAD, unless nothing changes by it.
bool gains_rights(const std::string& path, const struct stat& status) {
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != geteuid()) return true;
  if ((status.st_mode & S_ISGID) != 0 && status.st_gid != getegid()) return true;
  return geteuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

void inspect_file(ProgramFile& program, const std::string& path, int depth) {
  auto fail = [&](int status, const std::string& problem) {
    program.exit_status = status;
    program.problem = path + ": " + problem;
  };
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return fail(kNotFound, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) return fail(kNotExecutable, "is a directory");
  if (access(path.c_str(), X_OK) != 0) return fail(kNotExecutable, "is not executable (chmod +x)");
  if (gains_rights(path, status)) {
    return fail(kBad,
                "runs with other rights than yours (set-user-ID or capabilities), so the loader "
                "preloads nothing; run coldpress as the user it changes to");
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(kBad, "can not be read, so it can not be checked; give read permission");
  std::vector<char> head(256);
  file.read(head.data(), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<std::size_t>(file.gcount()));
  if (head.size() >= 20 && std::memcmp(head.data(), ELFMAG, SELFMAG) == 0) {
    std::string problem = elf_problem(head, file);
    if (!problem.empty()) fail(kBad, problem);
    return;
  }
  if (head.size() > 2 && head[0] == '#' && head[1] == '!') {
    auto line_end = std::find(head.begin() + 2, head.end(), '\n');
    std::istringstream line(std::string(head.begin() + 2, line_end));
    std::string interpreter;
    line >> interpreter;
    if (depth < 4 && !interpreter.empty()) return inspect_file(program, interpreter, depth + 1);
    return fail(kNotExecutable, "has no usable interpreter line");
  }
  fail(kNotExecutable, "is neither an ELF program nor a script with an interpreter line (#!)");
}

}  // namespace

ProgramFile inspect_program(const std::string& name) {
  ProgramFile program;
  program.path = find_in_path(name);
  if (program.path.empty()) {
    program.exit_status = kNotFound;
    program.problem = name + ": command not found";
    return program;
  }
  inspect_file(program, program.path, 0);
  return program;
}

}  // namespace coldpress::cli
