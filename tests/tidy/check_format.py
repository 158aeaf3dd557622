"""clang-format with the repository's .clang-format.

Folders that are clean stay clean; the others are counted.
"""

import re
import shutil
import subprocess

from tree import Finding, Tree

MUST_BE_CLEAN = ("tests/unit/", "tests/fuzz/", "tests/support/heap_memory.h")


def run(tree: Tree) -> list[Finding]:
    tool = shutil.which("clang-format-14")
    if tool is None:
        print("clang-format-14 is not installed: skipped")
        raise SystemExit(77)
    files = tree.files(("src", "tests", "include", "examples"), {".cc", ".h"})
    command = [tool, "--dry-run", *map(str, files)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        raise SystemExit(f"clang-format-14: {answer.stderr[:500]}")
    places: dict[str, list[int]] = {}
    pattern = r"^(\S+?):(\d+):\d+: (?:warning|error): code should be"
    for file, line in re.findall(pattern, answer.stderr, re.M):
        places.setdefault(file[len(str(tree.root)) + 1:], []).append(int(line))
    for name, lines in sorted(places.items()):
        print(f"  {name}: {len(lines)} places")
    print(f"{len(places)} of {len(files)} files are formatted otherwise")
    return [Finding(name, lines[0], f"run clang-format-14 -i {name}") for name, lines in places.items()
            if name.startswith(MUST_BE_CLEAN)]
