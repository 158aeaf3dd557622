"""What README.md tells its reader to type, works as it stands there."""

import os
import pathlib
import re
import subprocess
import tempfile

from harness import REPOSITORY, TOOL, Skip, check, call, case, need_command
from cases_stats import with_idle_program

README = (REPOSITORY / "README.md").read_text()
BUILD = pathlib.Path(TOOL).parent.parent
EXPECTED = [
    "script/demo",
    "script/test",
    "script/bench",
    "coldpress run",
    "coldpress doctor",
    "coldpress stat",
]


def commands():
    """The indented lines that start with a file of this repository, without what explains them."""
    lines = re.findall(r"^    ((?:script|build)/\S.*)$", README, re.MULTILINE)
    return [re.split(r"\s{3,}", line)[0].split() for line in lines]


def line_for(name):
    for words in commands():
        if " ".join(words).startswith((name, f"build/release/bin/{name}")):
            return words
    raise AssertionError(name)


@case()
def readme_names_its_commands():
    found = commands()
    check(len(found) == len(EXPECTED), f"README.md has commands that no test runs: {found}")
    for name in EXPECTED:
        words = line_for(name)
        path = REPOSITORY / words[0]
        check(path.exists() or words[0].startswith("build/"), f"{words[0]} is not there")
        check(not path.exists() or os.access(path, os.X_OK), f"{words[0]} is not executable")
    # The suite can not run itself. Its own first words, and what CI calls:
    check(call(["bash", "-n", str(REPOSITORY / "script/test")]).returncode == 0, "script/test")
    # bench.tiny runs what it runs.
    check(call([*line_for("script/bench"), "--help"], cwd=REPOSITORY).returncode == 0, "script/bench")
    check("script/test" in (REPOSITORY / ".ci/run").read_text(), ".ci/run does not call it")


@case()
def readme_run_and_doctor():
    need_command("true")
    run = [word for word in line_for("coldpress run") if not word.startswith("[")]
    check(run[-1] == "PROGRAM", f"{run}")
    done = call([TOOL, *run[1:-1], "true"])
    check(done.returncode == 0 and done.stderr.startswith("coldpress"), f"{done}")
    doctor = line_for("coldpress doctor")
    check(call([TOOL, *doctor[1:]]).returncode == 0, f"{doctor}")


@case()
def readme_stat():
    words = line_for("coldpress stat")
    check(words[-1] == "PID", f"{words}")

    def look(process):
        done = call([TOOL, *words[1:-1], str(process.pid)])
        check(done.returncode == 0 and "limit_bytes" in done.stdout, f"{done}")

    with_idle_program(look)


@case(timeout_s=240, serial=True)
def readme_demo():
    """The whole demo with a short measurement; it builds first, which must find all done."""
    if BUILD != REPOSITORY / "build/release":
        raise Skip("the demo builds and runs build/release, and this is another build")
    with tempfile.TemporaryDirectory() as directory:
        table = pathlib.Path(directory, "demo.md")
        done = subprocess.run(
            [*line_for("script/demo"), "--seconds", "2", "--output", str(table)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=200,
            stdin=subprocess.DEVNULL,
        )
        check(done.returncode == 0, f"{done}")
        text = table.read_text()
    for row in re.findall(r"^\| ([^|]*[a-z][^|]*?) *\|", README, re.MULTILINE):
        check(row in text, f"README.md has a row {row!r} that the demo does not write:\n{text}")
    check(re.search(r"values checked.*identical.*identical", text), text)


@case()
def readme_library_example():
    """The C++ lines compile against the built library and keep more than their limit."""
    code = re.search(r"```cpp\n(.*?)```", README, re.DOTALL).group(1)
    include, body = code.split("\n", 1)
    program = f"""{include}
#include <cstdio>
int main() {{
  {body}
  for (std::size_t at = 0; at < region.size(); at += std::size_t{{1}} << 20) bytes[at] = 'x';
  return bytes[region.size() - (1 << 20)] == 'x' ? 0 : 1;
}}
"""
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory, "example.cc")
        source.write_text(program)
        built = call(
            [
                need_command("g++"),
                "-std=c++20",
                f"-I{REPOSITORY}/include",
                str(source),
                f"-L{BUILD}/lib",
                "-lcoldpress",
                f"-Wl,-rpath,{BUILD}/lib",
                "-o",
                str(source.with_suffix("")),
            ]
        )
        check(built.returncode == 0, f"{built.stderr}")
        ran = call([str(source.with_suffix(""))])
        check(ran.returncode == 0, f"{ran}")
