# SPDX-License-Identifier: MIT
"""How long to search: HEARTFELT_EXAMPLES=5000 runs that many new random examples of each property; without it the
same few examples run each time, so that CI is quick and repeatable."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.append(str(Path(__file__).parent))  # for `import model`: importlib mode adds no directory itself

_EXAMPLES = int(os.environ.get("HEARTFELT_EXAMPLES", "0"))
_HEALTH = [HealthCheck.too_slow, HealthCheck.data_too_large]  # a shared machine is slow at times

settings.register_profile("ci", deadline=None, derandomize=True, database=None, suppress_health_check=_HEALTH)
settings.register_profile(
    "long",
    deadline=None,
    database=None,
    suppress_health_check=_HEALTH,
    max_examples=_EXAMPLES or 100,
    print_blob=True,
)
settings.load_profile("long" if _EXAMPLES else "ci")
