# SPDX-License-Identifier: MIT
"""The link of `heartfelt top` to a monitor: it reads all, follows, gets lost, and goes on where it was."""

from __future__ import annotations

import threading

import pytest

pytest.importorskip("textual")

from heartfelt.cli import Failed
from heartfelt.cli._client import ApiClient
from heartfelt.cli._top import _jobs, link
from heartfelt.cli._top.link import Answered, Happened, Live, Loaded, Lost, MonitorLink
from tests.cli.fake_monitor import NOW_MS, FakeMonitor, change_of, view_of
from tests.monitor.serving import until


@pytest.fixture
def monitor():
    made = FakeMonitor()
    yield made
    made.close()


class Reader:
    """Keeps what a link tells."""

    def __init__(self, url, **options):
        self.link = MonitorLink(lambda timeout_s: ApiClient(url, timeout_s=timeout_s), jitter_seed=1, **options)
        self.told = []

    def take(self):
        self.told += self.link.take()
        return self.told

    def until(self, kind, count=1):
        def enough():
            found = [one for one in self.take() if isinstance(one, kind)]
            return found if len(found) >= count else None

        return until(enough, f"{count} {kind.__name__}")


@pytest.fixture
def read():
    """read(url): the reader of a link that was started."""
    readers = []

    def start(url):
        readers.append(Reader(url))
        readers[-1].link.start()
        return readers[-1]

    yield start
    for reader in readers:
        reader.link.close()
        assert not any(thread.is_alive() for thread in reader.link._threads)


def test_it_reads_all_in_pages_and_then_what_happened_meanwhile(monitor, read):
    monitor.put(*(view_of(n) for n in range(1, 26)))
    monitor.page = 10
    pages = []

    def before_page():
        pages.append(1)
        if len(pages) == 2:
            monitor.push("change", change_of(1, 3, "LOST"))

    monitor.before_page = before_page
    reader = read(monitor.url)
    reader.until(Happened)
    kinds = [type(one).__name__ for one in reader.told]
    assert kinds == ["Loading", "Loading", "Loaded", "Live", "Happened"]
    loaded = reader.told[2]
    assert [view["id"] for view in loaded.views] == list(range(1, 26))
    assert loaded.offset_ms > 0  # the fake's clock is years ahead
    assert reader.told[-1].data["new"] == "LOST"


def test_after_a_loss_it_goes_on_after_the_last_message_without_reading_all_again(monitor, read):
    reader = read(monitor.url)
    reader.until(Live)
    monitor.push("hold", {"state": "NONE"})
    reader.until(Happened)
    monitor.drop()
    lost = reader.until(Lost)[0]
    assert "ended" in lost.reason
    monitor.push("counts", {"n": 2})  # nobody looks
    reader.until(Happened, 2)
    reader.until(Live, 2)
    assert [one.topic for one in reader.told if isinstance(one, Happened)] == ["hold", "counts"]
    assert sum(isinstance(one, Loaded) for one in reader.told) == 1
    streams = [
        headers for headers, (_, path) in zip(monitor.headers, monitor.asked, strict=True) if path == "/api/v1/stream"
    ]
    assert [headers.get("Last-Event-ID") for headers in streams] == [None, "e-1"]


def test_a_resync_reads_all_again(monitor, read):
    reader = read(monitor.url)
    reader.until(Live)
    monitor.put(view_of(5))
    monitor.push("resync", {"reason": "you did not keep up"})
    assert [len(one.views) for one in reader.until(Loaded, 2)] == [0, 1]


def test_a_monitor_that_comes_back_on_its_port_is_found_again(read, kept_port):
    first = FakeMonitor(kept_port)
    reader = read(first.url)
    reader.until(Live)
    first.close()
    reader.until(Lost)
    second = FakeMonitor(kept_port)
    try:
        reader.until(Live, 2)
    finally:
        second.close()


