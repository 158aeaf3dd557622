"""sqlite3 in memory: inserts rows, builds an index, joins and aggregates.

tables.py ROWS
"""

import random
import sqlite3
import sys


def main():
    rows = int(sys.argv[1])
    rng = random.Random(1)
    base = sqlite3.connect(":memory:")
    base.execute("create table item (id integer primary key, owner integer, name text, note text)")
    base.execute("create table owner (id integer primary key, name text)")
    base.executemany("insert into owner values (?, ?)", ((i, f"owner {i}") for i in range(rows // 50)))
    base.executemany(
        "insert into item values (?, ?, ?, ?)",
        ((i, rng.randrange(rows // 50), f"item {i}", f"note {i * 7919 % rows} " * 8) for i in range(rows)),
    )
    base.execute("create index item_owner on item (owner, name)")
    print(
        base.execute(
            "select sum(length(note)), max(item.name) from item join owner on owner.id = item.owner"
        ).fetchone()
    )
    for i in range(300):
        base.execute(
            "select name from item where owner = ? order by name", (rng.randrange(rows // 50),)
        ).fetchall()
    print(
        base.execute(
            "select owner, count(*) c from item group by owner order by c desc, owner limit 3"
        ).fetchall()
    )


main()
