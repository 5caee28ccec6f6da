# SPDX-License-Identifier: MIT
"""Two machines with one key, through the sockets of a monitor: told by an event and by webhook, and so is the end."""

from __future__ import annotations

import http.client
import itertools
import socket
import sys

import pytest

from tests.monitor.serving import PATIENCE_S, until
from tests.monitor.test_faults import taking

__all__ = ["taking"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sends from several addresses of the loopback")
FIRST, SECOND = "127.0.0.1", "127.0.0.2"


def ping_from(serving, address, key):
    connection = http.client.HTTPConnection(serving.host, serving.port, timeout=PATIENCE_S, source_address=(address, 0))
    connection.request("GET", f"/ping/{key}")
    assert connection.getresponse().status == 200
    connection.close()


def datagram_from(serving, address, key):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((address, 0))
        sender.sendto(key.encode(), tuple(serving.ready["udp"]))


def events(serving):
    found = serving.json("/api/v1/events", type="ADDRESSES")["events"]
    return [(one["info"]["name"], one["instance_id"], one["level"]) for one in reversed(found)]


@pytest.mark.parametrize("send", [ping_from, datagram_from])
def test_two_senders_of_a_key_are_told_and_so_is_that_one_of_them_stops(serve, taking, send):
    serving = serve(lease_timeout="2 s")
    hook = {"kind": "generic", "url": f"http://127.0.0.1:{taking.server_port}/", "allow_private": True}
    assert serving.post("/api/v1/webhooks", hook).status == 201
    senders = itertools.cycle((FIRST, SECOND))

    def is_told():
        send(serving, next(senders), "backup/db")
        return events(serving)

    until(is_told, "that beats come from two addresses")
    assert events(serving) == [("ADDRESSES_ALTERNATE", "backup/db", "IMPORTANT")]
    assert sorted(serving.find("backup/db")["addresses"]) == [FIRST, SECOND]
    until(lambda: any(b"heartbeats come from 2 addresses: 127.0.0." in body for body in taking.taken), "the message")

    def is_over():
        send(serving, FIRST, "backup/db")
        return len(events(serving)) > 1

    until(is_over, "that one of them stopped")
    assert events(serving)[1:] == [("ADDRESS_STOPPED", "backup/db", "IMPORTANT")]
    found = serving.find("backup/db")
    assert (found["addresses"], found["state"]) == ([], "UP")
    until(lambda: any(f"no heartbeat from {SECOND} for".encode() in body for body in taking.taken), "the message")


def test_a_move_to_another_address_is_not_told(serve):
    serving = serve(lease_timeout="2 s")
    for address in (FIRST, FIRST, SECOND, SECOND, SECOND):
        ping_from(serving, address, "moved")
    for address in (FIRST, SECOND, FIRST):
        ping_from(serving, address, "shared")
    until(lambda: events(serving), "the event of the other key")
    assert {key for _, key, _ in events(serving)} == {"shared"}
    assert serving.find("moved")["peer"] == SECOND
