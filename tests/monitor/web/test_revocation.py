# SPDX-License-Identifier: MIT
"""A token that is revoked stops working on what is open already: connections of agents, and streams."""

from __future__ import annotations

import contextlib
import json
import socket

import pytest

from heartfelt.wire import encode_frame, pack
from heartfelt.wire.frames import HEARTBEAT
from tests.monitor.serving import PATIENCE_S, run_command, stream_events, until


def frame(instance_id, token=None):
    beat = {"service": "shop", "instanceId": instance_id, "intervalMs": 600_000}
    return encode_frame([(HEARTBEAT, pack(json.dumps(beat).encode()))], token=token)


class Agent:
    """A connection to the TCP port; the token goes with its first frame."""

    def __init__(self, serving, instance_id, token=None):
        self._id = instance_id
        self.socket = socket.create_connection(serving.ready["tcp"], timeout=PATIENCE_S)
        self.socket.sendall(frame(instance_id, token))

    def beat(self):
        self.socket.sendall(frame(self._id))

    def wait_closed(self):
        with contextlib.suppress(ConnectionError):
            assert self.socket.recv(1) == b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def secured(serve, tmp_path):
    """A monitor that asks for tokens, and an administrator's."""
    made = run_command("token", "create", "admin", "--scope", "admin", "--data", tmp_path / "data")
    return serve(auth_require="always"), made.stdout.strip()


def revoke(serving, admin, secret, by):
    id_ = secret.split("_")[1]
    if by == "api":
        assert serving.request("DELETE", f"/api/v1/tokens/{id_}", token=admin).status == 204
    else:
        done = run_command("token", "revoke", id_, "--data", serving.data)
        assert done.returncode == 0, done.stderr


def make_token(serving, admin, *scopes):
    return serving.post("/api/v1/tokens", {"name": "t", "scopes": scopes}, token=admin).json["token"]


@pytest.mark.parametrize("by", ["api", "command"])
def test_what_came_in_by_a_revoked_token_is_closed_and_nothing_else(secured, by):
    serving, admin = secured
    gone, kept = make_token(serving, admin, "ingest", "read"), make_token(serving, admin, "ingest", "read")

    def stats(part):
        return serving.json("/api/v1/stats", token=admin)["parts"][part]

    def beats(instance_id):
        found = serving.find(instance_id, token=admin)
        return found["beats"] if found else 0

    watching, stream = serving.open_stream(token=gone)
    other, other_stream = serving.open_stream(token=kept, topics=["change"])
    with Agent(serving, "gone", gone) as agent, Agent(serving, "kept", kept) as good:
        until(lambda: beats("gone") and beats("kept"), "the first beats")
        revoke(serving, admin, gone, by)
        agent.wait_closed()
        assert stream.read().startswith(b"retry")  # to its end
        good.beat()
        until(lambda: beats("kept") == 2, "the other's beat")
        assert stats("tcp")["token_revoked"] == 1
        assert stats("stream")["token_revoked"] == 1
        assert stats("stream")["viewers"] == 1
        # It comes back: held unread, as with any wrong token, not closed at once.
        with Agent(serving, "gone", gone) as again:
            until(lambda: stats("tcp").get("unauthorised") == 1, "the refusal")
            assert stats("tcp")["connections_held"] == 1
            again.socket.settimeout(0)
            with pytest.raises(BlockingIOError):
                again.socket.recv(1)
        assert beats("gone") == 1
    assert serving.get("/api/v1/stream", token=gone).status == 401
    assert [one[1] for one in stream_events(other_stream, 3)] == ["resync", "change", "change"]
    watching.close()
    other.close()
    assert serving.stop() == 0
    assert "TCP: token revoked: 1 connections" in serving.log
    assert "token revoked: 1 streams" in serving.log
    assert gone not in serving.log


def test_where_agents_need_no_token_over_tcp_none_is_closed(serve, tmp_path):
    made = run_command("token", "create", "admin", "--scope", "admin", "--data", tmp_path / "data")
    admin = made.stdout.strip()
    serving = serve(auth_require="always", auth_tcp="false")
    gone = make_token(serving, admin, "ingest")
    with Agent(serving, "one", gone) as agent:
        until(lambda: serving.find("one", token=admin), "the first beat")
        revoke(serving, admin, gone, "api")
        agent.beat()
        until(lambda: serving.find("one", token=admin)["beats"] == 2, "the second beat")


def test_a_request_that_is_refused_counts_once(secured):
    serving, admin = secured
    before = serving.json("/api/v1/stats", token=admin)["parts"]["auth"]["refused"]
    assert serving.get("/api/v1/services", token="hf_000000000000_" + "x" * 43).status == 401
    assert serving.get("/api/v1/tokens", token=make_token(serving, admin, "read")).status == 403
    assert serving.json("/api/v1/stats", token=admin)["parts"]["auth"]["refused"] == before + 2