def test_tries_get_rarer_and_say_why(monitor, read, monkeypatch):
    monkeypatch.setattr(link, "FIRST_WAIT_S", 100)
    monkeypatch.setattr(link, "MOST_WAIT_S", 400)
    waits = []
    reader = Reader(monitor.url)
    wait = reader.link._closed.wait
    monkeypatch.setattr(reader.link._closed, "wait", lambda s: (waits.append(s), wait(0.001))[1])
    monitor.refuse = (401, "this token is not known")
    reader.link.start()
    try:
        reader.until(Lost, 12)
    finally:
        reader.link.close()
    assert all("this token is not known" in one.reason for one in reader.told)
    for n, wanted in enumerate([100, 200, 400, 400, 400]):
        assert wanted / 2 <= waits[n] <= wanted


@pytest.mark.parametrize("path", ["/api/v1/stats", "/api/v1/instances"])
def test_what_is_no_monitor_is_said_and_tried_again(monitor, read, path):
    monitor.nonsense = path
    reader = read(monitor.url)
    assert "cannot understand" in reader.until(Lost)[0].reason
    monitor.nonsense = None
    reader.until(Live)


def test_requests_run_once_at_a_time_and_their_failures_are_answers(monitor, read):
    monitor.put(view_of(1), view_of(2, held=True), view_of(9))
    monitor.page = 1
    reader = read(monitor.url)
    reader.until(Live)
    held, go = threading.Event(), threading.Event()

    def slow(client):
        held.set()
        assert go.wait(60)

    assert reader.link.ask("slow", slow)
    assert held.wait(60)
    assert not reader.link.ask("slow", slow)
    go.set()
    reader.until(Answered)
    for what, job, value in (
        ("newer", _jobs.newer(2), [9, 2]),
        ("held", _jobs.held, {2}),
        ("stats", _jobs.stats, NOW_MS),
        ("detail", _jobs.detail(1, "shop", "shop-1"), 1),
        ("remove", _jobs.remove(1), None),
    ):
        count = sum(isinstance(one, Answered) for one in reader.told)
        assert reader.link.ask(what, job)
        answered = reader.until(Answered, count + 1)[-1]
        assert (answered.what, answered.error) == (what, "")
        got = answered.value
        if what == "newer":
            got = [view["id"] for view in got]
        elif what == "stats":
            got = got[0]["now_ms"]
        elif what == "detail":
            got = got["instance"]["id"]
        assert got == value
    monitor.refuse = (403, "this token does not have scope admin")
    reader.link.ask("pause 1", _jobs.pause(1))
    assert "does not have scope admin" in reader.until(Answered, 7)[-1].error


def test_while_nobody_takes_it_waits(monitor, monkeypatch):
    monkeypatch.setattr(link, "QUEUE", 3)
    reader = Reader(monitor.url)
    reader.link.start()
    try:
        until(lambda: monitor.viewers, "the stream")
        for n in range(50):
            monitor.push("counts", n)
        until(lambda: reader.link._told.full(), "a full queue")
        assert reader.link._told.qsize() == 3
        reader.until(Loaded)
        monitor.push("counts", "last")
        until(lambda: any(isinstance(one, Happened) and one.data == "last" for one in reader.take()), "the last")
    finally:
        reader.link.close()


def test_its_end_does_not_wait_for_a_monitor_that_is_silent(monitor):
    reader = Reader(monitor.url)
    reader.link.start()
    reader.until(Live)
    reader.link.close()
    assert not any(thread.is_alive() for thread in reader.link._threads)
    assert not reader.link.ask("stats", _jobs.stats)
    reader.link.close()  # once more does no harm


def test_its_end_while_a_request_waits(monitor):
    asked, go = threading.Event(), threading.Event()
    monitor.before_page = lambda: (asked.set(), go.wait(60))
    reader = Reader(monitor.url)
    reader.link.start()
    try:
        assert asked.wait(60)
        reader.link.close()
        assert not any(thread.is_alive() for thread in reader.link._threads)
    finally:
        go.set()


def test_a_token_comes_from_the_variable_that_is_named(monitor, monkeypatch):
    monkeypatch.setenv("HEARTFELT_TOKEN", "other")
    monkeypatch.setenv("TOP_TOKEN", "secret ")
    with ApiClient(monitor.url, token_env="TOP_TOKEN") as client:
        client.json("GET", "/api/v1/hold")
    assert monitor.headers[-1]["Authorization"] == "Bearer secret"
    with pytest.raises(Failed, match="NO_TOKEN"):
        ApiClient(monitor.url, token_env="NO_TOKEN")
