# SPDX-License-Identifier: MIT
"""The command line against a monitor: without heartfelt[monitor] there is nothing to test."""

from __future__ import annotations

import importlib.util

collect_ignore_glob = [] if importlib.util.find_spec("msgspec") else ["*"]
