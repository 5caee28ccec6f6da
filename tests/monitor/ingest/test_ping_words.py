# SPDX-License-Identifier: MIT
"""Words after the key of a ping, its query, and the refusals, which say what to write instead."""

from __future__ import annotations

import asyncio
import json

import pytest

from heartfelt.monitor.model import RunResult, State
from heartfelt.testing import ManualClock
from tests.monitor.ingest.world import ingest


def run(test):
    async def main():
        async with ingest(http=True, clock=ManualClock()) as world:
            world.runs = {}
            world.registry.on_run.append(lambda run: world.runs.__setitem__(run.number, run))
            await test(world)

    asyncio.run(main())


def keys(world):
    return {one.instance_id for one in world.registry.instances()}


def names(world):
    return [event.info["name"] for event in world.events]


async def refused(world, path, code, *remedies, status=400, body=b""):
    before = keys(world), len(world.events), world.refused("http", code)
    got, _, text = await world.call(path, body)
    problem = json.loads(text)
    assert (got, problem["code"]) == (status, code), (path, problem)
    for remedy in remedies:
        assert remedy in problem["detail"], problem
    assert (keys(world), len(world.events), world.refused("http", code) - 1) == before


@pytest.mark.parametrize("path", ["/ping/k/fail/", "/ping/k/FAIL", "/ping/k/Fail/", "/ping/k/f%61il", "/ping/k%2F"])
def test_a_slash_at_the_end_means_nothing_and_words_may_have_capitals(path):
    async def test(world):
        await world.call("/ping/k/ok")
        assert (await world.call(path))[0] == 200
        assert keys(world) == ({"k", "k/"} if path == "/ping/k%2F" else {"k"})
        assert (world.find("k", "k").state is State.FAILED) == (path != "/ping/k%2F")

    run(test)


def test_log_keeps_a_text_and_neither_renews_nor_registers():
    async def test(world):
        assert (await world.call("/ping/k/log", b"starting soon"))[0] == 200
        assert keys(world) == set() and world.events[0].info == {"name": "logged", "text": "starting soon"}
        await world.call("/ping/k/ok")
        await world.call("/ping/k/LOG?rid=r", b"half done")
        assert world.find("k", "k").beats == 1
        assert world.events[-1].info == {"name": "logged", "rid": "r", "text": "half done"}
        await refused(world, "/ping/k/log?timeout=5m", "query", "leave out durations")

    run(test)


@pytest.mark.parametrize(
    ("path", "remedies"),
    [
        ("/ping/k%20/ok", ("'k '", "leave the blank out")),
        ("/ping/%20k", ("' k'",)),
        ("/ping/k/ok%20", ("'ok '",)),
        ("/ping/k/%09fail", ("leave the blank out",)),
        ("/ping/a%20/b", ("'a '",)),
        ("/ping?key=k%20&event=ok", ("'k '",)),
        ("/ping?key=k+", ("'k '",)),
    ],
)
def test_blanks_at_the_ends_are_refused(path, remedies):
    async def test(world):
        await world.call("/ping/k/ok")
        await refused(world, path, "key", *remedies)

    run(test)


@pytest.mark.parametrize(
    ("path", "word", "new_key"),
    [
        ("/ping/k/failed", "'failed'", "/ping/k%2Ffailed"),
        ("/ping/k/stop", "'stop'", "/ping/k%2Fstop"),
        ("/ping/k/1.5", "'1.5'", "/ping/k%2F1.5"),
        ("/ping/k/ok1", "'ok1'", "/ping/k%2Fok1"),
        ("/ping/k/+1", "'+1'", "/ping/k%2F+1"),
        ("/ping/k/x/y", "'x/y'", "/ping/k%2Fx%2Fy"),
        ("/ping/k/%6Fk%2F", "'ok/'", "/ping/k%2Fok%2F"),
    ],
)
@pytest.mark.parametrize("more", ["", "?rid=r", "/"])
def test_an_unknown_word_after_a_known_key_is_refused(path, word, new_key, more):
    async def test(world):
        await world.call("/ping/k/ok")
        remedies = word, "start", "fail", new_key
        await refused(world, path + more, "word", *remedies, status=404)
        await refused(world, path + more, "word", *remedies, status=404, body=b"text")
        assert (await world.call(new_key))[0] == 200  # the remedy is one
        if more != "?rid=r":
            assert (await world.call(path + more))[0] == 200  # and then the whole is known

    run(test)


