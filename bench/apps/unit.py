"""Writes a large C++ translation unit.   unit.py FUNCTIONS > FILE"""

import sys

print(
    "#include <algorithm>\n#include <functional>\n#include <map>\n"
    "#include <regex>\n#include <string>\n#include <vector>"
)
for i in range(int(sys.argv[1])):
    print(
        f"struct T{i} {{ int a; std::map<std::string, std::vector<T{i}>> m; }};\n"
        f"int f{i}(std::string s) {{ std::map<int, std::function<int(T{i})>> m; m[{i}] = [s](T{i} t) {{ "
        f"std::sort(t.m[s].begin(), t.m[s].end(), [](const T{i}& x, const T{i}& y) {{ return x.a < y.a; }}); "
        f"return t.a + {i}; }}; return m[{i}](T{i}{{}}); }}"
    )
