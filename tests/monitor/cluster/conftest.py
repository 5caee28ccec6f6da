# SPDX-License-Identifier: MIT
"""Fixtures of the tests of many monitors."""

from __future__ import annotations

import pytest


@pytest.fixture
def make_fleet():
    """make_fleet(n): nodes that share one truth; checked and closed when the test ends."""
    from tests.monitor.cluster.truth import Fleet

    fleets = []

    def make(n=2, **options):
        fleets.append(Fleet(n, **options))
        return fleets[-1]

    yield make
    try:
        for fleet in fleets:
            fleet.check()
    finally:
        for fleet in fleets:
            fleet.close()
