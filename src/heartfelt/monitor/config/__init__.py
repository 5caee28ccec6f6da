# SPDX-License-Identifier: MIT
"""The monitor's configuration: settings from a file, the environment and flags, checked, as one MonitorConfig."""

from heartfelt.monitor.config.config import DEFAULT, MonitorConfig

__all__ = ["DEFAULT", "MonitorConfig"]
