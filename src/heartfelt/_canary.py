# SPDX-License-Identifier: MIT
"""The canary of a hub with stall_guard="gil": a Python thread that shows the hub's workers that Python runs.

It beats periodically, and when a worker asks for it by the canary's bell: a verdict is taken only for deadlines that
lie before the canary's last beat. A late beat shows how long Python was starved. The thread refers to its hub only
while it beats, so a hub that nothing else refers to is collected, and the thread ends.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from heartfelt._threads import Thread

if TYPE_CHECKING:
    from heartfelt._bell import Bell
    from heartfelt._core import Hub

CANARY = 2  # among a hub's bells


def start(hub: Hub) -> None:
    Thread(_run, (weakref.ref(hub), hub._bells[CANARY]), "heartfelt-canary").start()


def _run(ref: weakref.ref[Hub], bell: Bell) -> None:
    interval_ns = 0
    while interval_ns >= 0:
        bell.wait(interval_ns)
        hub = ref()
        if hub is None:
            return
        interval_ns = hub._canary_beat()
        del hub