def test_what_is_below_an_unknown_key_joins():
    async def test(world):
        for path in ("/ping/web/a", "/ping/web/b", "/ping/web/b", "/ping/x/y/z/ok", "/ping/x/y2/z/ok"):
            assert (await world.call(path))[0] == 200, path
        assert keys(world) == {"web/a", "web/b", "x/y/z", "x/y2/z"}

    run(test)


@pytest.mark.parametrize("path", ["/ping/k/fail/now", "/ping/k/OK/fail", "/ping/new/start/x", "/ping/k/log/ok"])
def test_a_word_in_the_middle_is_refused(path):
    async def test(world):
        await world.call("/ping/k/ok")
        await refused(world, path, "key", "follows a key", "/ping?key=", "%2F")

    run(test)


@pytest.mark.parametrize(
    "path", ["/ping/ok", "/ping/FAIL", "/ping/start/", "/ping/log", "/ping/ok/ok", "/ping/fail?rid=r"]
)
def test_a_word_without_a_key_is_refused_unless_it_is_known_as_one(path):
    async def test(world):
        await refused(world, path, "key", "follows a key", "/ping?key=")
        name = path.split("/")[2].partition("?")[0]
        assert (await world.call(f"/ping?key={name}"))[0] == 200
        assert (await world.call(path))[0] == 200
        assert keys(world) == {name}

    run(test)


@pytest.mark.parametrize(
    "path", ["/ping", "/ping/", "/ping//", "/ping//ok", "/ping/k//", "/ping/k//ok", "/ping//k", "/ping?event=ok"]
)
def test_empty_keys_and_parts_are_refused(path):
    async def test(world):
        await refused(world, path, "key")

    run(test)


@pytest.mark.parametrize("path", ["/ping/%00/ok", "/ping/k%00", "/ping?key=a%00b", "/ping/k%0A/ok", "/ping/%FF/fail"])
def test_control_characters_and_what_is_not_text_are_refused(path):
    async def test(world):
        await refused(world, path, "key")

    run(test)


def test_what_is_too_long_is_refused():
    async def test(world):
        await refused(world, "/ping/" + "k" * 513 + "/ok", "key_size")
        await refused(world, "/ping?event=ok&key=" + "k" * 513, "key_size")
        await refused(world, "/ping/" + "k/" * 4000 + "k", "key_size")

    run(test)


# -- exit statuses


def test_a_number_is_an_exit_status_unless_the_whole_is_a_known_key():
    async def test(world):
        world.send(b"svc/1")
        await world.until(lambda: world.find("svc/1", "svc"))
        await world.call("/ping/svc/1")
        assert keys(world) == {"svc/1"} and world.find("svc/1", "svc").state is State.UP and names(world) == []
        await world.call("/ping/svc?exit=2")
        assert world.find("svc", "svc").state is State.FAILED
        await refused(world, "/ping/svc/1", "key", "/ping/svc%2F1", "exit=1", "/ping/svc ")
        await world.call("/ping/svc?exit=1")
        assert [one.status for one in world.runs.values()] == [2, 1]
        await world.call("/ping/svc%2F1")
        assert world.find("svc/1", "svc").beats == 3

    run(test)


def test_a_number_is_no_exit_status_where_it_may_be_one_more_key():
    async def test(world):
        world.send(b"svc/1", b"a/b/2", b"c/x3")
        await world.until(lambda: len(world.registry) == 3)
        await refused(
            world, "/ping/svc/2", "key", "'svc/2' may be a new key", "/ping/svc%2F2", "?exit=2 after /ping/svc "
        )
        await refused(world, "/ping/a/b/0/", "key", "/ping/a%2Fb%2F0")
        await world.call("/ping/a/3")  # there is no such key as a/1
        await world.call("/ping/c/3")
        assert world.find("a", "a").state is world.find("c", "c").state is State.FAILED
        await world.call("/ping/svc%2F2")
        await world.call("/ping/svc/2")
        assert world.find("svc/2", "svc").beats == 2
        await world.call("/ping/svc/fail")
        await world.call("/ping/svc/3")  # a job's failure is never refused because of others' keys
        assert [one.status for one in world.runs.values()] == [3, 3, None, 3]
        for key in ("svc/1", "svc/2", "svc"):
            assert world.registry.remove(world.find(key, "svc").id)
        await world.call("/ping/svc/4")
        assert world.find("svc", "svc").state is State.FAILED

    run(test)


