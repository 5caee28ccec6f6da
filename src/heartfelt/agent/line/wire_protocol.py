# SPDX-License-Identifier: MIT
"""What each transport makes of a beat: Sermant's frames, HTTP requests, datagrams."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from typing import Protocol

from heartfelt._net.connection import Channel
from heartfelt._net.http import post, read_answer
from heartfelt.agent.line.line import Plan
from heartfelt.wire import encode_frame, pack
from heartfelt.wire.frames import HEARTBEAT

__all__ = ["Carrier", "Refused", "Spent", "carrier_for", "socket_kind"]


class Refused(Exception):
    """The backend answered, and did not take it."""


class Spent(OSError):
    """A kept connection was closed by the server before it answered, as it may: to be tried on a new one at once."""


_BROKEN = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)


class Carrier(Protocol):
    """Sends over one channel. Raises OSError (the channel is broken then), Spent, Refused, Closing."""

    keeps: bool
    """Whether the channel can be used again."""

    def beat(self, text: bytes) -> None:
        """Returns once it is sent; of http: answered."""

    def goodbye(self, text: bytes) -> None: ...


class SermantCarrier:
    keeps = True

    def __init__(self, plan: Plan, channel: Channel) -> None:
        self._channel = channel
        self._timeout = plan.write_timeout_s
        self._token = plan.token  # in the first frame of the connection only

    def beat(self, text: bytes) -> None:
        self._send(encode_frame([(HEARTBEAT, pack(text))], token=self._token))

    def goodbye(self, text: bytes) -> None:
        self._send(encode_frame(goodbye=text, token=self._token))

    def _send(self, frame: bytes) -> None:
        self._channel.send(frame, time.monotonic() + self._timeout)
        self._token = None


class HttpCarrier:
    def __init__(self, plan: Plan, channel: Channel) -> None:
        self._plan = plan
        self._channel = channel
        self._used = False
        self.keeps = True

    def beat(self, text: bytes) -> None:
        plan, channel = self._plan, self._channel
        host = plan.server_hostname or plan.host
        request = post(plan.path, host, plan.port, plan.token, pack(text))
        self.keeps = False
        used, self._used = self._used, True
        try:
            channel.send(request, time.monotonic() + plan.write_timeout_s)
            deadline = time.monotonic() + plan.write_timeout_s
            answer = read_answer(lambda: channel.receive(deadline))
        except _BROKEN as error:
            raise (Spent("the server had closed the kept connection") if used else error) from None
        if answer is None:
            text_of = "the server closed the connection without an answer"
            raise Spent(text_of) if used else ConnectionError(text_of)
        self.keeps = answer.keep
        if not 200 <= answer.status < 300:
            raise Refused(f"HTTP {answer.status} {answer.reason}".rstrip())

    goodbye = beat


class UdpCarrier:
    keeps = True

    def __init__(self, plan: Plan, channel: Channel) -> None:
        self._channel = channel
        self._timeout = plan.write_timeout_s
        self._prefix = b"" if plan.token is None else b"Bearer %b\n" % plan.token.encode()

    def beat(self, text: bytes) -> None:
        self._channel.send(self._prefix + pack(text), time.monotonic() + self._timeout)

    goodbye = beat


_CARRIERS: dict[str, Callable[[Plan, Channel], Carrier]] = {
    "sermant": SermantCarrier,
    "http": HttpCarrier,
    "udp": UdpCarrier,
}


def carrier_for(plan: Plan, channel: Channel) -> Carrier:
    """The one for the plan's transport, on a channel that is new."""
    return _CARRIERS[plan.transport](plan, channel)


def socket_kind(plan: Plan) -> socket.SocketKind:
    return socket.SOCK_DGRAM if plan.transport == "udp" else socket.SOCK_STREAM
