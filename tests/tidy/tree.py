"""The source tree as the tidy checks see it: files, their text, and C++ text without comments and strings."""

import re
from dataclasses import dataclass
from pathlib import Path

CODE_FOLDERS = ("src", "include", "tests", "examples", "bench")
TEXT_FOLDERS = CODE_FOLDERS + ("docs", "script", "cmake", ".ci")
TEXT_ENDINGS = {".cc", ".h", ".c", ".py", ".cmake", ".txt", ".md", ".json", ".yml", ".yaml", ".sh", ".pl",
                ".map", ""}


@dataclass(frozen=True)
class Finding:
    """One breach: where it is and what to do about it."""

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}"


class Tree:
    """The repository below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def files(self, folders: tuple[str, ...], endings: set[str]) -> list[Path]:
        found = []
        for folder in folders:
            for path in sorted((self.root / folder).rglob("*")):
                made = {"__pycache__", "corpus"} & set(path.relative_to(self.root).parts)
                if path.is_file() and path.suffix in endings and not made:
                    found.append(path)
        return found

    def sources(self) -> list[Path]:
        """The C++ files of the product."""
        return self.files(("src",), {".cc", ".h"})

    def texts(self) -> list[Path]:
        top = [path for path in sorted(self.root.iterdir()) if path.is_file() and path.suffix in TEXT_ENDINGS]
        return top + self.files(TEXT_FOLDERS, TEXT_ENDINGS)

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def part(self, path: Path) -> str:
        """The part of src/ that a file belongs to."""
        return path.relative_to(self.root / "src").parts[0]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


_LEXEMES = re.compile(
    r"""//[^\n]*|/\*.*?\*/|R"(?P<mark>[^(\s]*)\(.*?\)(?P=mark)\""""
    r"""|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'""",
    re.S)


def bare(text: str) -> str:
    """C++ text with comments and literals blanked, line by line as it was. Includes keep their names."""

    def blank(match: re.Match[str]) -> str:
        start = text.rfind("\n", 0, match.start()) + 1
        if match.group().startswith('"') and text[start:match.start()].lstrip().startswith("#include"):
            return match.group()
        return re.sub(r"[^\n]", " ", match.group())

    return _LEXEMES.sub(blank, text)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1
