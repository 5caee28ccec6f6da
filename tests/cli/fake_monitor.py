# SPDX-License-Identifier: MIT
"""A monitor that does as a test tells it: its answers are this object's fields, its stream sends what is pushed."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

NOW_MS = 1_800_000_000_000
END = object()


def view_of(id_, service="shop", state="UP", **fields):
    """An instance, as /api/v1/instances tells it."""
    return {
        "id": id_, "service": service, "instance_id": f"{service}-{id_}", "state": state, "held": False,
        "since_ms": NOW_MS, "reason": "as the test has it", "first_seen_ms": NOW_MS, "last_beat_ms": NOW_MS,
        "app": "app", "host": f"host-{id_}", "ips": [f"10.0.0.{id_ % 250}"], "version": "1.0", "artifact": None,
        "process_id": None, "dynamic_install": None, "plugins": {}, "external_agents": {}, "via": "http",
        "peer": "127.0.0.1", "interval_ms": 1000, "lease_ms": 10_000, "skew_ms": 0, "lag_ms": 0, "beats": 3,
        "paused_until_ms": None, "ack": None, "expected": False, "period_ms": None, "grace_ms": None,
        "lease_source": "beat", "addresses": [],
    } | fields  # fmt: skip


def change_of(seq, id_, new, old="UP", service="shop", **fields):
    return {
        "seq": seq, "time_ms": NOW_MS + seq, "id": id_, "service": service, "instance_id": f"{service}-{id_}",
        "old": old, "new": new, "level": "EMERGENCY" if new == "LOST" else "NORMAL", "reason": f"now {new}",
        "outage_ms": None, "ip": "10.0.0.1",
    } | fields  # fmt: skip


class FakeMonitor:
    """`refuse`: a status and a detail for everything, or for `refused_path` alone. `nonsense`: a path that answers with
    what nobody expects."""

    def __init__(self, port=0):
        self.views = {}
        self.hold = {"state": "NONE", "reason": "", "scope": "", "held": 0, "since_ms": None, "until_ms": None}
        self.events = []
        self.runs = []
        self.changes = []
        self.page = 1000
        self.refuse = None
        self.refused_path = None
        self.nonsense = None
        self.before_page = None
        self.asked = []
        self.headers = []
        self._streams = []
        self._number = 0
        self._kept = []
        handler = type("Handler", (_Handler,), {"monitor": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        self._server.daemon_threads = False
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def put(self, *views):
        self.views |= {view["id"]: view for view in views}

    def push(self, topic, data):
        self._number += 1
        message = (f"e-{self._number}", topic, data)
        self._kept.append(message)
        for stream in list(self._streams):
            stream.put(message)

    def drop(self):
        """Ends all streams."""
        for stream in list(self._streams):
            stream.put(END)

    @property
    def viewers(self):
        return len(self._streams)

    def counts(self):
        states = {}
        for view in self.views.values():
            state = "LOST" if view["held"] else view["state"]
            states[state] = states.get(state, 0) + 1
        held = sum(view["held"] for view in self.views.values())
        return {"total": len(self.views), "up": len(self.views), "held": held, "states": states}

    def close(self):
        self.drop()
        self._server.shutdown()
        self._thread.join()
        self.drop()
        self._server.server_close()

    # -- answers

    def answer(self, method, path, query):
        if path == "/api/v1/stats":
            return {"now_ms": NOW_MS, "parts": {"registry": {"beats_per_s": 12.0}}}
        if path == "/api/v1/instances":
            if self.before_page:
                self.before_page()
            sign = -1 if query.get("sort") == ["-id"] else 1
            wanted = sorted(self.views.values(), key=lambda view: sign * view["id"])
            if query.get("held") == ["true"]:
                wanted = [view for view in wanted if view["held"]]
            begin = int(query.get("cursor", ["0"])[0])
            end = begin + self.page
            cursor = str(end) if end < len(wanted) else None
            return {"instances": wanted[begin:end], "matched": len(wanted), "cursor": cursor, "stream_id": "e-0"}
        if path == "/api/v1/services":
            return {"all": self.counts(), "applications": 1, "services": {"shop": self.counts()}}
        if path == "/api/v1/hold":
            return self.hold
        if path == "/api/v1/hold/release":
            return self.hold
        if path == "/api/v1/events":
            return {"events": self.events, "before": None}
        if path.startswith("/api/v1/instances/"):
            id_ = int(path.split("/")[4])
            if path.endswith("/runs"):
                return {"runs": self.runs, "before": None}
            if method == "DELETE":
                return None
            instance = self.views[id_] | {"meta": {}, "gaps": [[1.0, False], [4.0, True]]}
            return {"instance": instance, "changes": self.changes}
        raise AssertionError(path)

    def first_messages(self, last_id):
        """For a stream that opens."""
        epoch, _, number = (last_id or "").partition("-")
        if epoch != "e":
            return [(f"e-{self._number}", "resync", {"reason": "welcome", "epoch": "e", "seq": self._number})]
        return [message for message in self._kept if int(message[0].partition("-")[2]) > int(number)]

    def stream(self, last_id):
        messages = queue.Queue()
        for message in self.first_messages(last_id):
            messages.put(message)
        self._streams.append(messages)
        try:
            while (message := messages.get()) is not END:
                yield message
        finally:
            self._streams.remove(messages)


class _Handler(BaseHTTPRequestHandler):
    monitor: FakeMonitor
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def _serve(self):
        monitor = self.monitor
        parts = urlsplit(self.path)
        monitor.asked.append((self.command, parts.path))
        monitor.headers.append(dict(self.headers))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if monitor.refuse and monitor.refused_path in (None, parts.path):
            status, detail = monitor.refuse
            self._send(status, json.dumps({"detail": detail}).encode())
        elif parts.path == monitor.nonsense:
            self._send(200, b'{"all": 3}')
        elif parts.path == "/api/v1/stream":
            self._stream()
        else:
            found = monitor.answer(self.command, parts.path, parse_qs(parts.query))
            self._send(200, b"" if found is None else json.dumps(found).encode())

    do_GET = do_POST = do_DELETE = _serve  # noqa: N815

    def _send(self, status, body):
        with contextlib.suppress(OSError):  # who asked may have gone
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

    def _stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"retry: 2000\n\n")
        try:
            for id_, topic, data in self.monitor.stream(self.headers.get("Last-Event-ID")):
                self.wfile.write(f"id: {id_}\nevent: {topic}\ndata: {json.dumps(data)}\n\n".encode())
        except OSError:
            pass  # the viewer has gone
