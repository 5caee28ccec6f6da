# SPDX-License-Identifier: MIT
"""Settings of the state machines that are compared with a plain model."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings


def machine_settings(*, examples, steps):
    """The same histories in each run; with HEARTFELT_EXAMPLES so many random ones instead."""
    random = int(os.environ.get("HEARTFELT_EXAMPLES", "0"))
    return settings(
        deadline=None,
        database=None,
        derandomize=not random,
        max_examples=random or examples,
        stateful_step_count=steps,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
