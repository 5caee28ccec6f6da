# SPDX-License-Identifier: MIT
"""Both sides prove the secret; what is replayed, reflected, forged or of another version is refused with a reason."""

from __future__ import annotations

import msgspec
import pytest

from heartfelt.errors import ConfigError
from heartfelt.monitor.cluster.channel import handshake
from heartfelt.monitor.cluster.channel.frames import CHALLENGE, HELLO, PROOF, REFUSED, FrameReader
from heartfelt.monitor.cluster.channel.handshake import Dialing, HandshakeRefused, Listening
from tests.monitor.cluster.channels import SECRET, A, B, C

OTHER = b"another secret, of another fleet"


def opened(data):
    reader = FrameReader(1024)
    reader.feed(data)
    kind, _, body = reader.take()
    assert not reader.waiting
    return kind, body


def listening(secret=SECRET, own=B, handled=lambda peer: 0):
    return Listening(lambda: secret, own, handled)


def play(dialing, listener):
    """Carries the frames over; returns them."""
    frames = [dialing.first()]
    for n in range(4):
        answer = (listener if n % 2 == 0 else dialing).receive(*opened(frames[-1]))
        if answer is None:
            break
        frames.append(answer)
    return frames


def changed(data, **fields):
    kind, body = opened(data)
    return kind, msgspec.msgpack.encode({**msgspec.msgpack.decode(body), **fields})


def refused(code, receive, kind, body, *, by_peer=False):
    with pytest.raises(HandshakeRefused) as caught:
        receive(kind, body)
    assert caught.value.code == code
    assert caught.value.by_peer is by_peer
    return str(caught.value)


def test_both_learn_who_the_other_is_and_where_to_go_on():
    dialing, listener = Dialing(SECRET, A, B), listening(handled=lambda peer: 7 if peer == A else 0)
    frames = play(dialing, listener)
    assert len(frames) == 4
    assert listener.peer == A
    assert dialing.handled == 7
    assert not any(SECRET in one for one in frames)


def test_a_stranger_gets_no_proof_of_the_secret():
    dialing, listener = Dialing(OTHER, A, B), listening()
    with pytest.raises(HandshakeRefused, match="does not know the fleet's secret") as caught:
        play(dialing, listener)
    assert caught.value.code == "secret"
    assert listener.peer is None


def test_who_listens_without_the_secret_is_refused():
    dialing, listener = Dialing(SECRET, A, B), listening()
    frames = play(dialing, listener)
    again = Dialing(SECRET, A, B)
    again.receive(*opened(frames[1]))
    refused("secret", again.receive, *opened(frames[3]))


def test_a_replayed_handshake_is_refused():
    frames = play(Dialing(SECRET, A, B), listening())
    listener = listening()
    assert opened(listener.receive(*opened(frames[0])))[0] == CHALLENGE
    refused("secret", listener.receive, *opened(frames[2]))


def test_a_reflected_proof_is_refused():
    """Someone without the secret lets A prove itself to itself: roles and ids differ."""
    dialing = Dialing(SECRET, A, B)
    _, hello = changed(dialing.first())
    nonce = msgspec.msgpack.decode(hello)["nonce"]
    challenge = msgspec.msgpack.encode({"version": 1, "id": B, "nonce": nonce})
    kind, proof = opened(dialing.receive(CHALLENGE, challenge))
    assert kind == PROOF
    refused("secret", dialing.receive, handshake.WELCOME, proof)


@pytest.mark.parametrize("own", [A, B])
def test_a_monitor_does_not_connect_to_itself(own):
    listener = listening(own=A)
    refused("identity", listener.receive, *opened(Dialing(SECRET, A, own).first()))


def test_a_monitor_that_has_taken_over_an_address_is_not_taken_for_its_former_one():
    text = refused("identity", listening(own=C).receive, *opened(Dialing(SECRET, A, B).first()))
    assert C in text
    dialing = Dialing(SECRET, A, B)
    challenge = msgspec.msgpack.encode({"version": 1, "id": C, "nonce": b"n" * 32})
    refused("identity", dialing.receive, CHALLENGE, challenge)


@pytest.mark.parametrize("field", [{"id": "x" * 32}, {"id": A[:31]}, {"nonce": b""}, {"nonce": b"1" * 33}])
def test_odd_identities_are_refused(field):
    refused("malformed", listening().receive, *changed(Dialing(SECRET, A, B).first(), **field))


@pytest.mark.parametrize("altered", [{"id": C}, {"minor": 9}, {"nonce": b"0" * 32}])
def test_what_was_altered_on_the_way_fails(altered):
    dialing, listener = Dialing(SECRET, A, B), listening()
    challenge = listener.receive(*changed(dialing.first(), **altered))
    refused("secret", listener.receive, *opened(dialing.receive(*opened(challenge))))


def test_another_version_is_refused_with_the_reason_on_both_sides():
    dialing = Dialing(SECRET, A, B)
    with pytest.raises(HandshakeRefused) as caught:
        listening().receive(*changed(dialing.first(), version=2, more={"new": [1]}))
    assert caught.value.code == "version"
    kind, body = opened(caught.value.frame())
    assert kind == REFUSED
    text = refused("version", dialing.receive, kind, body, by_peer=True)
    assert "version 1" in text and "version 2" in text
    dialing = Dialing(SECRET, A, B)
    refused("version", dialing.receive, *changed(listening().receive(*opened(dialing.first())), version=3))


def test_fields_of_newer_monitors_are_ignored():
    dialing, listener = Dialing(SECRET, A, B), listening()
    challenge = listener.receive(*changed(dialing.first(), zone="eu"))
    proof = dialing.receive(*changed(challenge, features=["x"]))
    welcome = listener.receive(*changed(proof, also=1))
    assert dialing.receive(*changed(welcome, also=1)) is None


@pytest.mark.parametrize("kind", [PROOF, 77, REFUSED])
def test_steps_come_in_order(kind):
    refused("malformed", listening().receive, kind, b"\x80")


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"\x81\xa7version\xa1x", b"\x91" * 900])
def test_a_hello_that_is_none(body):
    refused("malformed", listening().receive, HELLO, body)


def test_a_short_secret_is_none():
    with pytest.raises(ConfigError, match="at least 16 bytes"):
        handshake.check_secret(b"short")


def test_a_refusal_says_no_more_than_fits():
    dialing = Dialing(SECRET, A, B)
    body = msgspec.msgpack.encode({"code": "x" * 500, "text": "y" * 5000})
    with pytest.raises(HandshakeRefused) as caught:
        dialing.receive(REFUSED, body)
    assert len(str(caught.value)) <= 300
