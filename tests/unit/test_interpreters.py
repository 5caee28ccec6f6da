# SPDX-License-Identifier: MIT
"""heartfelt is for the main interpreter: a subinterpreter gets an ImportError that says so, and nobody is harmed."""

from __future__ import annotations

import importlib.util
import sys

import pytest

RUN_IN_ANOTHER = """
import sys
PATH = sys.path
TRY = f'''
import sys
sys.path[:] = {PATH!r}
try:
    from heartfelt import HeartHub
    hub = HeartHub(0.001, on_event=print, stall_guard="gil")
    hub.heartbeat("a")
    hub.close()
    print("works", flush=True)
except ImportError as error:
    print("ImportError:", error, flush=True)
'''

def run(kind):
    code = TRY
    if sys.version_info >= (3, 13):
        import _interpreters
        one = _interpreters.create(kind)
        failed = _interpreters.exec(one, code)
        _interpreters.destroy(one)
        assert not failed, failed
        return
    import _xxsubinterpreters
    one = _xxsubinterpreters.create(isolated=kind == "isolated")
    _xxsubinterpreters.run_string(one, code)
    _xxsubinterpreters.destroy(one)

"""
REFUSED = (
    "main interpreter only",
    "can only be loaded into one interpreter per process",
    "does not support loading in subinterpreters",
)

needs_subinterpreters = pytest.mark.skipif(
    not importlib.util.find_spec("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters"),
    reason="this Python has no subinterpreters",
)
kinds = pytest.mark.parametrize("kind", ["legacy", "isolated"] if sys.version_info >= (3, 12) else ["legacy"])


def is_refused(line):
    return line.startswith("ImportError:") and any(why in line for why in REFUSED)


@needs_subinterpreters
@kinds
@pytest.mark.parametrize("main_has_it", [True, False])
def test_a_subinterpreter_is_refused_clearly(run_python, kind, main_has_it):
    told = run_python(
        RUN_IN_ANOTHER
        + ("import heartfelt" if main_has_it else "")
        + f"""
run({kind!r})
run({kind!r})
from heartfelt import HeartHub
with HeartHub(0.001) as hub:
    hub.heartbeat("mine")
    assert hub.events.get(timeout=30).key == "mine"
"""
    ).splitlines()
    assert len(told) == 2
    assert all(map(is_refused, told)), told


@needs_subinterpreters
@kinds
def test_the_handwritten_module_refuses_by_itself(run_python, kind):
    alone = """
import importlib.util
spec = importlib.util.spec_from_file_location("heartfelt._hot", {file!r})
try:
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    print("works", flush=True)
except ImportError as error:
    print("ImportError:", error, flush=True)
"""
    told = run_python(
        RUN_IN_ANOTHER + f"from heartfelt import _hot\nTRY = {alone!r}.replace('{{file!r}}', repr(_hot.__file__))"
        f"\nrun({kind!r})"
    )
    assert is_refused(told), told
