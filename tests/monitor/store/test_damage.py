# SPDX-License-Identifier: MIT
"""Damaged databases: what can be read is read, the rest is reported, and what cannot be used is refused."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import sqlite3
import stat
import threading

import pytest

pytest.importorskip("msgspec")
from heartfelt.errors import StoreError
from heartfelt.monitor.store import EventFilter, check, shapes
from heartfelt.monitor.store.documents import Documents
from heartfelt.monitor.store.metrics import readings
from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.sqlite import SqliteStore
from tests.monitor.store import damage, mutations
from tests.monitor.store.values import Clock, change, event, instance, until

run = asyncio.run
TRIALS, PART = 60, 12


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    made = damage.make(folder)
    return made, damage.whole(made, folder)


@pytest.fixture
def folder(bases, tmp_path):
    """A copy of the database that was closed cleanly."""
    return shutil.copytree(bases[0]["clean"], tmp_path / "data")


@pytest.fixture
def live(bases, tmp_path):
    """A copy of the database as it was while a monitor used it."""
    return shutil.copytree(bases[0]["live"], tmp_path / "live")


@pytest.mark.parametrize("first", range(0, TRIALS, PART))
def test_damage_by_a_seed(bases, tmp_path, first):
    """The first of the trials of `make damage-fuzz`."""
    kinds = {damage.trial(seed, *bases, tmp_path)[1].kind for seed in range(first, first + PART)}
    assert "refused" in kinds and len(kinds) > 1


ROWS = {
    "instances": ("UPDATE instances SET service = CAST(x'FF41' AS TEXT) WHERE id = 3", "not UTF-8"),
    "beats": ("UPDATE beats SET last_beat_ms = 'soon' WHERE id = 3", "last_beat_ms is text, not an integer"),
    "changes": ("UPDATE changes SET new = 'ASLEEP' WHERE seq = 3", "'ASLEEP' is not a valid State"),
    "events": ("UPDATE events SET info = '[1]' WHERE number = 3", "not a JSON object"),
    "runs": ("UPDATE runs SET result = 77 WHERE number = 4", "result is 77, out of range"),
    "days": ("UPDATE days SET up_s = 'x' WHERE day = (SELECT max(day) FROM days) AND service = 's1'", "not a number"),
    "heat": ("UPDATE heat SET total = -5 WHERE service = 's1'", "total is -5, out of range"),
    "documents": ("UPDATE documents SET value = '{' WHERE name = 'token 1'", "JSON"),
    "outbox": ("UPDATE outbox SET payload = CAST(x'C3' AS TEXT) WHERE number = 3", "payload is not UTF-8"),
    "told": ("UPDATE told SET keys = '5' WHERE instance_id = 'i-1'", "not a list of texts"),
    "meta": ("UPDATE meta SET value = 'many' WHERE name = 'next_id'", "next_id is 'many'"),
}  # fmt: skip


def test_a_damaged_row_of_each_table_is_left_out_reported_and_moved_aside(folder):
    for statement, _ in ROWS.values():
        mutations.change_row(folder, statement)
    result = damage.start(folder)
    assert result.refused is None and result.unread is None and result.tracebacks == []
    health = result.health
    assert health.ok and health.error is None
    assert set(health.damaged_by_table) == set(ROWS)
    n_heat = 20  # all of service s1
    assert health.damaged_by_table == {**dict.fromkeys(ROWS, 1), "heat": n_heat}
    samples = dict(readings(health))
    (by_table,) = [values for metric, values in samples.items() if metric.name == "heartfelt_store_damaged_rows"]
    assert by_table[("instances",)] == 1
    log = "\n".join(result.log)
    assert "a row of table instances is damaged and left out: id 3: service is not UTF-8" in log
    assert log.count("a row of table heat") == 3 and "17 more rows are damaged" in log  # the rate is limited
    with contextlib.closing(sqlite3.connect(folder / damage.NAME)) as connection:
        kept = connection.execute("SELECT name, key, reason, data FROM damaged").fetchall()
        for table, (_, why) in ROWS.items():
            mine = [row for row in kept if row[0] == table]
            assert len(mine) == health.damaged_by_table[table], table
            assert why in mine[0][2], (table, mine[0][2])
    (data,) = [json.loads(row[3]) for row in kept if row[0] == "instances"]
    assert (data["service"], data["instance_id"]) == ({"bytes": "ff41"}, "i-3")  # nothing is lost
    again = damage.start(folder)
    assert not again.reported, again.log


def test_a_page_is_full_though_a_row_of_it_is_left_out(folder):
    mutations.change_row(folder, "UPDATE changes SET old = 'ASLEEP' WHERE seq % 2 = 0")
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock(), retention=damage.KEEP)
    store._damage.found = threading.Event()  # they are not moved aside meanwhile: that may come later
    store.open()
    found = run(store.changes(id=None, service=None, before=None, limit=10))
    store.close()
    highest = found[0].seq
    assert [one.seq for one in found] == list(range(highest, highest - 20, -2))


def test_nothing_more_is_looked_at_in_a_healthy_database(folder, monkeypatch):
    """The rows are converted as they come: no query is repeated, and none is read as bytes."""
    monkeypatch.setattr(shapes.Shape, "_one", None)
    monkeypatch.setattr(shapes, "as_bytes", None)
    assert not damage.start(folder).reported


def test_damaged_pages_make_the_store_not_ok(folder):
    data = bytearray((folder / damage.NAME).read_bytes())
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock())
    saved = store.open()
    assert saved.instances and store.health().ok
    with damage.logged() as log:  # from now on, since the writer may be the first to find it
        with (folder / damage.NAME).open("rb+") as file:  # while it runs: as when a disk goes bad
            for page in range(20, len(data) // 4096):
                file.seek(page * 4096)
                file.write(b"\xa5" * 4096)
        store._readers.close()  # and its cache is empty
        store._readers.open()
        with pytest.raises(StoreError) as caught:
            run(store.events(EventFilter(), before=None, limit=1000))
        for _ in range(3):
            with pytest.raises(StoreError, match="doctor --repair"):
                run(store.events(EventFilter(), before=None, limit=1000))
    health = store.health()
    assert not health.ok and health.damaged
    assert health.error == str(caught.value)  # who is told to look at the health finds the same there
    for words in ("is damaged: database disk image is malformed", "goes on watching", "heartfelt doctor --repair"):
        assert words in health.error
    assert sum("is damaged: database" in line for line in log.lines) == 1
    with damage.logged():
        store.close()


def refused(folder, *words):
    """Opening it is a StoreError with these words, and changes nothing."""
    before = {found.name: found.read_bytes() for found in folder.iterdir() if not found.name.endswith("-shm")}
    with pytest.raises(StoreError) as caught:
        SqliteStore(folder / damage.NAME).open()
    after = {found.name: found.read_bytes() for found in folder.iterdir() if not found.name.endswith("-shm")}
    after.pop("heartfelt.db.lock", None), before.pop("heartfelt.db.lock", None)
    assert after == before
    for word in (*words, "nothing was changed", str(folder / damage.NAME)):
        assert word in str(caught.value)


def test_an_empty_file_where_there_was_a_database(folder, live):
    (folder / damage.NAME).write_bytes(b"")
    refused(folder, "is empty, though a database was used here, with 120 instances", "heartfelt restore FILE")
    (live / damage.NAME).write_bytes(b"")
    (live / "heartfelt.db.state").unlink()
    refused(live, "is empty, though", "heartfelt restore FILE")


def test_a_copy_of_a_database_in_use_without_its_log(live, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(live / damage.NAME, copy)
    refused(copy, "was copied while a monitor used it", "60 instances", "heartfelt backup FILE", "doctor --repair")


def test_a_log_that_is_gone(live):
    (live / "heartfelt.db-wal").unlink()
    refused(live, "its -wal, which has the newest data, is missing", "60 instances", "Put it back")


def test_the_log_of_another_database(folder, live, tmp_path):
    mutations.other_wal(tmp_path, None)
    for one in (folder, live):
        shutil.copy(tmp_path / "heartfelt.db-wal", one)
        refused(one, "do not belong together", "Put back the other one")


def test_a_log_that_another_program_has_merged_is_not_missed(live):
    """As `heartfelt token` does after a crash."""
    connection = sqlite3.connect(live / damage.NAME)
    connection.execute("SELECT count(*) FROM meta").fetchone()
    connection.close()
    assert not (live / "heartfelt.db-wal").exists()
    result = damage.start(live)
    assert not result.reported and len(result.found["instances"]) == 120


@pytest.mark.parametrize("marked", [True, False])
def test_a_kill_while_the_log_was_being_written_into_the_file(live, tmp_path, marked):
    """The file alone cannot be read, and need not be: the log has the pages."""
    whole = damage.start(shutil.copytree(live, tmp_path / "whole")).found
    with contextlib.closing(check.main_file(live / damage.NAME)) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        pages = connection.execute("SELECT name, rootpage FROM sqlite_master WHERE type = 'table'").fetchall()
    logged = mutations.pages_in_log(live / "heartfelt.db-wal")
    torn = {name: page for name, page in pages if page in logged}
    assert {"meta", "instances"} <= torn.keys()
    with (live / damage.NAME).open("r+b") as file:
        for page in torn.values():
            file.seek((page - 1) * page_bytes)
            file.write(bytes(page_bytes))
    assert "id" not in check.meta_of_main_file(live / damage.NAME)
    if not marked:
        (live / "heartfelt.db.state").unlink()
    result = damage.start(live)
    assert result.found == whole
    assert result.health.ok and not any("another database" in line for line in result.log)


def test_a_log_with_damaged_frames(live):
    wal = live / "heartfelt.db-wal"
    data = bytearray(wal.read_bytes())
    data[32 + 24 + 100] ^= 1
    wal.write_bytes(data)
    result = damage.start(live)
    assert not result.health.ok and "transactions of its -wal cannot be read" in result.health.error


def test_a_database_that_was_moved_away_starts_anew_with_a_word(folder):
    (folder / damage.NAME).unlink()
    result = damage.start(folder)
    assert result.found["instances"].total() == 0 and result.health.ok
    assert "is gone: a database with 120 instances was used here" in result.log[0]


def test_an_empty_folder_starts_without_a_word(tmp_path):
    result = damage.start(tmp_path / "new")
    assert not result.reported and result.found["instances"].total() == 0
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / damage.NAME).write_bytes(b"")
    assert "was empty" in damage.start(tmp_path / "empty").log[0]


def test_an_older_copy_is_noticed(folder, tmp_path):
    shutil.copy(folder / damage.NAME, tmp_path / "old.db")
    store = SqliteStore(folder / damage.NAME, wall_ms=Clock(damage.NOON_MS + 10 * damage.MINUTE_MS))
    store.open()
    store.put_change(change(10_000))
    store.close()
    shutil.copy(tmp_path / "old.db", folder / damage.NAME)
    assert any("540.0 s before its end is missing" in line for line in damage.start(folder).log)


def test_a_large_file_that_was_not_closed_cleanly_is_checked_after_the_start(live, monkeypatch):
    monkeypatch.setattr(check, "START_S", -1.0)
    monkeypatch.setattr(check, "_STEPS", 1)
    checked = []
    structure = check.structure

    def look(connection, seconds, **options):
        found = structure(connection, seconds, **options)
        checked.append((options.get("quick", False), found))
        return ["found by the test"] if options.get("quick") else found

    monkeypatch.setattr(check, "structure", look)
    store = SqliteStore(live / damage.NAME, wall_ms=Clock())
    with damage.logged():
        store.open()
        until(lambda: not store.health().ok, "the check")
        assert checked == [(False, None), (True, [])]
        assert "found by the test" in store.health().error
        store.close()


def test_files_of_a_monitor_are_for_its_user_only(tmp_path):
    store = SqliteStore(tmp_path / "data" / "heartfelt.db", wall_ms=Clock())
    store.open()
    store.put_instance(instance(1))
    run(store.flush())
    store.close()
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        for file in (tmp_path / "data").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file


def test_two_names_of_a_file_have_one_lock(folder, tmp_path):
    link = tmp_path / "elsewhere" / "other.db"
    link.parent.mkdir()
    link.symlink_to(folder / damage.NAME)
    (tmp_path / "folder").symlink_to(folder)
    store = SqliteStore(link, wall_ms=Clock())
    store.open()
    for name in (folder / damage.NAME, link, tmp_path / "folder" / damage.NAME):
        with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
            SqliteStore(name).open()
    assert [found.name for found in link.parent.iterdir()] == ["other.db"]
    store.close()


def test_a_disk_that_stays_full_is_logged_once_a_minute(caplog):
    now = [0.0]
    log = OutageLog(logging.getLogger("heartfelt.monitor.store"), "the store x can be written again", lambda: now[0])
    with caplog.at_level(logging.INFO):
        for _ in range(600):  # five minutes, twice a second
            log.failed("disk full")
            now[0] += 0.5
        lines = [record.getMessage() for record in caplog.records]
        assert len(lines) == 5
        assert lines[0] == "disk full"
        assert lines[1] == "disk full (120 times since the last line)"
        log.worked()
        assert caplog.records[-1].getMessage() == "the store x can be written again, after 119 more failures"
        caplog.clear()
        for _ in range(300):  # it comes and goes, once a second
            log.failed("disk full")
            log.worked()
            now[0] += 1
        assert len(caplog.records) <= 2 * 5
        caplog.clear()
        log.worked()
        assert not caplog.records


def test_a_disk_that_is_full_now_and_then_floods_no_log(tmp_path, monkeypatch):
    """Each write that succeeds frees nothing: the next one fails again."""
    store = SqliteStore(tmp_path / damage.NAME, wall_ms=Clock())
    store.open()
    write = store._file.write
    fails = [True]

    def sometimes(batch):
        fails[0] = not fails[0]
        if not fails[0]:
            raise sqlite3.OperationalError("database or disk is full")
        write(batch)

    monkeypatch.setattr(store._file, "write", sometimes)
    with damage.logged() as log:
        for n in range(4):
            store.put_event(event(n))
            until(lambda n=n: store.health().failures > n and store.health().ok, "a failure and a success")
        assert len(log.lines) == 2, log.lines
        assert "free some space" in log.lines[0] and "can be written again" in log.lines[1]
    store.close()


def test_tokens_are_neither_lost_nor_made_in_a_damaged_database(folder, live):
    """`heartfelt token` opens the database as well."""
    mutations.change_row(folder, "UPDATE documents SET value = '{' WHERE name = 'token 1'")
    with damage.logged() as log, Documents(folder / damage.NAME, "token", make=False) as documents:
        assert list(documents.all()) == ["token 0", "token 2", "token 3"]
    assert "a row of table documents is damaged" in log.lines[0]
    (folder / damage.NAME).write_bytes(b"")
    (live / "heartfelt.db-wal").unlink()
    for one, why in ((folder, "is empty, though"), (live, "its -wal, which has the newest data, is missing")):
        with pytest.raises(StoreError, match=why):
            Documents(one / damage.NAME, "token", make=True)
