# SPDX-License-Identifier: MIT
"""Frames as Sermant's agents send them: those that real agents wrote, and ones that a test makes up."""

from __future__ import annotations

import json

from heartfelt.wire import encode_frame, pack
from heartfelt.wire.frames import EVENT, HEARTBEAT
from tests import ROOT

VECTORS = ROOT / "tests" / "wire" / "vectors"
ORDERS = "84950363-1dc2-45b7-ad77-291aebb4c31b"
"""The instance of heartbeat_plugins_ext_info and events_start."""
STOPPED = "fc47f2b2-deaf-44dd-943d-2df7b1a2891d"
"""The instance of heartbeat_external_agent and events_stop."""
STOPPED_MS = 1_795_984_571_270


def recorded(name):
    """The frame in vectors/NAME.hex."""
    return bytes.fromhex((VECTORS / f"{name}.hex").read_text())


def message(fields):
    return pack(json.dumps(fields).encode())


def beat(service, instance_id, at_ms, **fields):
    """A message of a heartbeat, whose fields are in the order of the alphabet, as Sermant's agents write them."""
    given = {"service": service, "instanceId": instance_id, "heartbeatTime": at_ms, "version": "2.2.0", **fields}
    text = json.dumps(dict(sorted(given.items())), separators=(",", ":"))
    return HEARTBEAT, pack(text.encode())


def event(at_ms, name="TEST", **fields):
    """One event, for `events`."""
    given = {"scope": "framework", "eventLevel": "NORMAL", "eventType": "OPERATION", "logInfo": None}
    return {"time": at_ms, "eventInfo": {"name": name, "description": f"{name} at {at_ms}"}, **given, **fields}


def log(at_ms, level="WARNING"):
    """One event of a log, for `events`."""
    info = {"logLevel": level, "logMessage": f"a log at {at_ms}", "logClass": "a.B", "logMethod": "c"}
    return event(at_ms, eventType="LOG", scope=None, eventInfo=None, logInfo=info)


def events(instance_id, *some):
    """A message of events."""
    return EVENT, message({"metaHash": instance_id, "events": some})


def frame(*messages):
    return encode_frame(messages)
