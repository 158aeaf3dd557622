"""A part includes and links only what stands below it in the table of src/README.md."""

import re
from pathlib import Path

from tree import Finding, Tree, bare, line_of, read

# From codec to vm the engine is portable: of os it sees the interfaces, not the machine behind them.
PORTABLE = {"codec", "zspool", "memgroup", "swap", "zswap", "vm"}


def read_table(tree: Tree) -> tuple[dict[str, int], Path]:
    """Part -> height (the bottom is 0), and the file that says so."""
    folders = {path.name for path in (tree.root / "src").iterdir() if path.is_dir()}
    readme = tree.root / "src" / "README.md"
    if readme.exists():
        for block in _code_blocks(read(readme)):
            # The first word of a row is its part; words between wide gaps may be further ones.
            rows = [[line.split()[0], *re.split(r"\s{2,}", line.strip())[1:]] for line in block]
            if not any(row[0] == "base" for row in rows):
                continue
            # A second part may stand in the same row, as high as the first.
            table = {}
            for height, row in enumerate(reversed(rows)):
                for place, field in enumerate(row):
                    if re.fullmatch(r"[a-z]+", field) and (place == 0 or field in folders | {"capi", "api"}):
                        table[field] = height
            return table, readme
    raise SystemExit("src/README.md: no table of parts (a code block with a line for `base`)")


def _code_blocks(text: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
            blocks.append([])
        elif line.strip() and (fenced or line.startswith("    ")):
            blocks[-1].append(line)
        elif not fenced:
            blocks.append([])
    return blocks


def run(tree: Tree) -> list[Finding]:
    table, source = read_table(tree)
    print(f"parts from {source.name}, top to bottom: {' '.join(sorted(table, key=table.get, reverse=True))}")
    findings = []
    for path in tree.sources():
        part = tree.part(path)
        if part not in table:
            findings.append(Finding(tree.name(path), 1, f"the part {part} is not in {source.name}: add it"))
            continue
        text = bare(read(path))
        for match in re.finditer(r'^\s*#\s*include\s*"([^"]+)"', text, re.M):
            wrong = _wrong_include(part, match.group(1), path, table)
            if wrong:
                findings.append(Finding(tree.name(path), line_of(text, match.start()), wrong))
    for cmake in sorted((tree.root / "src").rglob("CMakeLists.txt")):
        findings += _check_links(tree, cmake, table)
    return findings


def _wrong_include(part: str, included: str, path: Path, table: dict[str, int]) -> str:
    other = included.split("/")[0]
    if "/" not in included:
        return f'#include "{included}" has no part: write it as "PART/file.h"'
    if other not in table:
        return "" if other == "coldpress" else f"{other} is no part of the table"
    if other != part and table[other] >= table[part]:
        return (f"{part} includes {included}, but {other} stands above or beside it: move the code down, or "
                "declare an interface that the higher part implements")
    if part in PORTABLE and re.match(r"os/(linux|sim)/", included):
        return f"{part} is portable: include an interface of os, not {included}"
    if "sim" in path.parts and included.startswith("os/linux/"):
        return "the simulator makes no system call: do not include os/linux"
    return ""


def _check_links(tree: Tree, cmake: Path, table: dict[str, int]) -> list[Finding]:
    text = re.sub(r"#[^\n]*", lambda m: " " * len(m.group()), read(cmake))
    here = cmake.parent.relative_to(tree.root / "src").as_posix()
    commands = "coldpress_part|add_library|add_executable|target_link_libraries"
    calls = list(re.finditer(rf"({commands})\s*\(([^)]*)\)", text))
    part_of: dict[str, str] = {}  # target -> part, by where its first source lies
    for match in calls:
        words = match.group(2).split()
        files = [word for word in words[1:] if word.endswith(".cc")]
        if not words or not files:
            continue
        target = f"coldpress_{words[0]}" if match.group(1) == "coldpress_part" else words[0]
        part_of[target] = (files[0] if here == "." else f"{here}/{files[0]}").split("/")[0]
    part_of |= {f"coldpress_{part}": part for part in table if f"coldpress_{part}" not in part_of}
    findings = []
    for match in calls:
        words = match.group(2).split()
        if not words:
            continue
        target = f"coldpress_{words[0]}" if match.group(1) == "coldpress_part" else words[0]
        part = part_of.get(target)
        for word in words[1:]:
            other = part_of.get(word)
            line = line_of(text, match.start() + match.group().find(word))
            if part in table and other in table and other != part and table[other] >= table[part]:
                findings.append(Finding(tree.name(cmake), line, f"{target} links {word}, which is not below "
                                                                "it: link downward only"))
            folder = (word if here == "." else f"{here}/{word}").split("/")[0]
            if word.endswith(".cc") and folder != part:
                findings.append(Finding(tree.name(cmake), line, f"{word} is not in the folder of {target}"))
    return findings
