# SPDX-License-Identifier: MIT
"""A time limit for a fuzzer: an input on which a parser hangs is found as well."""

from __future__ import annotations

import faulthandler
import signal
import types

GRACE_S = 60.0
"""How long after its time a fuzzer may still run: longer than any one input takes, under a sanitizer, too."""


def limit(seconds: float) -> None:
    """Raises TimeoutError in a fuzzer that still runs GRACE_S after `seconds`. What that cannot interrupt is ended a
    little later with the stacks of all threads."""

    def expired(number: int, frame: types.FrameType | None) -> None:
        raise TimeoutError(f"this input has taken more than {GRACE_S:g} s, or the fuzzer does not end")

    faulthandler.dump_traceback_later(seconds + 1.5 * GRACE_S, exit=True)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, expired)
        signal.setitimer(signal.ITIMER_REAL, seconds + GRACE_S)
