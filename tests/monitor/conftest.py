# SPDX-License-Identifier: MIT
"""Fixtures of the monitor's tests."""

from __future__ import annotations

import importlib.util

import pytest

# Without heartfelt[monitor] there is nothing to test.
collect_ignore_glob = [] if importlib.util.find_spec("msgspec") else ["*"]


@pytest.fixture
def make_world():
    """make_world(policy=, limits=): a registry on a manual clock; checked and closed when its test ends."""
    from tests.monitor.fleet.world import World

    worlds = []

    def make(**options):
        worlds.append(World(**options))
        return worlds[-1]

    yield make
    try:
        for world in worlds:
            world.check()
    finally:
        for world in worlds:
            world.close()


@pytest.fixture
def world(make_world):
    return make_world()


@pytest.fixture
def serve_app():
    """serve_app(application, **options): a running `http_server.Server`; stopped when the test ends."""
    from tests.monitor.web.http1.server import Server

    running = []

    def start(application, **options):
        running.append(Server(application, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()
