"""Damage done to the compressed pages from outside: SIGBUS, never wrong bytes."""

import random
import re
import signal

from harness import MIB, check, case, expect_line, program, run_limited, say, stat_json, tool_lines

LIMIT = 32 * MIB
FILLED = "96"
POOL = "[anon:coldpress-pool]"
PAGE = 4096
DAMAGED_PAGES = 300
WORD = 64  # no allocator's list is that long without zeros


def resident_pages(pid, start, end):
    """Addresses that have memory, found without touching those that have none."""
    with open(f"/proc/{pid}/pagemap", "rb") as pagemap:
        pagemap.seek(start // PAGE * 8)
        entries = pagemap.read((end - start) // PAGE * 8)
    return [start + i * PAGE for i in range(len(entries) // 8) if entries[i * 8 + 7] & 0x80]


def anonymous_mappings(pid):
    """(start, end, name) of the private writable mappings that no file stands behind."""
    with open(f"/proc/{pid}/maps", encoding="utf-8") as maps:
        for line in maps:
            place, access, _, _, inode, *name = line.split()
            if access == "rw-p" and inode == "0":
                yield *(int(part, 16) for part in place.split("-")), " ".join(name)


def pool_pages(pid):
    """The pool's pages: of its mapping's name or, where the kernel keeps no names, its size."""
    mappings = list(anonymous_mappings(pid))
    named = [resident_pages(pid, *m[:2]) for m in mappings if m[2] == POOL]
    if named:
        return sum(named, [])
    expected = stat_json(pid)["pool_bytes"] // PAGE
    unnamed = [resident_pages(pid, *m[:2]) for m in mappings if m[2] == ""]
    best = min(unnamed, key=lambda pages: abs(len(pages) - expected))
    check(
        abs(len(best) - expected) < expected / 8,
        f"no mapping is named {POOL} or has its {expected} pages: {[len(u) for u in unnamed]}",
    )
    return best


def damage(pid):
    """Turns one byte over in each of many pool pages, amid what is surely an object's data."""
    pages = pool_pages(pid)
    random.Random(1).shuffle(pages)
    done = 0
    with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
        for page in pages:
            memory.seek(page)
            content = memory.read(PAGE)
            dense = [i for i in range(0, PAGE, WORD) if content[i : i + WORD].count(0) < 4]
            if not dense:
                continue
            place = dense[len(dense) // 2] + WORD // 2
            memory.seek(page + place)
            memory.write(bytes([content[place] ^ 0xFF]))
            done += 1
            if done == DAMAGED_PAGES:
                break
    check(done > 20, f"only {done} of {len(pages)} pool pages could be damaged")
    print(f"damaged {done} of {len(pages)} pool pages")


@case(timeout_s=120, serial=True)
def corrupted_pool():
    """A program that handles SIGBUS meets it at damaged pages, and right bytes elsewhere."""

    def talk(process):
        expect_line(process, "filled")
        check(stat_json(process.pid)["decompress_fail"] == 0, "decompress_fail before any damage")
        damage(process.pid)
        say(process)
        told = process.stdout.readline().decode()
        numbers = re.match(r"bus errors (\d+) of (\d+) pages", told)
        check(numbers, f"the program said {told!r}")
        print(told.strip())
        check(0 < int(numbers[1]) < int(numbers[2]), told)
        expect_line(process, "walked")
        failures.append(stat_json(process.pid)["decompress_fail"])
        say(process)

    failures = []
    outcome = run_limited(
        LIMIT, [program("corrupt_victim"), FILLED, "6", "catch"], options=(), interact=talk
    )
    check(outcome.status == 0, outcome.describe())
    check(failures[0] > 0, f"decompress_fail is {failures[0]} after damage")
    lines = tool_lines(outcome.stderr)
    check(len(lines) == 2, f"expected one message and the exit line, got {len(lines)}: {lines[:4]}")


@case(timeout_s=120, serial=True)
def corrupted_pool_kills():
    """A program that does not handle SIGBUS dies of it, with one message."""

    def talk(process):
        expect_line(process, "filled")
        damage(process.pid)
        say(process)

    outcome = run_limited(
        LIMIT, [program("corrupt_victim"), FILLED, "6", "die"], options=(), interact=talk
    )
    check(outcome.status == -signal.SIGBUS, f"expected death by SIGBUS: {outcome.describe()}")
    lines = tool_lines(outcome.stderr)
    check(len(lines) == 1, f"expected one message: {lines}")