def test_a_key_that_beats_and_is_no_job_does_not_take_the_number():
    async def test(world):
        world.send(b"svc", b"svc/1")
        await world.until(lambda: len(world.registry) == 2)
        await world.call("/ping/svc/1")
        assert {one.instance_id: one.beats for one in world.registry.instances()} == {"svc": 1, "svc/1": 2}

    run(test)


@pytest.mark.parametrize("more", ["duration_ms=5", "event=exit", "rid=r&duration_ms=5"])
def test_an_end_that_says_so_is_one_whatever_is_known(more):
    async def test(world):
        world.send(b"svc/1")
        await world.until(lambda: world.find("svc/1", "svc"))
        await world.call(f"/ping/svc/1?{more}")
        assert world.find("svc", "svc").state is State.FAILED and world.find("svc/1", "svc").beats == 1
        await refused(world, "/ping/svc?event=exit", "query", "exit=3")
        await refused(world, "/ping?key=svc&event=exit", "query", "exit=3")
        await refused(world, "/ping/fail/1", "key", "follows a key")
        await refused(world, "/ping?key=&exit=1", "key", "write /ping?key=KEY")

    run(test)


# -- the query


@pytest.mark.parametrize(
    ("query", "name", "result", "status"),
    [
        ("event=ok", "succeeded", RunResult.OK, None),
        ("event=FAIL", "failed", RunResult.FAILED, None),
        ("event=start", "started", RunResult.RUNNING, None),
        ("exit=0", "succeeded", RunResult.OK, 0),
        ("exit=7", "failed", RunResult.FAILED, 7),
        ("exit=-9", "failed", RunResult.FAILED, -9),
    ],
)
@pytest.mark.parametrize("form", ["/ping?key=web%2Fdb%2Fok&", "/ping/?key=web/db/ok&", "/ping/web%2Fdb%2Fok?"])
def test_the_query_says_all_that_the_path_can(form, query, name, result, status):
    async def test(world):
        assert (await world.call(f"{form}{query}&rid=r"))[0] == 200
        assert keys(world) <= {"web/db/ok"} and names(world) == [name]
        (run,) = world.runs.values()
        assert (run.result, run.status, run.rid) == (result, status, "r")

    run(test)


def test_a_plain_beat_by_the_query():
    async def test(world):
        for _ in range(2):
            await world.call("/ping?key=a/b")
        assert world.find("a/b", "a").state is State.UP

    run(test)


@pytest.mark.parametrize(
    ("path", "code", "remedy"),
    [
        ("/ping/a?key=b", "query", "leave one out"),
        ("/ping/a/ok?event=fail", "query", "leave one out"),
        ("/ping/a?event=ok&exit=1", "query", "leave one out"),
        ("/ping/a?event=done", "query", "start"),
        ("/ping/a?exit=", "query", "0 or 3"),
        ("/ping/a?exit=1x", "query", "0 or 3"),
        ("/ping?key=", "key", "missing"),
        ("/ping?key=a&key=b", "query", "twice"),
        ("/ping?key=a&timeout=5&timeout_ms=5000", "query", "leave one out"),
        ("/ping?key=a&every=0", "field", "every"),
        ("/ping?key=a&max_duration=1m&min_duration=1h", "field", "swap"),
        ("/ping?key=%FF", "query", "cannot be read"),
        ("/ping?colour=red", "query", "colour"),
    ],
)
def test_queries_that_contradict_themselves_or_say_nothing_are_refused(path, code, remedy):
    async def test(world):
        await refused(world, path, code, remedy)

    run(test)


def test_terms_reach_the_instance():
    async def test(world):
        await world.call("/ping/a/start?every=1d&grace=2h&max_duration=1h&min_duration_ms=500&timeout=5m")
        one = world.find("a", "a")
        assert (one.every_ms, one.grace_ms, one.max_duration_ms, one.min_duration_ms) == (
            86_400_000, 7_200_000, 3_600_000, 500,
        )  # fmt: skip
        assert one.timeout_ms is None and world.runs[1].deadline_ms - world.runs[1].begin_ms == 300_000
        await world.call("/ping/a?rid=r&timeout=7m")
        assert one.timeout_ms is None
        await world.call("/ping/a?timeout=9m")
        assert one.timeout_ms == 540_000

    run(test)


def test_other_paths_that_begin_like_it_are_not_served():
    async def test(world):
        assert [world.http.serves(path) for path in ("/ping", "/ping/", "/ping/a", "/pings", "/pin", "/ping.txt")] == [
            True, True, True, False, False, False,
        ]  # fmt: skip

    run(test)
