# SPDX-License-Identifier: MIT
"""What the tests of jobs share: a monitor that keeps what it gets."""

from __future__ import annotations

from tests.ping_monitor import certificate, https_monitor, make_monitor, monitor, mute, nobody

__all__ = ["certificate", "https_monitor", "make_monitor", "monitor", "mute", "nobody"]  # fixtures
