# SPDX-License-Identifier: MIT
"""`heartfelt backup`, `restore` and `doctor` in this process; with a real monitor: test_damaged_data.py."""

from __future__ import annotations

import asyncio
import errno
import os
import random
import shutil
import sqlite3
import stat
import threading
from pathlib import Path

import pytest

pytest.importorskip("msgspec")
from heartfelt.__main__ import main
from heartfelt.errors import StoreError
from heartfelt.monitor.store import EventFilter, copies, schema
from heartfelt.monitor.store.sqlite import SqliteStore
from tests.monitor.store import damage, mutations
from tests.monitor.store.values import Clock, change, event, instance

run = asyncio.run


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    return damage.make(tmp_path_factory.mktemp("bases"))


@pytest.fixture
def folder(bases, tmp_path):
    return shutil.copytree(bases["clean"], tmp_path / "data")


@pytest.fixture
def live(bases, tmp_path):
    return shutil.copytree(bases["live"], tmp_path / "live")


@pytest.fixture
def command(capsys):
    """command(*words): the exit status, and what was printed."""

    def run_it(*words):
        status = main([str(word) for word in words])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run_it


def contents(folder):
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock(), retention=damage.KEEP)
    saved = store.open()
    try:
        return damage.contents(store, saved)
    finally:
        store.close()


def test_a_backup_while_a_monitor_writes_is_one_moment(command, tmp_path):
    store = SqliteStore(tmp_path / "data" / damage.NAME, wall_ms=Clock())
    store.open()
    stop = threading.Event()
    written = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            store.put_instance(instance(n))  # one of each kind in each transaction
            store.put_event(event(n))
            store.put_change(change(n))
            run(store.flush())
            if n > 20:
                written.set()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        assert written.wait(40)
        for name in ("one.db", "two.db"):
            status, printed = command("backup", tmp_path / name, "--data", tmp_path / "data")
            assert status == 0, printed
    finally:
        stop.set()
        thread.join()
        store.close()
    for name in ("one.db", "two.db"):
        assert not (tmp_path / (name + "-wal")).exists()  # it is one file
        connection = sqlite3.connect(tmp_path / name)
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("instances", "changes")
        ]
        assert abs(counts[0] - counts[1]) <= 1 and counts[0] > 20
        connection.close()
    assert f"{counts[0]} instances" in printed and "schema 3" in printed and "last written 2025-11-22" in printed
    assert oct((tmp_path / "one.db").stat().st_mode & 0o777) == "0o600" or os.name == "nt"


def test_what_backup_refuses(command, live, tmp_path):
    target = tmp_path / "b.db"
    target.write_bytes(b"mine")
    other = shutil.copytree(live, tmp_path / "other") / damage.NAME  # it has a log: a monitor uses it, or has crashed
    before = {one.name: one.read_bytes() for one in live.iterdir()}
    for words, why in (
        (("backup", target, "--data", live), "exists already; name another file, or overwrite it with --force"),
        (("backup", live / damage.NAME, "--data", live, "--force"), "is the database itself"),
        (("backup", tmp_path / "c.db", "--data", tmp_path / "none"), "does not exist; give the monitor's data folder"),
        (("backup", tmp_path / "no" / "c.db", "--data", live), "create its folder"),
        (("backup", tmp_path / ("x" * 300), "--data", live), "name another file"),
        (("backup", other, "--data", live, "--force"), "use `heartfelt restore FILE`"),
        *(
            (("backup", live / (damage.NAME + end), "--data", live, "--force"), "for a file of the database")
            for end in ("-wal", "-shm", "-journal", ".lock", ".state")
        ),
    ):
        status, printed = command(*words)
        assert status == 1 and why in printed, printed
    assert target.read_bytes() == b"mine"
    assert {one.name: one.read_bytes() for one in live.iterdir()} == before
    assert command("backup", target, "--data", live, "--force")[0] == 0
    mutations.overwrite_pages(live, random.Random(3))
    (live / "heartfelt.db-wal").unlink()
    status, printed = command("backup", tmp_path / "d.db", "--data", live)
    assert status == 1 and "heartfelt doctor" in printed
    assert not [found for found in tmp_path.iterdir() if found.name.startswith("d.db")]  # nothing half-made is left


