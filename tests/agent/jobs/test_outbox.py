# SPDX-License-Identifier: MIT
"""The outbox: order, bounds, and that nothing ends its thread but having nothing to do."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from heartfelt.agent.jobs.outbox import Ping, PingOutbox


class Slow:
    """A client that sends when it is let."""

    def __init__(self):
        self.sent = []
        self.gate = threading.Event()
        self.begun = threading.Event()
        self.error = None

    def ping(self, key, event, text, **_):
        self.begun.set()
        assert self.gate.wait(30)
        self.sent.append((key, event, text))
        if self.error:
            raise self.error
        return True

    def after_fork(self):
        pass


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def make(slow):
    """make(most): a PingOutbox whose thread is held while it sends a first ping."""
    made = []

    def start(most):
        made.append(PingOutbox(slow, most=most))
        made[0].put(ping("first", "start"))
        assert slow.begun.wait(30)
        return made[0]

    yield start
    slow.gate.set()
    assert all(one.flush(30) for one in made)


def ping(key, event=None, text=None, rid=None):
    return Ping(key=key, event=event, text=text, rid=rid or key)


def sent(slow, outbox):
    slow.gate.set()
    assert outbox.flush(30)
    return slow.sent[1:]


def test_order_is_kept(make, slow):
    outbox = make(10)
    for n in range(5):
        outbox.put(ping(str(n), "ok"))
    assert sent(slow, outbox) == [(str(n), "ok", None) for n in range(5)]


def test_of_beats_that_wait_the_last_is_sent_with_the_last_text(make, slow):
    outbox = make(10)
    for one in [ping("a", "start"), ping("a", text="1"), ping("b", text="2"), ping("a", text="3"), ping("a")]:
        outbox.put(one)
    outbox.put(ping("a", "ok"))
    assert outbox.stats().merged == 2
    assert sent(slow, outbox) == [("a", "start", None), ("a", None, "3"), ("b", None, "2"), ("a", "ok", None)]


def test_full_queue_loses_beats_first_then_the_oldest(make, slow, caplog):
    outbox = make(3)
    for one in [ping("a", "start"), ping("a"), ping("b")]:
        outbox.put(one)
    for n in range(4):
        outbox.put(ping(f"new {n}", "ok"))
    assert outbox.stats().dropped == 4
    assert outbox.stats().waiting == 4  # with the one that is being sent
    assert sent(slow, outbox) == [(f"new {n}", "ok", None) for n in (1, 2, 3)]
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_flush_ends_in_time(make):
    assert not make(3).flush(0.01)


def test_client_that_raises_does_not_end_the_thread(make, slow, caplog):
    slow.error = RuntimeError("broken")
    outbox = make(3)
    outbox.put(ping("a", "ok"))
    assert sent(slow, outbox) == [("a", "ok", None)]
    assert caplog.text.count("broken") == 2


def test_thread_ends_when_idle_and_comes_back(slow, monkeypatch, eventually):
    monkeypatch.setattr("heartfelt.agent.jobs.outbox.LINGER_S", 0.001)
    slow.gate.set()
    outbox = PingOutbox(slow)
    for n in range(3):
        outbox.put(ping(str(n), "ok"))
        eventually(lambda: outbox._thread is None)
    assert [key for key, _, _ in slow.sent] == ["0", "1", "2"]


def test_without_a_thread_flush_sends(slow, monkeypatch, caplog):
    def refuse():
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("heartfelt.agent.jobs.outbox.threading.Thread", lambda **_: SimpleNamespace(start=refuse))
    slow.gate.set()
    outbox = PingOutbox(slow)
    outbox.put(ping("a", "start"))
    outbox.put(ping("a", "ok"))
    assert slow.sent == []
    assert outbox.flush(30)
    assert [event for _, event, _ in slow.sent] == ["start", "ok"]
    assert "can't start new thread" in caplog.text


def test_beats_that_were_missed_are_not_made_up_for(slow):
    now = [100.0]
    outbox = PingOutbox(slow, clock=lambda: now[0])
    slow.gate.set()
    outbox._thread = threading.Thread()  # none that takes anything
    outbox.beat_every(10, ping("a"))
    assert outbox._add_due() == 10
    assert outbox.stats().waiting == 0
    now[0] = 135.0
    assert outbox._add_due() == 5
    assert (outbox.stats().waiting, outbox.stats().merged) == (1, 0)
    outbox.stop_beating("a")
    assert outbox._add_due() is None
