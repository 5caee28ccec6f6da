# SPDX-License-Identifier: MIT
"""A database of the schema before goes on working: states, texts, tokens, webhooks and what waits for them."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from pathlib import Path

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.model import ExpectedBy, Hold, HoldState, Level, State
from heartfelt.monitor.reasons import english, make, text_reason
from heartfelt.monitor.store import EventFilter, UptimeDay, WatchedTime, schema
from heartfelt.monitor.store.documents import Documents
from heartfelt.monitor.store.kept import DAY_MS
from heartfelt.monitor.store.sqlite import SqliteStore
from heartfelt.monitor.web.auth import Auth, Scope
from heartfelt.monitor.webhooks import Webhooks
from heartfelt.testing import ManualClock
from tests.browser.target import Target
from tests.monitor.webhooks.parts import until

FILE = Path(__file__).parent / "data" / "schema-1.db"
STOPPED_MS = 1_795_992_792_614
SECRET = "hf_1917784ad377_QTIPMK5YE8-yy_eVJAaU5OVDWEXfnPiYjtmSC2u1Rss"
HELD = (
    "12 of 12 instances of service rack went silent within 5 s "
    "(more than 50%, so their network or the monitor's may be at fault)"
)
NO_BEAT = "no beat for 1.5 s (lease 1.5 s); last beat from 127.0.0.1 at"
INSTANCES = {
    "beats": (State.UP, "second beat, 0.001 s after the first"),
    "new": (State.NEW, "first beat, from 127.0.0.1 by http"),
    "left": (State.LEFT, "said goodbye; last beat from 127.0.0.1 at 22:53:04Z"),
    "paused": (State.PAUSED, "paused until it is resumed"),
    "paused for a while": (State.PAUSED, "paused until 22:53:04Z"),
    "resumed": (State.UP, "resumed; it beats"),
    "stuck": (State.STUCK, "it beats, but its interpreter has not answered for 7200 s (limit 3600 s)"),
    "lost": (State.LOST, f"{NO_BEAT} 22:53:04Z"),
    "back": (State.UP, "beats again, 1.5 s after its last beat"),
    "late": (State.LATE, "no beat for 0.75 s (interval 0.5 s, lease 3600 s); last beat from 127.0.0.1 at 22:53:07Z"),
    "jobs.backup": (State.UP, "second beat, 0 s after the first"),
    "web-1": (State.LOST, f"{NO_BEAT} 22:53:08Z"),
    **{f"rack-{n}": (State.LATE, f"{NO_BEAT} 22:53:09Z; the loss is held: {HELD}") for n in range(12)},
}


def wall_ms():
    return STOPPED_MS + 5000


@pytest.fixture
def path(tmp_path):
    return shutil.copy(FILE, tmp_path / "heartfelt.db")


@pytest.fixture
def store(path):
    one = SqliteStore(path, wall_ms=wall_ms)
    one.saved = one.open()
    yield one
    one.close()


def test_it_is_of_the_schema_before():
    connection = sqlite3.connect(f"{FILE.as_uri()}?mode=ro&immutable=1", uri=True)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,) and schema.VERSION > 1
    connection.close()


def test_instances_changes_and_the_hold_keep_their_texts(store):
    saved = store.saved
    assert {one.instance_id: (one.state, english(one.reason)) for one in saved.instances} == INSTANCES
    assert all(one.reason.code == "text" for one in saved.instances)
    assert (saved.closed_cleanly, saved.next_id, saved.next_seq) == (True, 27, 55)
    assert saved.hold.state is HoldState.HOLDING
    assert (saved.hold.reason, saved.hold.scope, saved.hold.held) == (text_reason(HELD), "rack", 12)
    by_id = {one.instance_id: one for one in saved.instances}
    assert by_id["web-1"].meta == {"appName": "agents", "ip": ["10.0.0.8"]}
    assert by_id["paused for a while"].paused_until_ms == 1_796_079_184_692

    changes = asyncio.run(store.changes(id=None, service=None, before=None, limit=100))
    assert [one.seq for one in changes] == list(range(54, 0, -1))
    last = {one.instance_id: english(one.reason) for one in changes[::-1]}
    assert last["removed"] == "its host was given back; bye" and last["removed too"] == "removed by hand"
    assert last["back"] == INSTANCES["back"][1]
    assert next(one for one in changes if one.seq == 24).outage_ms == 1507


def test_keys_that_beat_by_name_are_expected(store, path):
    by_id = {one.instance_id: one for one in store.saved.instances}
    expected = {name for name, one in by_id.items() if one.expected}
    assert expected == {name for name, one in by_id.items() if one.expected_by is ExpectedBy.KEY} == {"jobs.backup"}


def test_a_file_of_version_2_is_read(path):
    """Version 2 added columns for reasons; and in this file something beat over UDP."""
    connection = sqlite3.connect(path)
    connection.executescript(f"{schema._STEPS[2]}; PRAGMA user_version = 2;")
    rows = (
        (901, "web", "web/1", "LOST", "{}", "udp"),
        (902, "agents", "agent", "LOST", '{"appName":"agents"}', "udp"),
        (903, "shop", "left", "PAUSED", "{}", "http"),
    )
    columns = "since_ms, reason, first_seen_ms, last_beat_ms, peer, reason_code, reason_args"
    names = f"INSERT INTO instances (id, service, instance_id, state, meta, via, {columns})"
    for row in rows:
        connection.execute(f"{names} VALUES (?,?,?,?,?,?, 1, '', 1, 1, '10.0.0.1', 'paused', '{{}}')", row)
    connection.commit()
    connection.close()
    store = SqliteStore(path, wall_ms=wall_ms)
    found = {one.id: one for one in store.open().instances}
    store.close()
    assert {id: (found[id].expected, found[id].expected_by) for id in (901, 902, 903)} == {
        901: (True, ExpectedBy.KEY), 902: (False, ExpectedBy.SERVICE), 903: (False, ExpectedBy.SERVICE),
    }  # fmt: skip
    paused = found[903]
    assert (paused.state, english(paused.reason)) == (State.PAUSED, "paused until resumed")
    assert (paused.before_pause, paused.ack) == (None, None)


@pytest.mark.parametrize(
    ("old", "beats", "before"),
    [
        ("LOST", False, State.LOST), ("LEFT", False, State.LEFT), ("LOST", True, State.UP), ("LEFT", True, State.UP),
        ("UP", False, None), ("LATE", True, None),
    ],
)  # fmt: skip
def test_what_people_were_told_before_a_pause_is_read_from_the_changes(path, old, beats, before):
    connection = sqlite3.connect(path, isolation_level=None)
    (id_,) = connection.execute("SELECT id FROM instances WHERE instance_id = 'paused'").fetchone()
    connection.execute("UPDATE changes SET old = ? WHERE id = ? AND new = 'PAUSED'", (old, id_))
    if beats:
        connection.execute("UPDATE instances SET last_beat_ms = since_ms + 1 WHERE id = ?", (id_,))
    connection.close()
    store = SqliteStore(path, wall_ms=wall_ms)
    found = {one.id: one.before_pause for one in store.open().instances}
    store.close()
    assert found.pop(id_) is before
    assert set(found.values()) == {None}


def test_events_keep_their_words_and_are_found_by_them(store):
    async def run():
        counts = await store.count_events(EventFilter())
        assert counts == {Level.EMERGENCY: 5, Level.IMPORTANT: 3, Level.NORMAL: 51}
        found = await store.events(EventFilter(text="exit status 3, after 5.2 s"), before=None, limit=10)
        assert [one.event.info["text"] for one in found] == ["disk full"]
        found = await store.events(EventFilter(names=("HOLD_BEGAN",)), before=None, limit=10)
        assert [one.event.info["description"] for one in found] == [
            f"losses are held back, until 23:03:11Z at the latest, since {HELD}"
        ]
        (agents,) = await store.events(EventFilter(scopes=("store",)), before=None, limit=10)
        assert agents.event.info == {"name": "SERMANT_START", "description": "the agent has begun"}

    asyncio.run(run())


def test_days_keep_their_figures_and_new_times_are_added(path):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("UPDATE days SET watched_s = 7200, up_s = 3600 WHERE service = 'mail'")
    connection.close()
    store = SqliteStore(path, wall_ms=wall_ms)
    store.open()

    def mail():
        (day,) = asyncio.run(store.uptime(("mail",), 2))
        return day

    assert mail() == UptimeDay(
        service="mail", day="2026-11-29", watched_s=7200, up_s=3600, observed_s=0, available_s=0, losses=2, failures=0
    )
    store.put_uptime({(STOPPED_MS // DAY_MS, "mail"): WatchedTime(2.5, 1.5, 2.0, 1.0)})
    asyncio.run(store.flush())
    day = mail()
    assert (day.watched_s, day.up_s, day.observed_s, day.available_s) == (7202.5, 3601.5, 2.0, 1.0)
    store.close()


def test_the_registry_goes_on_with_it(store):
    clock = ManualClock()
    registry = Registry(clock=clock, wall_ms=wall_ms)
    told = []
    registry.on_hold.append(told.append)
    changes = []
    registry.on_change.append(changes.append)
    registry.on_change.append(store.put_change)
    registry.on_row.append(store.put_instance)
    registry.restore(store.saved)
    assert told == [Hold()]  # a hold ends with the monitor
    late = registry.find("mail", "late")
    registry.renew(late)
    assert (changes[0].seq, changes[0].new, changes[0].reason.code) == (55, State.UP, "heartbeats_again")
    registry.close()

    async def read():
        await store.flush()
        return await store.changes(id=late.id, service=None, before=None, limit=3)

    new, old, _ = asyncio.run(read())
    assert new.reason == changes[0].reason
    assert old.reason == text_reason(INSTANCES["late"][1])


def test_what_was_stored_since_is_there_after_the_next_start(path):
    hold = Hold(state=HoldState.HOLDING, reason=make("stalled", stall_ms=5000), held=3)
    store = SqliteStore(path, wall_ms=wall_ms)
    row = store.open().instances[0]
    row.reason = hold.reason
    store.put_instance(row)
    store.put_hold(hold)
    store.close()
    again = SqliteStore(path, wall_ms=wall_ms)
    saved = again.open()
    assert (saved.hold, saved.instances[0].reason) == (hold, hold.reason)
    assert [one.reason.code for one in saved.instances[1:]] == ["text"] * (len(INSTANCES) - 1)
    again.close()


def test_its_token_lets_in(path, store):
    auth = Auth(store, needed=True, tcp_needed=True, wall_ms=wall_ms)
    asyncio.run(auth.reload())
    assert auth.allows(SECRET, Scope.ADMIN) and not auth.allows(SECRET[:-1], Scope.ADMIN)
    with Documents(path, "token", make=False) as documents:
        assert [one["name"] for one in documents.all().values()] == ["ci"]


def test_what_waited_for_its_webhooks_is_delivered_as_it_was_written(path):
    """To another address: the one in the file was a port of the machine it was made on."""
    with Target() as target:
        connection = sqlite3.connect(path, isolation_level=None)
        for name, text in connection.execute("SELECT name, value FROM documents WHERE kind = 'webhook'").fetchall():
            webhook = json.loads(text) | {"url": target.url}
            connection.execute("UPDATE documents SET value = ? WHERE name = ?", (json.dumps(webhook), name))
        connection.close()
        store = SqliteStore(path, wall_ms=wall_ms)
        store.open()
        webhooks = Webhooks(store, wall_ms=wall_ms)

        async def run():
            await webhooks.start()
            assert {one["name"] for one in webhooks.targets()} == {"taken", "refused"}
            await until(lambda: webhooks.stats()["delivered"] >= 14)
            await webhooks.stop()
            found = await store.deliveries(None, None, 100)
            assert {one.state for one in found} == {"done"} and len(found) == 26

        asyncio.run(run())
        store.close()
    bodies = {body["key"]: body for _, body in target.received}
    assert "原因: no beat for 1.5 s (lease 1.5 s); last beat from 127.0.0.1 at 22:53:08Z" in bodies["change-30"]["text"]
    failed = next(body for body in bodies.values() if body.get("event_name") == "failed")
    assert failed["reason"] == "exit status 3, after 5.2 s: disk full"
    assert "reason_code" not in failed
