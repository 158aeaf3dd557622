"""The preload library lives in other people's programs: what it needs of them and shows them is on a list."""

import re
import subprocess
from pathlib import Path

from tree import Finding

# Of the C library: what neither allocates nor keeps state of its own.
MAY_NEED = {"memcpy", "memmove", "memset", "memcmp", "memchr", "strlen", "getenv", "clock_gettime",
            "__register_atfork", "__stack_chk_fail"}
# And what the calls that take a program's place need, in the program's own threads.
MAY_NEED |= {"__errno_location", "__sigaction", "sigdelset"}
# What programs call in its place, each of them for a reason that src/preload says.
MAY_SHOW = {"_exit", "_Exit", "madvise", "mremap", "pthread_sigmask", "sigaction", "signal", "sigprocmask"}
MAY_LOAD = {"libc.so.6"}


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def run(library: Path) -> list[Finding]:
    if not library.exists():
        raise SystemExit(f"{library}: not built")
    name = library.name
    findings = []
    for line in _run("nm", "-D", "--undefined-only", str(library)).splitlines():
        kind, symbol = line.split()[-2:]
        if kind not in "wv" and symbol.split("@")[0] not in MAY_NEED:
            findings.append(Finding(name, 0, f"needs {symbol}: find who calls it (link with -Wl,-y,NAME) and "
                                             "do without"))
    defined = _run("nm", "-D", "--defined-only", str(library)).splitlines()
    shown = {line.split()[-1].split("@")[0] for line in defined}
    for symbol in sorted(shown - MAY_SHOW):
        findings.append(Finding(name, 0, f"shows {symbol}, which takes the place of the program's own: hide "
                                         "it (src/preload/preload.map)"))
    for symbol in sorted(MAY_SHOW - shown):
        findings.append(Finding(name, 0, f"does not show {symbol}: programs that leave by it give no report"))
    if re.search(r"^\s*TLS\s", _run("readelf", "-lW", str(library)), re.M):
        findings.append(Finding(name, 0, "has a TLS segment: engine threads have no thread-local storage "
                                         "(nm | grep -i ' [bd] ' of the objects tells whose it is)"))
    for needed in re.findall(r"\(NEEDED\).*\[(.*)\]", _run("readelf", "-dW", str(library))):
        if needed not in MAY_LOAD:
            findings.append(Finding(name, 0, f"loads {needed} into every program: link it statically"))
    return findings
