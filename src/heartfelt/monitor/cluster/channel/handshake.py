# SPDX-License-Identifier: MIT
"""The handshake: each side proves that it knows the fleet's secret, without sending it.

    the one that connects                            the one that listens
    HELLO: version, its id, whom it looks for, nonce ->
                                                     <- CHALLENGE: version, its id, nonce
    PROOF: HMAC                                      ->
                                                     <- WELCOME: HMAC, the last batch that it has handled

A proof is HMAC-SHA256, with the secret, over the role, both versions, both ids and both nonces. A nonce is new each
time, so a replayed handshake fails; the roles differ, so a reflected one does. Who listens proves nothing to a
stranger. Either side answers REFUSED with a code and a reason in place of the next step, and closes. A change of
`VERSION` must leave HELLO, CHALLENGE and REFUSED readable: unknown fields are ignored.

The frames that follow are neither signed nor encrypted: who can alter the traffic between monitors needs TLS.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from heartfelt.errors import ConfigError, FrameError
from heartfelt.monitor.cluster.channel.frames import CHALLENGE, HELLO, PROOF, REFUSED, WELCOME, decode, frame
from heartfelt.monitor.config.channel_tls import LEAST_SECRET

VERSION = 1
"""Monitors with another one do not talk to each other."""
MINOR = 0
"""Grows with additions: kinds of frames, fields, requests."""
NONCE_BYTES = 32
_ID = re.compile(r"[0-9a-f]{32}")
_MOST_REASON = 300


class HandshakeRefused(Exception):
    """`code`: "version", "secret", "identity", "malformed" or what a newer monitor says. `by_peer`: it said so."""

    def __init__(self, code: str, text: str, *, by_peer: bool = False) -> None:
        super().__init__(text)
        self.code, self.by_peer = code, by_peer

    def frame(self) -> bytes:
        body = {"code": self.code, "text": str(self), "version": VERSION}
        return frame(REFUSED, body=msgspec.msgpack.encode(body))


class _Hello(msgspec.Struct):
    version: int
    minor: int = 0
    id: str = ""
    to: str = ""
    nonce: bytes = b""


class _Challenge(msgspec.Struct):
    version: int
    minor: int = 0
    id: str = ""
    nonce: bytes = b""


class _Proof(msgspec.Struct):
    proof: bytes


class _Welcome(msgspec.Struct):
    proof: bytes
    handled: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)] = 0


class _Refusal(msgspec.Struct):
    code: str = "unknown"
    text: str = ""
    version: int | None = None


_hello = msgspec.msgpack.Decoder(_Hello)
_challenge = msgspec.msgpack.Decoder(_Challenge)
_proof = msgspec.msgpack.Decoder(_Proof)
_welcome = msgspec.msgpack.Decoder(_Welcome)
_refusal = msgspec.msgpack.Decoder(_Refusal)


def check_secret(secret: bytes) -> bytes:
    """Returns the secret. Raises ConfigError if it is too short."""
    if len(secret) < LEAST_SECRET:
        raise ConfigError(f"the fleet's secret must have at least {LEAST_SECRET} bytes; it has {len(secret)}")
    return secret


def proof_of(secret: bytes, role: str, hello: _Hello, challenge: _Challenge) -> bytes:
    """Returns the proof of one side. role: "dials" or "listens"."""
    parts = (
        f"heartfelt channel {hello.version}.{hello.minor} {challenge.version}.{challenge.minor} {role}".encode(),
        hello.id.encode(),
        challenge.id.encode(),
        hello.nonce,
        challenge.nonce,
    )
    made = hmac.new(secret, digestmod=hashlib.sha256)
    for part in parts:
        made.update(len(part).to_bytes(4, "little") + part)
    return made.digest()


def _expect(kind: int, wanted: int, body: bytes, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    if kind == REFUSED and wanted != HELLO:
        refusal = decode(_refusal, body)
        text = refusal.text[:_MOST_REASON]
        raise HandshakeRefused(refusal.code[:_MOST_REASON], text, by_peer=True)
    if kind != wanted:
        raise HandshakeRefused("malformed", f"a frame of kind {kind}, where kind {wanted} was expected")
    try:
        return decode(decoder, body)
    except FrameError as error:
        raise HandshakeRefused("malformed", str(error)) from None


def _check_version(theirs: int) -> None:
    if theirs != VERSION:
        raise HandshakeRefused(
            "version",
            f"this monitor speaks version {VERSION} of the channel, the other one version {theirs}; "
            "run versions of heartfelt that share one",
        )


def _check_identity(id: str, nonce: bytes, own: str) -> None:
    if not _ID.fullmatch(id) or len(nonce) != NONCE_BYTES:
        raise HandshakeRefused("malformed", "a monitor id has 32 hex digits, a nonce 32 bytes")
    if id == own:
        raise HandshakeRefused("identity", f"the other side says that it is {own}, which is this monitor")


class DialerHandshake:
    """The side that connects. `first` is its first frame; `receive` returns the next one, None at the end.

    own, other: monitor ids; `other` is whom it wants to reach.
    """

    def __init__(self, secret: bytes, own: str, other: str) -> None:
        self._secret = secret
        self._hello = _Hello(VERSION, MINOR, own, other, secrets.token_bytes(NONCE_BYTES))
        self._challenge: _Challenge | None = None
        self.minor = 0
        """The other side's."""
        self.handled = 0
        """The last batch that the other side has handled. 0: it does not remember any."""

    def first(self) -> bytes:
        return frame(HELLO, body=msgspec.msgpack.encode(self._hello))

    def receive(self, kind: int, body: bytes) -> bytes | None:
        """Raises HandshakeRefused, also if the other side has refused."""
        if self._challenge is None:
            challenge = _expect(kind, CHALLENGE, body, _challenge)
            _check_version(challenge.version)
            _check_identity(challenge.id, challenge.nonce, self._hello.id)
            if challenge.id != self._hello.to:
                raise HandshakeRefused("identity", f"looked for {self._hello.to}, found {challenge.id}")
            self._challenge = challenge
            proof = proof_of(self._secret, "dials", self._hello, challenge)
            return frame(PROOF, body=msgspec.msgpack.encode({"proof": proof}))
        welcome = _expect(kind, WELCOME, body, _welcome)
        if not hmac.compare_digest(welcome.proof, proof_of(self._secret, "listens", self._hello, self._challenge)):
            raise HandshakeRefused("secret", "the other side does not know the fleet's secret")
        self.minor, self.handled = self._challenge.minor, welcome.handled
        return None


