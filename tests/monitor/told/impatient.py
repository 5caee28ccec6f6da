# SPDX-License-Identifier: MIT
"""The command `heartfelt`, but webhooks repeat their calls sooner. Run as `python -m tests.monitor.told.impatient`.

The usual times are tested with a manual clock, in tests/monitor/webhooks/test_outbox.py.
"""

from __future__ import annotations

import sys

from msgspec.structs import replace

from heartfelt.__main__ import main
from heartfelt.monitor import monitor
from heartfelt.monitor.webhooks.target_state import Retry

PROGRAM = "tests.monitor.told.impatient"


def patch():
    usual, retry = monitor.make_webhook_settings, Retry()
    # A refused message still waits for long enough to see that others do not wait for it.
    retry = replace(retry, first_ms=retry.first_ms // 10, refused_ms=retry.refused_ms // 2)
    monitor.make_webhook_settings = lambda config: replace(usual(config), retry=retry)


if __name__ == "__main__":
    patch()
    sys.exit(main())
