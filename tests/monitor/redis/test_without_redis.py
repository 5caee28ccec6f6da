# SPDX-License-Identifier: MIT
"""Without redis-py, all but the store on Redis can be imported; a monitor with SQLite imports none of it."""

from __future__ import annotations

import pytest

from tests import ROOT

BLOCKED = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("redis", "hiredis"):
            raise ModuleNotFoundError(f"No module named {name!r}", name="redis")
sys.meta_path.insert(0, Absent())
"""
NEEDS_REDIS = {f"heartfelt.monitor.store.redis.{name}" for name in ("configuration", "dial", "node", "refusals")}


def modules():
    """All of heartfelt, but those for a terminal, whose libraries may be missing, too."""
    folder = ROOT / "src"
    for path in sorted(folder.glob("heartfelt/**/*.py")):
        name = ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")
        if not name.startswith("heartfelt.cli._top.") and not name.endswith("__main__"):
            yield name


def test_only_the_modules_that_speak_to_redis_need_it(run_python):
    pytest.importorskip("msgspec")
    run_python(
        BLOCKED
        + f"""
import importlib
needing = set()
for name in {list(modules())!r}:
    try:
        importlib.import_module(name)
    except ImportError as error:
        if error.name == "redis":
            needing.add(name)
        else:
            assert sys.platform != "linux", (name, error)
allowed = {NEEDS_REDIS!r}
assert allowed & needing, "the blocker does not work"
more = {{name for name in needing - allowed if not name.startswith("heartfelt.monitor.store.redis.")}}
assert not more, more
"""
    )


def test_a_monitor_with_sqlite_imports_no_part_of_it(run_python):
    pytest.importorskip("msgspec")
    run_python(
        """
import sys
import heartfelt.monitor.app, heartfelt.monitor.monitor, heartfelt.cli.serve
assert not {name for name in sys.modules if name.partition(".")[0] in ("redis", "hiredis")}
assert "heartfelt.monitor.cluster.member" not in sys.modules
"""
    )
