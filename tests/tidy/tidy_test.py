"""Tests of the tidy checks: each must find the breach it is for, and nothing in clean text."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path

import check_banned
import check_layering
import check_sizes
import check_wording
import tidy
from tree import Tree, bare

HEADER = "// What it is for,\n// and who may call it.\n#pragma once\n"


class TidyTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name)
        for part in ("base", "sync", "os", "swap", "vm", "runtime", "cli"):
            (self.root / "src" / part).mkdir(parents=True)
        rows = ("cli a", "runtime b", "vm c", "swap d", "os e", "sync f", "base g")
        self.write("src/README.md", "# Parts\n\n" + "".join(f"    {row}\n" for row in rows))

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def found(self, check) -> list[str]:
        with contextlib.redirect_stdout(io.StringIO()):
            return [str(finding) for finding in check.run(Tree(self.root))]

    def expect(self, check, *places: str) -> None:
        found = self.found(check)
        self.assertEqual(len(found), len(places), found)
        for place in places:
            self.assertTrue(any(line.startswith(place + ":") for line in found), (place, found))

    def test_layering_includes(self) -> None:
        includes = ("swap/b.h", "base/c.h", "sync/d.h", "os/mmu.h")
        self.write("src/vm/a.h", "".join(f'#include "{name}"\n' for name in includes))
        self.expect(check_layering)
        self.write("src/swap/b.h", '#include <vector>\n#include "vm/a.h"\n// #include "cli/x.h"\n')
        self.expect(check_layering, "src/swap/b.h:2")
        self.write("src/vm/e.cc", '#include "os/linux/x.h"\n#include "e.h"\n')
        self.write("src/newpart/f.h", "")
        self.expect(check_layering, "src/swap/b.h:2", "src/vm/e.cc:1", "src/vm/e.cc:2", "src/newpart/f.h:1")

    def test_layering_reads_the_readme(self) -> None:
        self.write("src/vm/a.h", '#include "swap/b.h"\n')
        rows = "cli top\nruntime  x\nswap   above now\nvm   below now     os   beside\nsync s\nbase b\n"
        self.write("src/README.md", f"# Parts\n\n```\n{rows}```\n")
        self.expect(check_layering, "src/vm/a.h:1")

    def test_layering_links(self) -> None:
        self.write("src/CMakeLists.txt",
                   "coldpress_part(swap SOURCES swap/a.cc\n  BELOW coldpress_sync coldpress_vm)\n"
                   "coldpress_part(vm SOURCES vm/a.cc base/b.cc BELOW coldpress_swap)\n")
        self.expect(check_layering, "src/CMakeLists.txt:2", "src/CMakeLists.txt:3")

    def test_banned(self) -> None:
        bad = {
            "src/vm/a.cc": "void f() { mmap(0); }",
            "src/vm/b.cc": "#include <unistd.h>",
            "src/swap/c.cc": "std::atomic<int> x;",
            "src/os/d.cc": "std::mutex m;",
            "src/vm/e.cc": "int* x = new int;",
            "src/vm/f.cc": "void f(int* x) { delete x; }",
            "src/runtime/g.cc": "std::vector<int> v;",
            "src/base/h.cc": "std::string s;",
            "src/base/i.cc": "thread_local int x;",
            "src/base/j.cc": "void f() { throw 1; }",
            "src/cli/k.cc": "void f() { assert(true); }",
            "src/cli/l.cc": "int* x = NULL;",
            "src/cli/m.cc": "int f() { return rand(); }",
            "src/cli/n.cc": "int f() { static int x = 0; return ++x; }",
            "src/cli/o.cc": "// TO" + "DO: later",
            "docs/p.md": "see /ho" + "me/me/notes",
            "src/vm/q.cc": "void* f() { return malloc(1); }",
        }
        for name, text in bad.items():
            self.write(name, text + "\n")
        self.expect(check_banned, *(f"{name}:1" for name in bad))

    def test_banned_leaves_good_text_alone(self) -> None:
        self.write("src/vm/a.cc", """
// mmap( and NULL and new int in a comment; assert(x) too
const char* kText = "std::mutex throw NULL";
static_assert(sizeof(int) == 4);
struct A { A(const A&) = delete; static int count(); void free(int handle); std::string_view name; };
int f() { static constexpr int kTable[] = {1}; return kTable[0]; }
void g(void* at) { new (at) int; pool.free(3); }
static int file_local() { return 'x' + 1'000; }
enum class K { kTry }; bool try_lock();
""")
        self.write("src/cli/b.cc", "#include <unistd.h>\nstd::vector<std::string> v; auto p = new int;\n")
        self.write("docs/c.md", "see $HOME/x and ~/.config and tests/home/file\n")
        self.expect(check_banned)

    def test_sizes(self) -> None:
        self.write("tests/unit/vm/good_test.cc", "")
        self.write("src/vm/good.cc", "int x;\n")
        self.write("src/vm/good.h", HEADER)
        self.expect(check_sizes)
        self.write("src/vm/bare.h", "#pragma once\n")
        self.write("src/vm/unguarded.h", "// one\n// two\n")
        self.write("src/vm/untested.cc", "int x;\n")
        self.write("src/vm/long.h", HEADER + "\n" * 400)
        self.write("src/vm/wide.h", HEADER + "// " + "x" * 120 + "\n")
        self.expect(check_sizes, "src/vm/bare.h:1", "src/vm/unguarded.h:1", "src/vm/untested.cc:1",
                    "src/vm/long.h:400", "src/vm/wide.h:4")

    def test_wording(self) -> None:
        self.write("docs/good.md", "The engine acts promptly; a reagent, an agency.\n")
        self.expect(check_wording)
        self.write("docs/bad.md", "fine\nthe ag" + "ent wrote this\n")
        self.expect(check_wording, "docs/bad.md:2")

    def test_known_breaches(self) -> None:
        finding = tidy.Finding("src/a.h", 3, "add a comment")
        known = self.root / "known.txt"
        known.write_text("# a comment\nsizes src/a.h comment\nbanned src/b.cc other\n")
        with contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(tidy.sift_known("sizes", [finding], known), [])
            stale = tidy.sift_known("banned", [], known)
        self.assertEqual([f.line for f in stale], [3])

    def test_bare_keeps_lines(self) -> None:
        text = 'a "x\\"y" /* 1\n2 */ b // c\n#include "d/e.h"\nauto r = R"(\n")"; f'
        self.assertEqual(bare(text).count("\n"), text.count("\n"))
        self.assertIn('#include "d/e.h"', bare(text))
        self.assertNotIn("x", bare(text))
        self.assertTrue(bare(text).endswith("f"))


if __name__ == "__main__":
    unittest.main()
