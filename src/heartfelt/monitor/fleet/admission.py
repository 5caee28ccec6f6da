# SPDX-License-Identifier: MIT
"""Refuses beats without a name, and beats that would make the registry exceed its limits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.fleet.counts import Counts
from heartfelt.monitor.model import Beat, Limits

REASONS = ("service_missing", "instance_missing", "key_size", "meta_size", "instances", "instances_of_client")


class InputRefused(HeartfeltError, ValueError):
    """A beat was refused, or part of it. `reason` is one of `REASONS`, good as a counter's label; `field` names the
    field at fault, if it is one."""

    def __init__(self, reason: str, text: str, field: str | None = None) -> None:
        super().__init__(reason, text)
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        return str(self.args[1])


class Gate:
    """Counts refusals by reason and keeps nothing else, so refusals take no memory however many there are."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.refused: Counter[str] = Counter(dict.fromkeys(REASONS, 0))
        self._encode = msgspec.json.Encoder().encode

    def refusal(self, reason: str, text: str, field: str | None = None) -> InputRefused:
        self.refused[reason] += 1
        return InputRefused(reason, text, field)

    def check_new(self, beat: Beat, counts: Counts) -> None:
        """Checks the first beat of an instance. Raises InputRefused."""
        self.check_name(beat)
        if beat.meta is not None:
            self.check_meta(beat)
        self.check_room(beat.peer, counts)

    def check_name(self, beat: Beat) -> None:
        limits = self.limits
        for what, name, reason in (
            ("service", beat.service, "service_missing"),
            ("instanceId", beat.instance_id, "instance_missing"),
        ):
            if not name:
                raise self.refusal(reason, f"a beat must name its {what}; it was empty", what)
            size = len(name) if name.isascii() else len(name.encode("utf-8", "surrogatepass"))
            if size > limits.key_bytes:
                text = f"{what} has {size} bytes; the limit is {limits.key_bytes} (limits.key_bytes): {name[:40]!r}..."
                raise self.refusal("key_size", text, what)

    def check_room(self, peer: str, counts: Counts) -> None:
        limits = self.limits
        if counts.all.total >= limits.instances:
            text = f"{counts.all.total} instances are known, which is limits.instances; remove some, or raise the limit"
            raise self.refusal("instances", text)
        mine = counts.clients[peer]
        if mine >= limits.instances_of_client:
            text = (
                f"{peer or 'this client'} has {mine} instances, which is the limit for one address "
                "(limits.instances_of_client); remove some, or raise it"
            )
            raise self.refusal("instances_of_client", text)

    def has_room(self, peer: str, counts: Counts) -> bool:
        """Returns whether `check_room` raises nothing, and counts nothing."""
        limits = self.limits
        return counts.all.total < limits.instances and counts.clients[peer] < limits.instances_of_client

    def check_meta(self, beat: Beat) -> None:
        size = self._size(beat.meta)
        if size > self.limits.meta_bytes:
            text = (
                f"the metadata of {beat.service[:40]!r}, {beat.instance_id[:40]!r} has {size} bytes of JSON; "
                f"the limit is {self.limits.meta_bytes} (limits.meta_bytes). The previous metadata is kept"
            )
            raise self.refusal("meta_size", text)

    def _size(self, meta: Any) -> int:
        return len(self._encode(meta))
