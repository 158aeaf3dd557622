"""The repository speaks of the product, not of how it was made."""

import re

from tree import Finding, Tree, read

# Written in pieces, so that this file does not find itself.
WORDS = ("ag" + "ent", "session " + "id", "L" + "LM", "pro" + "mpt", "language " + "model", "chat" + "bot")


def run(tree: Tree) -> list[Finding]:
    pattern = re.compile(r"\b(?:" + "|".join(WORDS) + r")s?\b", re.I)
    findings = []
    for path in tree.texts():
        for number, line in enumerate(read(path).splitlines(), 1):
            match = pattern.search(line)
            if match:
                findings.append(Finding(tree.name(path), number,
                                        f"`{match.group()}`: say it of the product, or leave it out"))
    return findings
