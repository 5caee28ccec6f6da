# SPDX-License-Identifier: MIT
"""The planned end of a Sermant agent is told as such, and to nobody as a loss."""

from __future__ import annotations

import socket
import time

from tests.monitor.serving import PATIENCE_S, until
from tests.sermant_frames import STOPPED, beat, event, events, frame, recorded


def send(serving, *frames):
    """Sends the frames on a connection that ends at once, as that of a process that ends."""
    with socket.create_connection(serving.ready["tcp"], PATIENCE_S) as connection:
        connection.sendall(b"".join(frames))


def state_of(serving, instance_id):
    found = serving.find(instance_id)
    return found and found["state"]


def test_a_stop_is_a_goodbye_and_no_emergency(serve):
    serving = serve(lease_timeout="1 s")
    send(serving, recorded("heartbeat_external_agent"))
    until(lambda: state_of(serving, STOPPED), "its first heartbeat")
    send(serving, recorded("events_stop"))  # on a connection without a heartbeat
    until(lambda: state_of(serving, STOPPED) == "LEFT", "its goodbye")
    found = serving.find(STOPPED)
    assert (found["reason_code"], found["reason_args"]["event"]) == ("goodbye_event", "SERMANT_STOP")
    assert "SERMANT_STOP" in found["reason"]
    started = serving.json("/api/v1/stats")["uptime_s"]
    until(lambda: serving.json("/api/v1/stats")["uptime_s"] > started + 1.5, "the end of its timeout")
    changes = serving.json(f"/api/v1/instances/{found['id']}/changes")["changes"]
    assert [(one["new"], one["level"]) for one in changes] == [("LEFT", "NORMAL"), ("NEW", "NORMAL")]
    assert serving.json("/api/v1/events/counts") == {"EMERGENCY": 0, "IMPORTANT": 0, "NORMAL": 4}


def test_in_one_frame_and_across_a_restart_of_the_monitor(serve, tmp_path):
    now_ms = time.time_ns() // 1_000_000
    serving = serve(data=tmp_path / "data")
    stop = events("at once", event(now_ms + 1, "SERMANT_SERVICE_STOP"), event(now_ms + 1, "SERMANT_STOP"))
    send(serving, frame(beat("shop", "at once", now_ms), beat("shop", "later", now_ms), stop))
    until(lambda: state_of(serving, "at once") == "LEFT", "the goodbye in the frame of the first heartbeat")
    assert state_of(serving, "later") == "NEW"
    assert serving.stop() == 0
    serving = serve(data=tmp_path / "data")
    send(serving, frame(events("later", event(now_ms + 2, "SERMANT_STOP"))))
    until(lambda: state_of(serving, "later") == "LEFT", "the goodbye to a monitor that has had no heartbeat yet")


def test_an_old_stop_ends_nothing_and_a_heartbeat_after_one_is_a_return(serve):
    now_ms = time.time_ns() // 1_000_000
    serving = serve()
    old = events("i", event(now_ms - 240_000, "SERMANT_STOP"))
    send(serving, frame(beat("shop", "i", now_ms - 3000), beat("shop", "i", now_ms), old))
    until(lambda: serving.json("/api/v1/events", name="SERMANT_STOP")["events"], "the old event")
    assert state_of(serving, "i") == "UP"
    new = events("i", event(now_ms + 1, "SERMANT_STOP"))
    send(serving, frame(new, beat("shop", "i", now_ms)))  # it was overtaken on the way
    until(lambda: serving.json("/api/v1/stats")["parts"]["intake"]["beats_outdated"] == 1, "the overtaken heartbeat")
    assert state_of(serving, "i") == "LEFT"
    send(serving, frame(beat("shop", "i", now_ms + 3000)))
    until(lambda: state_of(serving, "i") == "UP", "its return")
