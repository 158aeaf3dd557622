#!/usr/bin/env python3
"""Runs one system test:  run_case.py NAME...    or lists them all:  run_case.py --list

Exit code 0: passed, 1: failed, 77: skipped, with the reason on stdout. The tool under test is
$COLDPRESS, the test programs are in $COLDPRESS_TEST_PROGRAMS.
"""

import sys

import harness
import cases_aging  # noqa: F401  (importing registers the cases)
import cases_bench  # noqa: F401
import cases_conformance  # noqa: F401
import cases_block_device  # noqa: F401
import cases_content  # noqa: F401
import cases_corruption  # noqa: F401
import cases_doctor  # noqa: F401
import cases_hostile  # noqa: F401
import cases_input  # noqa: F401
import cases_library  # noqa: F401
import cases_orders  # noqa: F401
import cases_programs  # noqa: F401
import cases_readme  # noqa: F401
import cases_settings  # noqa: F401
import cases_stats  # noqa: F401
import cases_swap  # noqa: F401
import cases_transparency  # noqa: F401


def main():
    names = sys.argv[1:]
    if names == ["--list"]:
        for name, case in harness.CASES.items():
            print(name, case.timeout_s, "serial" if case.serial else "parallel")
        return 0
    unknown = [name for name in names if name not in harness.CASES]
    if unknown or not names:
        print(f"{__doc__}\nunknown: {' '.join(unknown) or 'no case named'}", file=sys.stderr)
        return 2
    return harness.main(names)


if __name__ == "__main__":
    sys.exit(main())
