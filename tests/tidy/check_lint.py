"""clang-tidy with the repository's .clang-tidy, over the compile commands of a build."""

import json
import re
import shutil
import subprocess
from pathlib import Path

from tree import Finding, Tree

# Small files from every part, so that the quick run stays under two minutes.
QUICK = ("src/base/size_text.cc", "src/sync/mutex.cc", "src/codec/codec.cc", "src/zspool/zspool.cc",
         "src/swap/slot_table.cc", "src/zswap/zswap.cc", "src/vm/page_table.cc", "src/runtime/config.cc",
         "src/os/linux/descriptors.cc")


def run(tree: Tree, build: Path, quick: bool) -> list[Finding]:
    tool = shutil.which("clang-tidy-14") or shutil.which("clang-tidy")
    commands = build / "compile_commands.json"
    if tool is None or not commands.exists():
        print("no clang-tidy, or no compile_commands.json: skipped")
        raise SystemExit(77)
    known = {entry["file"] for entry in json.loads(commands.read_text())}
    files = [path for path in tree.sources() if str(path) in known]
    if quick:
        files = [path for path in files if tree.name(path) in QUICK]
    if not files:
        raise SystemExit("lint: no file of src/ is in compile_commands.json")
    command = [tool, "--quiet", "-p", str(build), *map(str, files)]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    found: dict[tuple[str, int, str], Finding] = {}
    pattern = r"^(/\S+?):(\d+):\d+: (warning|error): (.*)$"
    for file, line, kind, what in re.findall(pattern, answer.stdout, re.M):
        name = file[len(str(tree.root)) + 1:] if file.startswith(str(tree.root)) else file
        found[(name, int(line), what)] = Finding(name, int(line), f"{kind}: {what}")
    print(f"clang-tidy looked at {len(files)} files")
    return list(found.values())
