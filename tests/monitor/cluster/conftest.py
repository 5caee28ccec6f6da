# SPDX-License-Identifier: MIT
"""Fixtures of the tests of many monitors."""

from __future__ import annotations

import asyncio
import importlib.util

import pytest

from tests.monitor.redis.conftest import redis_server  # noqa: F401

LOOPS = ["asyncio", "uvloop"] if importlib.util.find_spec("uvloop") else ["asyncio"]


@pytest.fixture(params=LOOPS)
def run(request):
    """run(coroutine): on each kind of loop."""

    def run_it(coroutine):
        loop = asyncio.new_event_loop()
        if request.param == "uvloop":
            import uvloop

            loop.close()
            loop = uvloop.new_event_loop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.close()

    return run_it


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