class ListenerHandshake:
    """The side that listens. `receive` returns the next frame. `peer` is set once the other side is known.

    secret: called when it is needed, so that a new one is used at once. handled: returns the last batch of a monitor
    that was handled; called once the monitor is known, just before it is welcomed.
    """

    def __init__(self, secret: Callable[[], bytes], own: str, handled: Callable[[str], int]) -> None:
        self._secret, self._own, self._handled = secret, own, handled
        self._hello: _Hello | None = None
        self._challenge = _Challenge(VERSION, MINOR, own, secrets.token_bytes(NONCE_BYTES))
        self.peer: str | None = None
        self.minor = 0

    def receive(self, kind: int, body: bytes) -> bytes:
        """Raises HandshakeRefused."""
        if self._hello is None:
            hello = _expect(kind, HELLO, body, _hello)
            _check_version(hello.version)
            _check_identity(hello.id, hello.nonce, self._own)
            if hello.to != self._own:
                raise HandshakeRefused("identity", f"this monitor is {self._own}, not {hello.to[:32]!r}")
            self._hello = hello
            return frame(CHALLENGE, body=msgspec.msgpack.encode(self._challenge))
        given = _expect(kind, PROOF, body, _proof).proof
        secret = self._secret()
        if not hmac.compare_digest(given, proof_of(secret, "dials", self._hello, self._challenge)):
            raise HandshakeRefused("secret", "the other side does not know the fleet's secret")
        self.peer, self.minor = self._hello.id, self._hello.minor
        proof = proof_of(secret, "listens", self._hello, self._challenge)
        welcome = {"proof": proof, "handled": self._handled(self.peer)}
        return frame(WELCOME, body=msgspec.msgpack.encode(welcome))
