# SPDX-License-Identifier: MIT
"""`heartfelt serve` with a damaged data folder; and backup, doctor and restore beside a monitor that runs."""

from __future__ import annotations

import random
import shutil

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("uvicorn")
from tests.monitor.serving import Serving, run_command
from tests.monitor.store import damage, mutations

LONG = "3660 d"


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return damage.make(tmp_path_factory.mktemp("bases"))


@pytest.fixture
def serving():
    """serving(folder): a monitor on this data, which has started."""
    started = []

    def start(folder):
        started.append(Serving(data=folder, retention_events=LONG, retention_changes=LONG))
        started[-1].wait_ready()
        return started[-1]

    yield start
    for one in started:
        one.end()


def test_it_starts_without_damaged_rows_and_its_data_can_be_saved_meanwhile(bases, serving, tmp_path):
    folder = shutil.copytree(bases["clean"], tmp_path / "data")
    with mutations.writable(folder) as connection:
        connection.execute("UPDATE instances SET peer = CAST(x'FF' AS TEXT) WHERE id = 3")
        connection.execute("UPDATE changes SET new = '?' WHERE seq = 5")
        connection.execute("UPDATE documents SET kind = 'webhook', value = '{' WHERE name = 'webhook 1'")
    monitor = serving(folder)
    assert monitor.get("/readyz").status == 200
    assert len(monitor.json("/api/v1/changes", limit=1000)["changes"]) >= 100
    assert "a row of table instances is damaged and left out: id 3: peer is not UTF-8" in monitor.log
    assert 'heartfelt_store_damaged_rows_total{table="instances"} 1.0' in monitor.get("/metrics").body.decode()
    monitor.beat("shop", "new")
    done = run_command("backup", tmp_path / "b.db", "--data", folder)
    assert (done.returncode, done.stderr) == (0, "") and "instances" in done.stdout
    done = run_command("doctor", "--data", folder)
    assert done.returncode == 0, done.stdout
    assert f"a monitor uses it: process {monitor.process.pid}" in done.stdout
    assert "damaged rows were moved aside" in done.stdout
    for words in (("restore", tmp_path / "b.db"), ("doctor", "--repair")):
        done = run_command(*words, "--data", folder)
        assert done.returncode == 1 and f"in use by process {monitor.process.pid}; stop that monitor" in done.stderr
    assert monitor.stop() == 0
    assert "Traceback" not in monitor.log
    assert run_command("restore", tmp_path / "b.db", "--data", folder).returncode == 0


def test_history_that_cannot_be_read_is_not_healthy(bases, serving, tmp_path):
    folder = shutil.copytree(bases["clean"], tmp_path / "data")
    with mutations.writable(folder) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'events'").fetchone()
    with (folder / damage.NAME).open("rb+") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xa5" * 4096)
    monitor = serving(folder)
    history = monitor.get("/api/v1/events")
    ready = monitor.get("/readyz")
    assert (history.status, ready.status) == (503, 503)
    assert ready.json["store"] == history.json["detail"]
    assert "heartfelt doctor --repair" in ready.json["store"] and ready.json["store"] in monitor.log
    metrics = monitor.get("/metrics").body.decode()
    assert "heartfelt_store_ok 0.0" in metrics and "heartfelt_store_damaged 1.0" in metrics
    monitor.beat("shop", "new")  # it goes on watching
    assert monitor.find("new")["state"] == "NEW"
    monitor.stop()
    assert "Traceback" not in monitor.log


@pytest.mark.parametrize("what", ["empty", "no log", "cut"])
def test_it_refuses_what_cannot_be_used(bases, tmp_path, what):
    folder = shutil.copytree(bases["live"], tmp_path / "data")
    if what == "empty":
        (folder / damage.NAME).write_bytes(b"")
    elif what == "no log":
        (folder / "heartfelt.db-wal").unlink()
    else:
        mutations.truncate(folder, random.Random(3))
        (folder / damage.NAME).write_bytes((folder / damage.NAME).read_bytes()[:50])
    done = run_command("serve", "--data", folder, "--http-port", 0, "--tcp-port", 0, "--udp-port", 0)
    assert done.returncode == 1 and done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.startswith("heartfelt serve: ")]
    assert len(lines) == 1 and any(words in lines[0] for words in damage.REMEDIES), done.stderr
    assert "Traceback" not in done.stderr
