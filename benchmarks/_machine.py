# SPDX-License-Identifier: MIT
"""The machine and the versions of a run: figures mean nothing without them."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from pathlib import Path

from _ours import OURS
from _peers import PEERS

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


def processor() -> str:
    if CPUINFO.exists():
        for line in CPUINFO.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def caches() -> dict[str, str]:
    """{"L2": "512 KB"}: the caches that a core can use, as Linux reports them; empty elsewhere."""
    found = {}
    for index in sorted(CACHES.glob("index*")):
        level, size = (index / "level").read_text().strip(), (index / "size").read_text().strip()
        if level != "1" and size.endswith("K"):
            kib = int(size[:-1])
            found[f"L{level}"] = f"{kib // 1024} MB" if kib >= 1024 else f"{kib} KB"
    return found


def description() -> dict[str, object]:
    packages = sorted({kind.package for kind in OURS + PEERS if kind.package is not None and kind.missing() is None})
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "processor": processor(),
        "caches": caches(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "machine": platform.machine(),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": {name: importlib.metadata.version(name) for name in ["heartfelt", *packages]},
    }


def in_words(about: dict[str, object]) -> str:
    caches = ", ".join(f"{level} {size}" for level, size in about["caches"].items())
    return (
        f"{about['cores']} cores of {about['processor']}{f' ({caches})' if caches else ''}, {about['system']}, "
        f"{about['python']}"
    )
