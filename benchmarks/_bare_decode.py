# SPDX-License-Identifier: MIT
"""The other side of benchmarks/memory_and_start.py: `_bare_decode.py FILE` reads all rows that a start reads
with `SELECT *`, decodes their JSON, and keeps all values. Prints one line when it is done."""

from __future__ import annotations

import gc
import sqlite3
import sys

import msgspec

TABLES = {"instances": ("meta", "reason_args", "ack"), "beats": (), "documents": ("value",)}


def main() -> None:
    gc.disable()  # as it is while the monitor starts
    decode = msgspec.json.Decoder().decode
    connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
    kept = []
    for table, columns in TABLES.items():
        found = connection.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in found.description]
        at = [names.index(name) for name in columns]
        for row in found:
            values = list(row)
            for n in at:
                if values[n] is not None:
                    values[n] = decode(values[n])
            kept.append(values)
    print(len(kept), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
