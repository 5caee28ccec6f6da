# SPDX-License-Identifier: MIT
"""How long to search is said in tests/conftest.py."""

from __future__ import annotations
