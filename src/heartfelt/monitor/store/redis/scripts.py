# SPDX-License-Identifier: MIT
"""The Lua scripts of this store, which are in the folder `scripts`; monitor/cluster/README.md has the table of them."""

from __future__ import annotations

from importlib.resources import files

from heartfelt.monitor.store.redis.link import Script


def load(name: str) -> Script:
    """Returns a script by the name of its file, without `.lua`."""
    return Script(name, (files(__package__) / "scripts" / f"{name}.lua").read_text(encoding="utf-8"))
