# SPDX-License-Identifier: MIT
"""Resident memory of a watched key, beyond the key's own object: measured in a process of its own.

python _memory.py CLASS N_KEYS: joins that many keys, and prints the growth of the process in bytes a key.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

from _keys import made, shuffled
from _watcher import Watcher

STATM = Path("/proc/self/statm")


def bytes_a_key(kind: type[Watcher], n_keys: int) -> float | None:
    """The resident memory in bytes; None where the system does not report it."""
    if not STATM.exists():
        return None
    command = [sys.executable, __file__, kind.__name__, str(n_keys)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout)


def resident() -> int:
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main(name: str, n_keys: int) -> None:
    from _ours import OURS
    from _peers import PEERS

    kind = next(kind for kind in OURS + PEERS if kind.__name__ == name)
    keys = shuffled(made(n_keys))
    for key in keys:
        hash(key)
    watcher = kind()
    watcher.join(keys[:1])  # makes what is made only once
    before = resident()
    watcher.join(keys)
    print((resident() - before) / n_keys, flush=True)
    os._exit(0)  # a thread a key would take long to end


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
