# SPDX-License-Identifier: MIT
"""Python's side of _http_load.c and _http_accept.c: builds and runs them. Linux, and needs a C compiler."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
WHOLE_S = 90


class Outcome(NamedTuple):
    """One round: the time from the first start to the last response, and what became of the requests."""

    ns: int
    ok: int
    other: int
    resets: int
    unanswered: int
    slowest_ns: int


def build(source: str, folder: Path) -> str:
    """Compiles a file of this folder, and returns the program's path."""
    program = folder / Path(source).stem
    if not program.exists():
        flags = ["-O2", "-std=gnu11", "-D_GNU_SOURCE"]
        subprocess.run(["cc", *flags, "-o", str(program), str(HERE / source)], check=True)
    return str(program)


class HttpLoad:
    """Sends the same requests in each round. mode: "kept" (n over m connections) or "fresh" (n new ones within m ms).

    Blocks until the connections are there, and `round` until the last response.
    """

    def __init__(self, folder: Path, port: int, mode: str, n: int, m: int, requests: Sequence[bytes]) -> None:
        file = folder / f"requests-{port}-{mode}-{m}"
        file.write_bytes(b"".join(struct.pack("I", len(one)) + one for one in requests))
        command = [build("_http_load.c", folder), str(port), mode, str(n), str(m), str(file)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout.readline() == "ready\n", f"the load did not start: {self._process.wait()}"

    def round(self) -> Outcome:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the load ended: {self._process.wait()}"
        return Outcome(*map(int, line.split()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(WHOLE_S)
        self._process.stdout.close()
