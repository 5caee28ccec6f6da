# SPDX-License-Identifier: MIT
"""The test server in a process of its own, for tests whose own process cannot run Python meanwhile, or is measured.

As a program, `python -m tests.agent.elsewhere KIND`: it writes its port, and for each line that it reads what it has
received so far.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.agent.server import LONG_S, Server

ROOT = Path(__file__).parents[2]


class Elsewhere:
    """`host`, `port`, `kind` as of Server, and what it received, asked for at the time."""

    host = "127.0.0.1"

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.agent.elsewhere", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.port = int(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the server elsewhere has ended"
        return line

    def received(self) -> dict[str, Any]:
        """beats: how many; last: all of them, as dicts; arrivals: their times; goodbyes, connections: how many."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return json.loads(self._read())  # type: ignore[no-any-return]

    def wait_for(self, predicate: Callable[[dict[str, Any]], object], deadline: float = LONG_S) -> dict[str, Any]:
        end = time.monotonic() + deadline
        while not predicate(received := self.received()):
            assert time.monotonic() < end, f"it did not come about: {received}"
            time.sleep(0.01)
        return received

    def stop(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        assert self._process.wait(LONG_S) == 0


def main() -> None:
    with Server(sys.argv[1]) as server:
        print(server.port, flush=True)
        for _ in sys.stdin:
            with server.changed:
                received = {
                    "beats": len(server.beats),
                    "last": server.beats,
                    "arrivals": server.arrivals,
                    "goodbyes": len(server.goodbyes),
                    "connections": server.connections,
                    "errors": server.errors,
                }
            print(json.dumps(received), flush=True)


if __name__ == "__main__":
    main()
