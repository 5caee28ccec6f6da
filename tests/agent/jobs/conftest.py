# SPDX-License-Identifier: MIT
"""Shared by the tests of jobs: a monitor that keeps what it receives."""

from __future__ import annotations

from tests.ping_monitor import certificate, https_monitor, make_monitor, monitor, mute, nobody

__all__ = ["certificate", "https_monitor", "make_monitor", "monitor", "mute", "nobody"]  # fixtures
