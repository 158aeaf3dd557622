"""What may be named in which part only, and what nowhere."""

import re
from dataclasses import dataclass

from tree import Finding, Tree, bare, line_of, read

ENGINE = {"base", "sync", "os", "codec", "memgroup", "swap", "zspool", "zswap", "vm", "runtime", "preload"}


# Runs in tests only, never in a program that is managed: what the engine must not do to programs, it may.
SIMULATOR = "src/os/sim/"


@dataclass(frozen=True)
class Rule:
    pattern: str
    what: str
    only_in: frozenset[str] | None = None      # parts that may; None: as `not_in` says
    not_in: frozenset[str] | None = None       # parts that may not; None: none may


RULES = [
    Rule(r"\bsyscall\s*\(|\braw_syscall\b"
         r"|\b(?:ioctl|mmap|munmap|mremap|madvise|mprotect|pread|pwrite|poll)\s*\("
         r"|#\s*include\s*<(?:sys/mman|sys/syscall|sys/ioctl|unistd|fcntl|poll|sys/socket)\.h>",
         "a system call: put it behind a function of os (or sync)",
         frozenset({"os", "sync", "cli", "preload"})),
    Rule(r"\bstd::(?:mutex|shared_mutex|recursive_mutex|atomic\w*|thread|jthread|this_thread|chrono"
         r"|condition_variable\w*|memory_order\w*|lock_guard|unique_lock|scoped_lock|call_once|once_flag)\b"
         r"|#\s*include\s*<(?:mutex|shared_mutex|atomic|thread|condition_variable|chrono|semaphore|future)>"
         r"|\bclock_gettime\b|\bgettimeofday\b",
         "use what src/sync offers, so that a controlled scheduler can stand in", frozenset({"sync"})),
    Rule(r"\b(?:malloc|calloc|realloc|aligned_alloc|posix_memalign|strdup)\s*\(|\bstd::free\b|^\s*free\s*\(",
         "the engine never uses the program's heap: take memory from a MemorySource",
         not_in=frozenset(ENGINE)),
    Rule(r"\bnew\s+(?!\()[A-Za-z_:]|\bnew\s*\[|(?<!=)(?<!= )\bdelete\b(?!\s*;\s*$)|\bdelete\s+\w",
         "only placement new: the engine never uses the program's heap", not_in=frozenset(ENGINE)),
    Rule(r"\bstd::(?:vector|string|map|multimap|set|unordered_\w+|list|deque|function|unique_ptr|shared_ptr"
         r"|make_unique|make_shared|ostringstream|cout|cerr)\b",
         "allocates from the program's heap: use ReservedArray, Text or a plain array",
         not_in=frozenset(ENGINE)),
    Rule(r"\bthread_local\b|\b__thread\b", "engine threads have no thread-local storage: pass a Worker",
         not_in=frozenset(ENGINE)),
    Rule(r"\b(?:throw|try|catch)\b", "the engine is built without exceptions: return a status",
         not_in=frozenset(ENGINE)),
    Rule(r"\bassert\s*\(|#\s*include\s*<(?:cassert|assert\.h)>",
         "assert() is gone in a release: use COLDPRESS_CHECK"),
    Rule(r"\bs?rand\s*\(", "no hidden state: pass a generator with a seed"),
    Rule(r"\bNULL\b", "write nullptr"),
]

# What a rule would refuse and why it may stay: (file, text on the line).
ALLOWED = {
    # Stubs that keep the codecs from the program's heap.
    ("src/preload/preload.cc", "void* malloc(std::size_t)"),
    ("src/preload/preload.cc", "void* calloc(std::size_t, std::size_t)"),
}


def run(tree: Tree) -> list[Finding]:
    findings = []
    for path in tree.sources():
        name, part, original = tree.name(path), tree.part(path), read(path)
        text, lines = bare(original), original.splitlines()
        for rule in RULES:
            if rule.only_in is not None and part in rule.only_in:
                continue
            if rule.not_in is not None and (part not in rule.not_in or name.startswith(SIMULATOR)):
                continue
            for match in re.finditer(rule.pattern, text, re.M):
                line = line_of(text, match.start() + len(match.group()) - len(match.group().lstrip()))
                if any(name == file and allowed in lines[line - 1] for file, allowed in ALLOWED):
                    continue
                findings.append(Finding(name, line, f"`{match.group().strip()}`: {rule.what}"))
        findings += [Finding(name, line, "a function-local static that is not constexpr: hidden state, and a "
                                         "guard variable; make it a member") for line in local_statics(text)]
    for path in tree.texts():
        if "tests/tidy/" in tree.name(path):
            continue
        name = tree.name(path)
        for number, line in enumerate(read(path).splitlines(), 1):
            if re.search(r"\b(?:TODO|FIXME|XXX)\b", line):
                findings.append(Finding(name, number, "do it, or write an issue; no notes to oneself"))
            if re.search(r"(?<![\w.*$}])/(?:work|home|root)/", line):
                findings.append(Finding(name, number, "a path of somebody's machine: make it relative"))
    return findings


def local_statics(text: str) -> list[int]:
    """Lines of `static` inside a function body, unless constexpr. `text` is without comments and literals."""
    lines, scopes, begin = [], [], 0
    for match in re.finditer(r"[{};]|\bstatic\b", text):
        token = match.group()
        if token == "static":
            body = bool(scopes) and scopes[-1] == "body"
            if body and not re.match(r"\s+(?:inline\s+)?constexpr\b", text[match.end():]):
                lines.append(line_of(text, match.start()))
            continue
        if token == "{":
            head = text[begin:match.start()]
            is_type = (re.search(r"\b(?:class|struct|union|enum|namespace|extern)\b", head)
                       and not head.rstrip().endswith(")"))
            scopes.append("type" if is_type else "body")
        elif token == "}" and scopes:
            scopes.pop()
        begin = match.end()
    return lines
