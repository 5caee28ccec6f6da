# SPDX-License-Identifier: MIT
"""Makes inputs that are kept, or forwarded to other monitors."""

from __future__ import annotations

import msgspec

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.owners import Raw, RawKind
from heartfelt.monitor.model import Beat

__all__ = ["BY_KEY", "beat_raw", "informed", "plain_raw", "text_raw"]

BY_KEY = frozenset(("ping", "udp"))
"""Ways of those that name their instance by a key."""
_encode = msgspec.msgpack.Encoder().encode


def beat_raw(beat: Beat) -> Raw:
    """Makes an input of a beat that needs no text."""
    return Raw(
        kind=RawKind.BEAT,
        service=beat.service,
        instance_id=beat.instance_id,
        data=_encode(beat),
        via=beat.via,
        peer=beat.peer,
        repeats=not beat.goodbye,
        joins=not beat.goodbye,
    )


def plain_raw(instance: Instance) -> Raw:
    """Makes an input of a plain beat of an instance, which joins nowhere."""
    by_key = instance.via in BY_KEY
    beat = Beat(service=instance.service, instance_id=instance.instance_id, via=instance.via, peer=instance.peer,
                by_key=by_key)  # fmt: skip
    raw = beat_raw(beat)
    raw.joins = False
    return raw


def text_raw(text: bytes, beat: Beat) -> Raw:
    """Makes an input of a heartbeat's JSON, which was decoded to `beat`."""
    return Raw(
        kind=RawKind.TEXT,
        service=beat.service,
        instance_id=beat.instance_id,
        data=text,
        via=beat.via,
        peer=beat.peer,
        repeats=True,
    )


def informed(raws: list[Raw], key: str, is_known: bool) -> list[Raw]:
    """Tells pings whether the fleet has a key."""
    for raw in raws:
        if raw.kind is RawKind.PING:
            raw.facts = {**raw.facts, key: is_known}
    return raws