@pytest.mark.parametrize(
    "words", [("doctor",), ("doctor", "--repair"), ("backup", "b"), ("restore", __file__), ("token", "list")]
)
def test_a_folder_into_which_this_user_may_not_look(words, folder, monkeypatch, capsys):
    real = os.lstat
    asked = []

    def refused(path, **options):
        if os.fspath(path).startswith(str(folder) + os.sep):
            asked.append(path)
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
        return real(path, **options)

    monkeypatch.setattr(Path, "is_symlink", lambda path: stat.S_ISLNK(refused(path).st_mode))
    assert main([*words, "--data", str(folder)]) == 1
    assert "Permission denied; run this as the monitor's user" in capsys.readouterr().err and asked


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_what_is_no_file_is_not_waited_for(command, tmp_path):
    os.mkfifo(tmp_path / damage.NAME)
    for words in (("doctor",), ("doctor", "--repair"), ("backup", tmp_path / "b.db")):
        status, printed = command(*words, "--data", tmp_path)
        assert status == 1 and ("is not a file" in printed or "missing or empty" in printed), printed


def test_a_backup_is_restored_and_what_was_there_is_kept(command, folder, live, tmp_path):
    before = contents(live)
    assert command("backup", tmp_path / "b.db", "--data", live)[0] == 0
    was = (folder / damage.NAME).read_bytes()
    (folder / "heartfelt.db-wal").write_bytes(b"a log of before")
    status, printed = command("restore", tmp_path / "b.db", "--data", folder)
    assert status == 0 and "120 instances" in printed
    moved = [line.removeprefix("moved aside: ") for line in printed.splitlines()[1:]]
    assert len(moved) == 3
    assert Path(moved[0]).read_bytes() == was
    assert not (folder / "heartfelt.db-wal").exists()
    result = damage.start(folder)
    assert not result.reported and result.found["instances"] == before["instances"]
    assert contents(folder)["changes"] == before["changes"]
    status, printed = command("restore", tmp_path / "b.db", "--data", tmp_path / "new")  # a new machine
    assert status == 0 and contents(tmp_path / "new")["instances"] == before["instances"]


def test_what_restore_refuses(command, folder, tmp_path):
    backup = tmp_path / "b.db"
    assert command("backup", backup, "--data", folder)[0] == 0
    was = {found.name: found.read_bytes() for found in folder.iterdir()}
    (tmp_path / "text").write_bytes(b"no database" * 99)
    (tmp_path / "empty").write_bytes(b"")
    shutil.copy(backup, tmp_path / "newer")
    shutil.copy(backup, tmp_path / "broken")
    with sqlite3.connect(tmp_path / "newer") as connection:
        connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    with (tmp_path / "broken").open("rb+") as file:
        file.seek(9 * 4096)
        file.write(bytes(30 * 4096))
    for name, why in (
        ("text", "not an SQLite file"), ("empty", "is empty"), ("newer", "newer heartfelt"), ("broken", "is damaged"),
        ("none", "is not a file"), ("data/heartfelt.db", "is the database itself"),
    ):  # fmt: skip
        status, printed = command("restore", tmp_path / name, "--data", folder)
        assert status == 1 and why in printed, printed
    assert {found.name: found.read_bytes() for found in folder.iterdir()} | {"heartfelt.db.lock": b""} == was | {
        "heartfelt.db.lock": b""
    }
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock())
    store.open()
    status, printed = command("restore", backup, "--data", folder)
    assert status == 1 and f"in use by process {os.getpid()}; stop that monitor" in printed
    store.close()


def test_restore_is_done_or_not_done_wherever_it_ends(folder, live, tmp_path, monkeypatch):
    """If a step fails, a start finds a whole database, or refuses: never a wrong log or an empty file."""
    backup = tmp_path / "b.db"
    copies.backup(live / damage.NAME, backup)
    steps = []
    replace = type(backup).replace
    for nth in range(4):
        place = shutil.copytree(folder, tmp_path / str(nth))
        (place / "heartfelt.db-wal").write_bytes(b"")
        steps.clear()

        def fails(self, target, nth=nth):
            steps.append(target)
            if len(steps) > nth:
                raise OSError(5, "Input/output error")
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(type(backup), "replace", fails)
            with pytest.raises(StoreError, match="could not be replaced"):
                copies.restore(backup, place / damage.NAME)
        result = damage.start(place)
        assert result.refused is not None or result.found["instances"].total() == 120, (nth, result.log)
        assert not [found for found in place.iterdir() if found.name.endswith(".new")]


def test_doctor_finds_nothing_in_a_healthy_folder(command, folder, live):
    for place in (folder, live):
        was = {found.name: found.read_bytes() for found in place.iterdir() if not found.name.endswith("-shm")}
        status, printed = command("doctor", "--data", place)
        assert status == 0, printed
        for words in (
            "no monitor uses it",
            "schema 3",
            "integrity_check: nothing",
            "all rows can be read",
            "instances 120",
        ):
            assert words in printed
        assert {found.name: found.read_bytes() for found in place.iterdir() if not found.name.endswith("-shm")} == was
    assert "not closed cleanly" in printed
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock())
    store.open()
    status, printed = command("doctor", "--data", folder)
    assert status == 0 and f"a monitor uses it: process {os.getpid()}" in printed
    store.close()


