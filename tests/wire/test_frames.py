# SPDX-License-Identifier: MIT
"""Sermant's frames: written byte for byte as a Java agent does, read whatever the pieces; and checked by protobuf."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path

import pytest
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from heartfelt.wire import FrameDecoder, FrameError, Message, encode_frame, pack, split_frame, unpack, whole_beat
from heartfelt.wire.frames import EVENT, GOODBYE, HEARTBEAT, TOKEN, VISIBILITY
from tests.wire.protobuf_side import NettyMessage, Ours, ServiceData

VECTOR = bytes.fromhex((Path(__file__).parent / "vectors" / "heartbeat_jdk17.hex").read_text())


def decoded(stream, cuts=(), **limits):
    """All items of a stream that comes in pieces, cut at these places."""
    decoder = FrameDecoder(**limits)
    items = []
    places = [0, *sorted(cuts), len(stream)]
    for begin, end in itertools.pairwise(places):
        items.extend(decoder.feed(stream[begin:end]))
    return items, decoder


def seen(items):
    return [item.reason if isinstance(item, FrameError) else tuple(item) for item in items]


# -- a real agent's frame


def test_a_real_agents_heartbeat():
    (message,), decoder = decoded(VECTOR)
    beat = json.loads(message.data)
    assert message.kind == HEARTBEAT
    assert beat["service"] == "order_service"
    assert beat["instanceId"] == "7814bc2a-2e88-4d94-8096-cbdf3f83b268"
    assert (beat["pluginInfoMap"], beat["dynamicInstall"]) == ({}, False)
    assert decoder.pending == 0


def test_it_is_written_byte_for_byte_the_same():
    parts = split_frame(VECTOR[2:])
    assert encode_frame(parts.service_data) == VECTOR
    assert pack(b"")[:10] == parts.service_data[0][1][:10]  # the header of the gzip, too


def test_an_events_type_is_written_before_its_data():
    assert encode_frame([(EVENT, b"x")]).hex() == "07" + "1205" + "0801" + "120178"
    assert encode_frame([(HEARTBEAT, b"")]).hex() == "02" + "1200"
    assert encode_frame().hex() == "00"


def test_a_whole_beat():
    text = whole_beat(b'{"service":"s"', time_ms=3, last_time_ms=2, lag_ms=1, number=7)
    assert text == b'{"service":"s","heartbeatTime":3,"lastHeartbeatTime":2,"lagMs":1,"beat":7}'


# -- pieces


messages = st.lists(
    st.tuples(st.integers(HEARTBEAT, VISIBILITY), st.binary(max_size=300) | st.just(b"x" * 20_000)), max_size=4
)
frames = st.tuples(messages, st.none() | st.binary(max_size=200), st.none() | st.text(max_size=200))


def encoded(frame):
    parts, goodbye, token = frame
    return encode_frame([(kind, pack(text)) for kind, text in parts], goodbye=goodbye, token=token)


def expected(frame):
    parts, goodbye, token = frame
    told = [] if token is None else [(TOKEN, token.encode())]
    return told + parts + ([] if goodbye is None else [(GOODBYE, goodbye)])


@given(st.lists(frames, max_size=5), st.data())
def test_any_mix_in_any_pieces(mix, data):
    stream = b"".join(map(encoded, mix))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    items, decoder = decoded(stream, cuts)
    assert seen(items) == [message for frame in mix for message in expected(frame)]
    assert decoder.pending == 0


def test_byte_by_byte():
    stream = VECTOR + encode_frame(goodbye=b"{}", token="t") + VECTOR
    items, _ = decoded(stream, range(1, len(stream)))
    assert [item.kind for item in items] == [HEARTBEAT, TOKEN, GOODBYE, HEARTBEAT]


def test_what_was_not_asked_for_comes_before_what_comes_next():
    decoder = FrameDecoder()
    assert next(decoder.feed(VECTOR + encode_frame(goodbye=b"1"))).kind == HEARTBEAT
    assert decoder.pending > 0
    assert [item.data for item in decoder.feed(encode_frame(goodbye=b"2"))] == [b"1", b"2"]


def test_all_kinds_of_buffers():
    for data in (bytearray(VECTOR), memoryview(VECTOR)):
        assert len(list(FrameDecoder().feed(data))) == 1


def test_a_message_is_a_named_tuple():
    assert Message(HEARTBEAT, b"{}") == (0, b"{}")


# -- what is skipped, and what is lost


UNKNOWN = {
    "varint": "1801",
    "fixed64": "19" + "00" * 8,
    "bytes": "1a03616263",
    "group": "1b" + "1801" + "23" + "1a0161" + "24" + "1c",
    "fixed32": "1d" + "00" * 4,
    "a known number of another type": "1001" + "0a0161" + "c53e" + "00" * 4,
    "messageType": "0800" + "0807",
    "a negative varint": "18ffffffffffffffffff01",
}


@pytest.mark.parametrize("what", UNKNOWN)
@pytest.mark.parametrize("where", ["before", "behind", "inside"])
def test_unknown_fields_are_skipped(what, where):
    unknown = bytes.fromhex(UNKNOWN[what])
    body = VECTOR[2:]
    if where == "inside":  # ServiceData has no messageType; its field 1 is the dataType
        if what in ("a known number of another type", "messageType"):
            unknown = bytes.fromhex("0d" + "00" * 4 + "1001")
        inner = body[3:] + unknown
        body = b"\x12" + varint(len(inner)) + inner
    else:
        body = unknown + body if where == "before" else body + unknown
    items, _ = decoded(varint(len(body)) + body)
    assert [item.kind for item in items] == [HEARTBEAT]
    assert Ours.FromString(body).serviceData[0].data


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def framed(hexadecimal):
    body = bytes.fromhex(hexadecimal)
    return varint(len(body)) + body


def test_of_a_single_field_the_last_one_counts():
    one, two = pack(b"1"), pack(b"2")
    inner = b"\x08\x01\x12" + varint(len(one)) + one + b"\x08\x02\x12" + varint(len(two)) + two
    body = b"\x12" + varint(len(inner)) + inner
    assert seen(decoded(varint(len(body)) + body)[0]) == [(2, b"2")]


MALFORMED = {
    "a field number of 0": "0201",
    "wire type 6": "1e",
    "a length beyond the frame": "1205",
    "a length that ends": "1280",
    "an inner length beyond its message": "1202" + "1205" + "0000000000",
    "fixed64 beyond the frame": "1900",
    "fixed32 beyond the frame": "1d00",
    "a varint of 11 bytes": "18" + "ff" * 10 + "01",
    "a group that does not end": "1b1801",
    "the end of another group": "1b24",
    "an end of no group": "1c",
    "groups too deep": "1b" * 200 + "1c" * 200,
    "a field number too large": "f8ffffffff0100",
}


IN_C = api_implementation.Type() == "upb"


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_frame_is_lost_and_the_next_one_is_good(what):
    items, decoder = decoded(framed(MALFORMED[what]) + VECTOR)
    assert seen(items)[0] == "malformed"
    assert not items[0].fatal
    assert items[1].kind == HEARTBEAT
    assert decoder.pending == 0
    if IN_C:
        with pytest.raises(DecodeError):
            Ours.FromString(bytes.fromhex(MALFORMED[what]))


def test_a_bad_message_is_lost_and_those_beside_it_are_good():
    good = pack(b"{}")
    stream = encode_frame([(0, good), (0, good[:-1]), (0, b""), (0, b"no gzip"), (9, good), (-1, good), (0, good)])
    items, _ = decoded(stream)
    assert seen(items) == [(0, b"{}"), "gzip", "gzip", "gzip", "data_type", "data_type", (0, b"{}")]
    assert not any(item.fatal for item in items if isinstance(item, FrameError))


@pytest.mark.parametrize("stream", [b"\xff" * 5, b"\x80\x80\x80\x80\x80\x01"])
def test_a_length_of_more_than_5_bytes_ends_the_stream(stream):
    items, decoder = decoded(VECTOR + stream + VECTOR)
    assert seen(items[1:]) == ["length"]
    assert items[1].fatal
    assert [item.reason for item in decoder.feed(VECTOR)] == ["length"]  # and again, as often as it is fed
    assert decoder.pending == 0


def test_errors_can_be_pickled_and_read():
    error = FrameError("length", "why", True)
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, str(again), again.fatal) == ("length", "why", True)
    assert isinstance(error, ValueError)


# -- limits


def test_limits_are_checked():
    with pytest.raises(ValueError, match="max_frame must be at least 1, not 0"):
        FrameDecoder(max_frame=0)


def test_the_longest_frame():
    body = len(VECTOR) - 2
    assert decoded(VECTOR, max_frame=body)[0][0].kind == HEARTBEAT
    for skip, fatal in ((body - 1, True), (body, False)):
        items, decoder = decoded(VECTOR[:2], max_frame=body - 1, max_skip=skip)  # before it has come
        assert seen(items) == ["frame_limit"]
        assert items[0].fatal is fatal
        assert decoder.pending == 0
    assert seen(decoded(bytes.fromhex("ffffffff0f"))[0]) == ["frame_limit"]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_a_frame_above_the_limit_is_skipped_and_those_behind_it_are_decoded(step):
    large, small = encode_frame(goodbye=bytes(500)), encode_frame(goodbye=b"{}")
    decoder = FrameDecoder(max_frame=100, max_skip=1000)
    stream = small + large + large + small
    items = []
    for at in range(0, len(stream), step):
        items += decoder.feed(stream[at : at + step])
        assert decoder.pending <= max(step, 100)
    assert seen(items) == [seen(items)[0], "frame_limit", "frame_limit", seen(items)[0]]
    assert not any(item.fatal for item in items[1:3])
    assert decoder.skipped == 2 * (len(large) - 2)
    assert decoder.to_skip == decoder.pending == 0
    list(decoder.feed(large[:-1]))
    assert (decoder.to_skip, decoder.pending) == (1, 0)


def test_the_largest_text_of_a_frame_is_of_all_its_messages_together():
    frame = encode_frame([(0, pack(b"x" * 60)), (0, pack(b"x" * 41)), (0, pack(b"x" * 40))])
    assert [item if type(item) is str else item[0] for item in seen(decoded(frame, max_gunzip=100)[0])] == [
        0,
        "gunzip_limit",
        0,
    ]
    assert seen(decoded(frame + VECTOR, max_gunzip=1000)[0])[-1][0] == HEARTBEAT  # each frame has it all


def test_the_most_messages():
    frame = encode_frame([(0, pack(b""))] * 5)
    assert len(decoded(frame, max_messages=5)[0]) == 5
    assert seen(decoded(frame + VECTOR, max_messages=4)[0])[0] == "messages"
    assert len(decoded(frame + VECTOR, max_messages=4)[0]) == 2


# -- google's protobuf


@given(frames)
def test_protobuf_reads_what_we_write(frame):
    stream = encoded(frame)
    body = next(stream[n:] for n in range(1, 6) if varint(len(stream) - n) == stream[:n])
    parts, goodbye, token = frame
    plain = NettyMessage.FromString(body)
    assert [(data.dataType, unpack(data.data, 1 << 20)) for data in plain.serviceData] == parts
    ours = Ours.FromString(body)
    assert (ours.goodbye, ours.token) == (goodbye or b"", (token or "").encode())
    if goodbye != b"" and token != "":  # ours says that there is an empty one; proto3 does not write it
        assert ours.SerializeToString() == body


@given(messages, st.binary(max_size=100), st.binary(max_size=100), st.integers(0, 3))
def test_we_read_what_protobuf_writes(parts, goodbye, token, message_type):
    service_data = [ServiceData(dataType=kind, data=pack(text)) for kind, text in parts]
    body = Ours(messageType=message_type, serviceData=service_data, goodbye=goodbye, token=token).SerializeToString()
    told = seen(decoded(varint(len(body)) + body)[0])
    assert told == [(TOKEN, token)] * bool(token) + parts + [(GOODBYE, goodbye)] * bool(goodbye)


pieces = st.sampled_from(
    [bytes([n]) for n in b"\x00\x01\x02\x03\x05\x08\x09\x0a\x0b\x0c\x0d\x12\x13\x14\x1b\x1c\x7f\x80\xff"]
)


@pytest.mark.skipif(not IN_C, reason="protobuf's reader in Python lets more pass")
@given(st.lists(pieces | st.sampled_from([b"\xc2\x3e", b"\xca\x3e", VECTOR[2:]]) | st.binary(max_size=3)).map(b"".join))
def test_protobuf_refuses_what_we_refuse(body):
    try:
        message = Ours.FromString(body)
        theirs = ([(data.dataType, data.data) for data in message.serviceData], message.goodbye, message.token)
    except DecodeError:
        theirs = None
    try:
        parts = split_frame(body, 1 << 30)
        ours = (parts.service_data, parts.goodbye or b"", parts.token or b"")
    except FrameError as error:
        if str(error) == "a field's number is 0":  # theirs does not look at it within groups it does not know
            return
        ours = None
    assert ours == theirs
