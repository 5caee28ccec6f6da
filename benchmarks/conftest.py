# SPDX-License-Identifier: MIT
"""pytest benchmarks [--keys N,N ...]: the options and fixtures of every benchmark here."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
from _keys import made, shuffled
from _watcher import Watcher

PLUGIN = "benchmark"  # the name that pytest-benchmark registers


def pytest_addoption(parser):
    parser.addoption(
        "--keys", default="10000", help="how many keys are watched; several with commas: --keys=10000,1000000"
    )


def pytest_generate_tests(metafunc):
    if "n_keys" in metafunc.fixturenames:
        sizes = [int(size) for size in metafunc.config.getoption("--keys").split(",")]
        metafunc.parametrize("n_keys", sizes, ids=[f"{size} keys" for size in sizes])


def pytest_configure(config):
    if not config.pluginmanager.has_plugin(PLUGIN):
        config.pluginmanager.register(RunsOnce())


def pytest_terminal_summary(terminalreporter, config):
    if not config.pluginmanager.has_plugin(PLUGIN):
        terminalreporter.write_line("pytest-benchmark is not installed: everything ran once, nothing was timed")


@pytest.fixture
def joined(n_keys):
    """The keys, in the order in which they join."""
    return made(n_keys)


@pytest.fixture
def keys(joined):
    """The same objects, in the random order in which they beat."""
    return shuffled(joined)


@pytest.fixture
def rounds(n_keys):
    return 20 if n_keys <= 100_000 else 4


@pytest.fixture
def open_watcher(n_keys, benchmark):
    """Opens a watcher of a kind, and closes it at the end; skips the test if the kind cannot be measured here."""
    opened = []

    def open_one(kind: type[Watcher]) -> Watcher:
        why_not = kind.missing() or kind.too_many(n_keys)
        if why_not is not None:
            pytest.skip(why_not)
        benchmark.extra_info["version"] = kind.version()
        opened.append(kind())
        return opened[-1]

    yield open_one
    for watcher in opened:
        watcher.close()
    gc.collect()


class RunsOnce:
    """Replaces pytest-benchmark where it is not installed: runs once what would be timed."""

    @pytest.fixture
    def benchmark(self):
        def pedantic(target, args=(), setup=None, **_):
            given = setup() if setup is not None else None
            target(*(given[0] if given is not None else args))

        return SimpleNamespace(pedantic=pedantic, extra_info={}, group=None)