@pytest.mark.skipif(os.name == "nt", reason="rights are another matter there")
def test_doctor_names_what_a_killed_command_has_left(command, folder):
    (folder / f"{damage.NAME}.4711.new").write_bytes(b"half")
    status, printed = command("doctor", "--data", folder)
    assert status == 0 and f"warning: {damage.NAME}.4711.new has 0 MB" in printed, printed


def test_doctor_names_each_problem_with_its_remedy(command, folder, tmp_path):
    folder.chmod(0o755)
    (folder / damage.NAME).chmod(0o644)
    with mutations.writable(folder) as connection:
        connection.execute("UPDATE events SET info = '{' WHERE number < 4")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'events_at'")
    status, printed = command("doctor", "--data", folder)
    assert status == 1
    for words in (
        f"chmod 700 {folder}",
        f"chmod 600 {folder / damage.NAME}",
        "a row of table events cannot be read: number 1",
        "3 rows cannot be read (events 3)",
        "problem: heartfelt.db: Page",
    ):
        assert words in printed, printed
    assert command("doctor", "--data", tmp_path / "none")[0] == 1
    (tmp_path / "empty").mkdir()
    status, printed = command("doctor", "--data", tmp_path / "empty")
    assert status == 0 and "there is no database heartfelt.db" in printed


def test_doctor_says_what_a_start_would_refuse(command, folder, live):
    (folder / damage.NAME).write_bytes(b"")
    (live / "heartfelt.db-wal").unlink()
    for place, why in (
        (folder, "is empty, though a database was used here"),
        (live, "its -wal, which has the newest data"),
    ):
        status, printed = command("doctor", "--data", place)
        assert status == 1 and why in printed
    (folder / damage.NAME).unlink()
    status, printed = command("doctor", "--data", folder)
    assert status == 1 and "is gone" in printed


@pytest.mark.parametrize("seed", range(6))
def test_repair_saves_what_can_be_read(command, folder, seed):
    chance = random.Random(seed)
    whole = contents(folder)
    with mutations.writable(folder) as connection:
        connection.execute("UPDATE instances SET meta = CAST(x'FF' AS TEXT) WHERE id = 5")
    data = bytearray((folder / damage.NAME).read_bytes())
    for _ in range(seed * 3):
        at = chance.randrange(8, len(data) // 4096) * 4096
        data[at : at + 4096] = b"\xa5" * 4096
    (folder / damage.NAME).write_bytes(data)
    status, printed = command("doctor", "--repair", "--data", folder)
    assert status == 0, printed  # nothing is wrong with the new one
    assert "rows of table" in printed and "moved aside: " in printed
    result = damage.start(folder)
    assert result.refused is None and result.health.ok and not result.health.damaged_rows
    if seed == 0:
        for kind, found in result.found.items():
            n_bad = {"instances": 1, "runs": 1, "open runs": 1}.get(kind, 0)
            assert whole[kind].total() - found.total() <= n_bad, kind
        assert "dropped:  1 rows of table instances" in printed


def test_repair_goes_on_with_a_copy_without_its_log(command, live, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(live / damage.NAME, copy)
    assert damage.start(copy).refused
    status, printed = command("doctor", "--repair", "--data", copy)
    assert status == 0 and "repaired: 60 instances" in printed
    result = damage.start(copy)
    assert not result.reported and result.found["instances"].total() == 60
    status, printed = command("doctor", "--repair", "--data", tmp_path / "none")
    assert status == 1 and "there is nothing to repair" in printed


def test_repaired_outboxes_keep_their_order(command, folder):
    def due():
        store = SqliteStore(folder / damage.NAME, wall_ms=Clock())
        store.open()
        try:
            return [one.key for one in run(store.next_deliveries(damage.NOON_MS + 1, 1000))]
        finally:
            store.close()

    with sqlite3.connect(folder / damage.NAME) as connection:
        connection.execute("UPDATE outbox SET payload = CAST(x'FF' AS TEXT) WHERE number = 2")
        connection.execute("UPDATE outbox SET state = 2 WHERE number = 1")
        statement = "SELECT min(number), key FROM outbox WHERE state < 2 AND number != 2 GROUP BY target, subject"
        first = {row[1] for row in connection.execute(statement)}
    assert command("doctor", "--repair", "--data", folder)[0] == 0
    assert set(due()) == first  # also the one that waited for the delivery that is gone
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock())
    store.open()
    assert run(store.events(EventFilter(), before=None, limit=1))
    store.close()
