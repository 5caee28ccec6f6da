# SPDX-License-Identifier: MIT
"""A line on the core's sender: a native thread sends the beats, whatever the interpreter is doing.

Python passes the beat's head to the sender, compressed; the sender adds what changes with each beat, without the GIL.
"""

from __future__ import annotations

import os
import threading
import time
import zlib

from heartfelt import _sender
from heartfelt._net.http import request_head
from heartfelt._net.resolver import literal
from heartfelt._net.url import bracketed
from heartfelt.agent.line.line import LineStats, Plan
from heartfelt.agent.line.names import Named, native_addresses
from heartfelt.agent.line.wire_protocol import beat_headers, socket_kind
from heartfelt.wire import pack

__all__ = ["NativeLine"]

_NS = 1_000_000_000


def _ns(seconds: float) -> int:
    return max(1, round(min(seconds, 3e9) * _NS))


def _preamble(plan: Plan) -> bytes:
    """Makes what precedes a beat. http: the request's head up to its length; udp: the token; sermant: the token."""
    if plan.transport == "udp":
        return b"" if plan.token is None else f"Bearer {plan.token}\n".encode()
    if plan.transport == "sermant":
        return (plan.token or "").encode()
    return request_head("POST", plan.path, plan.host, plan.port, beat_headers(plan)) + b"Content-Length: "


class NativeLine:
    """Implements Line. Raises ValueError for a plan with TLS, which the native sender does not support.

    `close` may be called by several threads: the first one closes the line, the others wait for it.
    """

    def __init__(self, plan: Plan) -> None:
        if plan.tls is not None:
            raise ValueError("the native sender does not support TLS; open_line uses a Python thread for such a plan")
        self._plan = plan
        kind = socket_kind(plan)
        addresses = literal(plan.host, plan.port, kind)
        seed = int.from_bytes(os.urandom(8), "little") if plan.jitter_seed is None else plan.jitter_seed
        self._line = _sender.SenderLine(
            _sender.TRANSPORTS[plan.transport],
            _preamble(plan),
            addresses is None,
            _ns(plan.interval_s),
            _ns(plan.connect_timeout_s),
            _ns(plan.write_timeout_s),
            _ns(plan.first_reconnect_s),
            _ns(plan.most_reconnect_s),
            seed % (1 << 64),
        )
        self._named: Named | None = None
        if addresses is None:
            self._named = Named(self._line, plan.host, plan.port, kind)
        else:
            self._line.set_addresses(native_addresses(addresses))
        self._closing = threading.Lock()
        self._goodbye_sent: bool | None = None  # None until the line is closed

    def start(self) -> None:
        """Starts to beat. Raises RuntimeError if it is closed or no thread can be started, and MemoryError."""
        if self._named is not None:
            self._named.attend()
        self._line.start()

    def set_head(self, head: bytes) -> None:
        """See Line. Raises ValueError if it does not begin a JSON object with a field, or is too long."""
        if not head.startswith(b"{") or len(head) < 2:
            raise ValueError(f"a head must be a JSON object with a field, without its closing brace; got {head[:40]!r}")
        squeeze = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
        deflated = squeeze.compress(head) + squeeze.flush(zlib.Z_SYNC_FLUSH)
        self._line.set_head(deflated, zlib.crc32(head), len(head))

    def refreshed(self) -> None:
        self._line.refreshed()

    def beat_now(self) -> None:
        self._line.beat_now()

    def close(self, goodbye: bytes | None, wait_s: float) -> bool:
        """Sends the goodbye, if there is one and the backend can be reached, and ends; blocks for at most `wait_s`."""
        until = time.monotonic() + wait_s
        if not self._closing.acquire(timeout=max(wait_s, 0)):
            return False
        try:
            if self._goodbye_sent is None:
                if self._named is not None:
                    self._named.leave()
                payload = goodbye
                if goodbye is not None and self._plan.transport != "sermant":
                    payload = pack(goodbye)
                left_s = max(until - time.monotonic(), 0)
                self._goodbye_sent = self._line.close(payload, _ns(left_s))
            return self._goodbye_sent
        finally:
            self._closing.release()

    def abandon(self) -> None:
        """Closes the line in a forked child, where the sender has closed its descriptors already."""
        self._closing = threading.Lock()
        self._goodbye_sent = False
        self._line.abandon()

    def stats(self) -> LineStats:
        state, beats, missed, refused, connects, failures, stage, code, wait_ns, late_ns = self._line.stats()
        return LineStats(
            sender="native",
            state=state,
            beats=beats,
            missed=missed,
            refused=refused,
            connects=connects,
            failures=failures,
            last_error=self._error_text(stage, code),
            reconnect_s=wait_ns / _NS,
            max_late_ms=late_ns / 1e6,
        )

    def _error_text(self, stage: str, code: int) -> str | None:
        plan = self._plan
        why = os.strerror(code) if code else ""
        where = f"{bracketed(plan.host)}:{plan.port}"
        if stage == "resolve":
            why = (self._named.error if self._named is not None else None) or "it has no address"
        texts = {
            "nothing": None,
            "resolve": f"cannot find the host {plan.host!r}: {why}",
            "connect": f"cannot connect to {where}: {why}",
            "connect_time": f"cannot connect to {where} within {plan.connect_timeout_s:g} s",
            "write": f"cannot write to {where}: {why}",
            "write_time": f"{where} did not accept a beat within {plan.write_timeout_s:g} s",
            "read": f"lost the connection to {where}: {why}",
            "peer_closed": f"{where} closed the connection",
            "answer": f"{where} did not send a valid HTTP answer",
            "answer_time": f"{where} did not answer within {plan.write_timeout_s:g} s",
            "status": f"{where} answered {code}",
        }
        return texts[stage]
