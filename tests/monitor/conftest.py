# SPDX-License-Identifier: MIT
"""What the monitor's tests share."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for `import registry_world`: importlib mode adds no directory itself

# Without heartfelt[monitor] there is nothing to test.
collect_ignore_glob = [] if importlib.util.find_spec("msgspec") else ["test_*.py"]


@pytest.fixture
def make_world():
    """make_world(policy=, limits=): a registry on a manual clock; checked and closed when its test ends."""
    from registry_world import World

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
def serve(tmp_path):
    """serve(*arguments, **settings): a running `heartfelt serve` on free ports; ended when the test ends."""
    from serving import Serving

    running = []

    def start(*arguments, **options):
        options.setdefault("data", tmp_path / "data")
        running.append(Serving(*arguments, **options))
        running[-1].wait_ready()
        return running[-1]

    yield start
    for one in running:
        one.end()


@pytest.fixture
def serve_app():
    """serve_app(application, **options): a running `http_server.Server`; stopped when the test ends."""
    from http_server import Server

    running = []

    def start(application, **options):
        running.append(Server(application, **options))
        return running[-1]

    yield start
    for server in running:
        server.stop()
