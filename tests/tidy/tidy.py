"""Holds the tree to its own rules: tidy.py CHECK [--root DIR] [--build DIR] [--preload FILE] [--quick].

Every breach is one line, FILE:LINE: what to do. Exit status 0: clean; 1: breaches; 77: a tool is missing.
"""

import argparse
import sys
from pathlib import Path

import check_banned
import check_format
import check_layering
import check_lint
import check_preload
import check_sizes
import check_wording
from tree import Finding, Tree, read

HERE = Path(__file__).resolve().parent
CHECKS = ("layering", "banned", "sizes", "preload", "wording", "format", "lint")


def sift_known(check: str, findings: list[Finding], known: Path) -> list[Finding]:
    """Takes the known breaches out; a known one that is gone is a finding."""
    left = list(findings)
    for number, line in enumerate(read(known).splitlines() if known.exists() else [], 1):
        fields = line.split(maxsplit=2)
        if line.startswith("#") or len(fields) < 2 or fields[0] != check:
            continue
        text = fields[2] if len(fields) == 3 else ""
        matching = [f for f in left if f.file == fields[1] and text in f.what]
        for finding in matching:
            print(f"known: {finding}")
            left.remove(finding)
        if not matching:
            left.append(Finding("tests/tidy/known.txt", number, "this breach is gone: take the line out"))
    return left


def find(arguments: argparse.Namespace) -> list[Finding]:
    tree = Tree(arguments.root.resolve())
    if arguments.check == "preload":
        return check_preload.run(arguments.preload)
    if arguments.check == "lint":
        return check_lint.run(tree, arguments.build, arguments.quick)
    simple = {"layering": check_layering, "banned": check_banned, "sizes": check_sizes,
              "wording": check_wording, "format": check_format}
    return simple[arguments.check].run(tree)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--root", type=Path, default=HERE.parent.parent)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--preload", type=Path, default=Path("build/lib/libcoldpress-preload.so"))
    parser.add_argument("--quick", action="store_true", help="lint: a few files of each part only")
    arguments = parser.parse_args()
    findings = sift_known(arguments.check, find(arguments), HERE / "known.txt")
    for finding in sorted(findings, key=lambda f: (f.file, f.line)):
        print(finding)
    print(f"{arguments.check}: {len(findings)} to repair" if findings else f"{arguments.check}: clean")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
