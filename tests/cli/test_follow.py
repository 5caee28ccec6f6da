# SPDX-License-Identifier: MIT
"""`heartfelt events --follow` at the seam between what was and what comes: nothing is left out, nothing shown twice."""

from __future__ import annotations

import json

from heartfelt.__main__ import main


def event(n, **more):
    given = {"time_ms": n, "received_ms": n, "service": "s", "instance_id": "i", "ip": "", "scope": "x"}
    return {**given, "level": "NORMAL", "type": "LOG", "info": {"name": f"event-{n}"}, **more}


def change(seq):
    given = {"time_ms": seq, "id": 1, "service": "s", "instance_id": "i", "old": "UP", "new": "LOST", "ip": ""}
    return {**given, "seq": seq, "level": "EMERGENCY", "reason": f"reason-{seq}", "outage_ms": None}


def state_event(seq):
    info = {"name": "INSTANCE_LOST", "description": f"reason-{seq}", "old": "UP", "new": "LOST", "seq": seq, "id": 1}
    return event(seq, level="EMERGENCY", type="STATE", scope="monitor", info=info)


class Monitor:
    """Events come, one by one, as soon as they can be in the list, in the stream, or in both."""

    def __init__(self):
        self.stored, self.streamed, self.following = [], [], False

    def happen(self, topic, streamed, stored):
        self.stored.append({"number": len(self.stored), **stored})
        if self.following:
            self.streamed.append((None, topic, streamed))

    def __call__(self, url, **options):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def stream(self, path, query):
        self.following = True
        self.happen("event", event(2), event(2))
        self.happen("event", event(2), event(2))  # twice the same
        self.happen("change", change(3), state_event(3))
        self.happen("event", event(0, received_ms=9), event(0, received_ms=9))  # late: it is not in the list
        return self._messages()

    gap = False

    def _messages(self):
        yield None, "resync", {"reason": "welcome"}
        yield from self.streamed
        if self.gap:
            self.following = False
            self.happen("event", event(7), event(7))  # not in the stream, which says so
            self.following, self.streamed = True, []
            yield None, "resync", {"reason": "a monitor has left the fleet"}
            yield from list(self.streamed)
            yield None, "event", event(8)

    def json(self, method, path, query):
        in_order = sorted(self.stored, key=lambda one: (min(one["time_ms"], one["received_ms"]), one["number"]))
        listed = {"events": in_order[::-1][: query["limit"]]}
        self.happen("event", event(2), event(2))  # and once more, after it was listed
        self.happen("change", change(4), state_event(4))
        return listed


def test_each_event_is_shown_once(monkeypatch, capsys):
    monitor = Monitor()
    monkeypatch.setattr("heartfelt.cli._client.ApiClient", monitor)
    monitor.happen("event", event(1), event(1))
    assert main(["events", "--follow", "--json", "--limit", "4", "--url", "http://127.0.0.1:1"]) == 1
    captured = capsys.readouterr()
    shown = [json.loads(line) for line in captured.out.splitlines()]
    names = [one["info"].get("description") or one["info"]["name"] for one in shown]
    assert names == ["event-1", "event-2", "event-2", "reason-3", "event-0", "event-2", "reason-4"]
    assert "ended the stream" in captured.err


def test_what_is_missing_in_the_stream_is_listed(monkeypatch, capsys):
    monitor = Monitor()
    monitor.gap = True
    monkeypatch.setattr("heartfelt.cli._client.ApiClient", monitor)
    assert main(["events", "--follow", "--json", "--url", "http://127.0.0.1:1"]) == 1
    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    names = [one["info"].get("description") or one["info"]["name"] for one in shown]
    assert names[:7] == ["event-0", "event-2", "event-2", "reason-3", "event-2", "reason-4", "event-7"]
    assert names[7:] == ["event-2", "reason-4", "event-8"], "what happened once more, when it was listed again"
