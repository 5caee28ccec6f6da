# SPDX-License-Identifier: MIT
"""Tests, as packages that mirror src/heartfelt.

The repository's root is on the import path: `from tests.monitor.serving import until`.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository. A program of the tests runs there: `python -m tests.monitor.store.load`."""
