# SPDX-License-Identifier: MIT
"""Pings, as curl and cron send them."""

from __future__ import annotations

import asyncio
import json

import pytest

from heartfelt.monitor.fleet import runs
from heartfelt.monitor.model import Level, Limits
from heartfelt.monitor.reasons import english, read
from heartfelt.testing import ManualClock
from tests.monitor.ingest.world import ingest, request


def run(test, **options):
    async def main():
        async with ingest(http=True, clock=ManualClock(), **options) as world:
            await test(world)

    asyncio.run(main())


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
def test_a_plain_ping_renews_and_reports_nothing(method):
    async def test(world):
        for _ in range(3):
            status, headers, body = await world.call("/ping/backup%2Fnightly", method=method)
            assert (status, headers["content-length"]) == (200, "2")
            assert body == (b"" if method == "HEAD" else b"OK")
        instance = world.find("backup/nightly", "backup")
        assert instance.beats == 3 and instance.via == "ping"
        assert world.events == []

    run(test)


def test_keys():
    async def test(world):
        for path in (
            "/ping/a", "/ping/b/c", "/ping/d/c/d", "/ping/e%2F7/ok", "/ping/%C3%A9", "/ping/startup", "/ping/7",
            "/ping/b%2Fc%2Fok", "/ping/b%2Ffail/OK", "/ping?key=ok", "/ping/a+b", "/ping/a%252Fb", "/ping/a%20b/ok",
            "/ping/f/",
        ):  # fmt: skip
            assert (await world.call(path))[0] == 200, path
        names = {(one.service, one.instance_id) for one in world.registry.instances()}
        assert names == {
            ("a", "a"), ("b", "b/c"), ("d/c", "d/c/d"), ("e", "e/7"), ("é", "é"), ("startup", "startup"), ("7", "7"),
            ("b/c", "b/c/ok"), ("b", "b/fail"), ("ok", "ok"), ("a+b", "a+b"), ("a%2Fb", "a%2Fb"), ("a b", "a b"),
            ("f", "f"),
        }  # fmt: skip

    run(test)


@pytest.mark.parametrize(
    ("word", "name", "level", "renews"),
    [
        ("start", "started", Level.NORMAL, False),
        ("ok", "succeeded", Level.NORMAL, True),
        ("0", "succeeded", Level.NORMAL, True),
        ("00", "succeeded", Level.NORMAL, True),
        ("fail", "failed", Level.EMERGENCY, True),
        ("1", "failed", Level.EMERGENCY, True),
        ("137", "failed", Level.EMERGENCY, True),
        ("-9", "failed", Level.EMERGENCY, True),
    ],
)
def test_what_a_job_tells(word, name, level, renews):
    async def test(world):
        status, _, _ = await world.call(f"/ping/job%2Fx/{word}?rid=r1&duration_ms=1500", "12 files, é".encode())
        assert status == 200
        (event,) = world.events
        assert (event.service, event.instance_id, event.type, event.scope) == ("job", "job/x", "PING", "job")
        assert (event.level, event.info["name"], event.info["rid"]) == (level, name, "r1")
        assert event.info["text"] == "12 files, é"
        assert event.info.get("duration_ms") == (1500 if renews else None)
        assert event.info.get("exit_status") == (int(word) if word.lstrip("-").isdigit() else None)
        ended = f"exit status {word} after 1.5 s" if word in ("1", "137", "-9") else "ran for 1.5 s"
        assert event.info.get("description") == (ended if renews else None)
        reason = read(event.info.get("reason_code"), event.info.get("reason_args"))
        assert (english(reason) if renews else reason) == (ended if renews else None)
        assert world.find("job/x", "job").beats == 1  # a start registers it, too

    run(test)


def test_a_runs_length_is_measured_from_its_start():
    async def test(world):
        await world.call("/ping/j/start?rid=a")
        await world.call("/ping/j/start?rid=b")
        world.clock.advance(1)
        await world.call("/ping/j/ok?rid=a")
        world.clock.advance(0.3)
        await world.call("/ping/j/fail?rid=b")
        await world.call("/ping/j/ok?rid=c")
        assert [event.info.get("duration_ms") for event in world.events] == [None, None, 1000, 1300, None]
        assert world.registry.stats()["runs_open"] == 0

    run(test)


def test_runs_that_are_remembered_are_bounded():
    async def test(world):
        await world.talk([request(f"/ping/j/start?rid={n}", method="GET") for n in range(12)])
        stats = world.registry.stats()
        assert (stats["runs_open"], stats["runs_dropped"]) == (10, 2)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "MOST_OF_ALL", 10)
        run(test)


def test_a_lease_of_its_own():
    async def test(world):
        await world.call("/ping/j?timeout=1h30m")
        assert world.find("j", "j").lease_ms == 5_400_000
        await world.call("/ping/j/ok?timeout_ms=120000")
        assert world.find("j", "j").lease_ms == 120_000
        await world.call("/ping/j")
        assert world.find("j", "j").lease_ms == 120_000

    run(test)


def test_a_long_text_is_cut_and_says_so():
    async def test(world):
        assert (await world.call("/ping/j/fail", b"x" * 5000 + b"\xff"))[0] == 200
        (event,) = world.events
        assert event.info["text"] == "x" * 1000 and event.info["cut_from_bytes"] == 5001
        await world.call("/ping/j/fail", b"\xff\xfe")
        assert world.events[1].info["text"] == "\ufffd\ufffd"

    run(test, limits=Limits(event_bytes=1000))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/ping/", "key"),
        ("/ping/%00", "key"),
        ("/ping/%FF", "key"),
        ("/ping/a%0Ab", "key"),
        ("/ping/" + "k" * 600, "key_size"),
        ("/ping/j?timeout=soon", "field"),
        ("/ping/j?timeout_ms=0", "field"),
        ("/ping/j/ok?duration_ms=-3", "field"),
        ("/ping/j?colour=red", "query"),
        ("/ping/j?rid=" + "r" * 101, "query"),
        ("/ping/j?" + "&".join(f"rid={n}" for n in range(30)), "query"),
        ("/ping/j?rid=" + "r" * 5000, "query"),
    ],
)
def test_what_cannot_be_taken(path, code):
    async def test(world):
        status, _, body = await world.call(path)
        assert (status, json.loads(body)["code"]) == (400, code)
        assert world.refused("http", code) == 1
        assert len(world.registry) == 0 and world.events == []

    run(test)


def test_other_methods():
    async def test(world):
        status, headers, _ = await world.call("/ping/j", method="DELETE")
        assert (status, headers["allow"]) == (405, "GET, HEAD, POST")

    run(test)
