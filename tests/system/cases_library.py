"""Programs that use the library."""

import pathlib
import re
import tempfile

from cases_swap import SCRATCH
from harness import REPOSITORY, TOOL, call, case, check, need_command, program

BUILD = pathlib.Path(TOOL).parent.parent
STRICT = ["-Wall", "-Wextra", "-Werror", "-pedantic"]


def with_devices(path, name="library"):
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        done = call([program(name), f"{directory}/swap", path])
        check(done.returncode == 0, f"exit {done.returncode}: {done.stdout} {done.stderr}")
        check(done.stdout == "whole\n", done.stdout)


@case(timeout_s=120, serial=True)
def library_swap():
    """Devices and limits of a pager, changed while its memory is in use."""
    with_devices("thread")


@case(timeout_s=120, serial=True)
def library_swap_signal():
    with_devices("signal")


@case(timeout_s=120)
def library_interrupted():
    """A handler touches the pager's memory, also when it has interrupted the pager's functions."""
    for path in "signal", "thread":
        done = call([program("library_interrupted"), path])
        check((done.returncode, done.stdout) == (0, "whole\n"), f"{done}")


@case(timeout_s=120)
def library_orphan():
    """The child of a process that ends as soon as it has forked has all of the pager's memory."""
    for path in ("signal", "thread") * 3:
        done = call([program("library_orphan"), path])  # its standard output ends with the child
        check((done.returncode, done.stdout) == (0, "whole\n"), f"{path}: {done}")


@case(timeout_s=120)
def library_reclaim_order():
    """Orders to reclaim end, also when a program brings back all that goes."""
    for path in "signal", "thread":
        done = call([program("reclaim_order"), path])
        check((done.returncode, done.stdout) == (0, "whole\n"), f"{done}")


@case(timeout_s=120, serial=True)
def library_c():
    """The same through the C library, and calls that are wrong."""
    with_devices("thread", "library_c")


@case(timeout_s=120, serial=True)
def library_c_signal():
    with_devices("signal", "library_c")


@case(timeout_s=120)
def library_c_example():
    """The example compiles as C99 without a warning, and keeps and verifies more than its limit."""
    with tempfile.TemporaryDirectory() as directory:
        example = f"{directory}/example"
        source = f"{REPOSITORY}/examples/larger_than_limit.c"
        library = [f"-I{REPOSITORY}/include", f"-L{BUILD}/lib", "-lcoldpress", f"-Wl,-rpath,{BUILD}/lib"]
        cc = need_command("cc")
        built = call([cc, "-std=c99", "-O2", *STRICT, source, *library, "-o", example])
        check(built.returncode == 0, built.stderr)
        ran = call([example, "256", "32"])
        refused = call([example, "1", "1"])
    check(ran.returncode == 0, f"{ran}")
    told = re.match(r"256 MiB verified; resident (\d+) MiB, pool (\d+) MiB.* limit 32 MiB\n", ran.stdout)
    check(told and sum(map(int, told.groups())) <= 33, ran.stdout)
    check(refused.returncode == 1 and "limit_bytes must be at least" in refused.stderr, f"{refused}")


@case()
def library_c_header():
    """By itself, in every language that it is for."""
    with tempfile.TemporaryDirectory() as directory:
        source = pathlib.Path(directory, "header.c")
        source.write_text("""#include <coldpress/coldpress.h>
const coldpress_options options = COLDPRESS_OPTIONS_INIT;
const coldpress_group_limits limits = COLDPRESS_GROUP_LIMITS_INIT;
""")
        for compiler, standards in {"gcc": ["c99", "c17"], "g++": ["c++11", "c++20"]}.items():
            for standard in standards:
                how = ["-x", "c" if compiler == "gcc" else "c++", f"-std={standard}", "-fsyntax-only"]
                done = call([need_command(compiler), *how, *STRICT, f"-I{REPOSITORY}/include", str(source)])
                check(done.returncode == 0, f"{compiler} {standard}: {done.stderr}")


@case()
def library_installed():
    """What `cmake --install` puts there is enough for programs of both languages, found by pkg-config."""
    cmake, pkg_config = need_command("cmake"), need_command("pkg-config")
    with tempfile.TemporaryDirectory() as directory:
        done = call([cmake, "--install", str(BUILD), "--prefix", f"{directory}/usr"])
        check(done.returncode == 0, done.stderr)
        (package,) = pathlib.Path(directory).rglob("coldpress.pc")
        flags = call([pkg_config, "--define-prefix", "--cflags", "--libs", str(package)])
        check(flags.returncode == 0, flags.stderr)
        for source, how in {"c": ["cc", "-std=c99"], "cc": ["c++", "-std=c++20"]}.items():
            example = f"{directory}/{source}"
            example_source = f"{REPOSITORY}/examples/larger_than_limit.{source}"
            line = [need_command(how[0]), how[1], *STRICT, example_source]
            built = call([*line, *flags.stdout.split(), f"-Wl,-rpath,{package.parent.parent}", "-o", example])
            check(built.returncode == 0, built.stderr)
        ran = call([f"{directory}/c", "24", "16"])
        check(ran.returncode == 0 and ran.stdout.startswith("24 MiB verified"), f"{ran}")
