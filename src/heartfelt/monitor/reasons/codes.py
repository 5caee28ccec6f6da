# SPDX-License-Identifier: MIT
"""The table of all reasons: each code, with the names and kinds of its arguments.

A reason says why something is as it is: why an instance is LOST, why losses are held, how a job ended. It is stored and
sent as a code with arguments, and becomes a sentence where somebody reads it (catalogue.py). To add one: a line here, a
sentence in en.json and in zh.json, and a function where the decision is made (`fleet/reasons.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

__all__ = ["CODES", "TEXT_CODE", "Arg", "ArgKind"]


class ArgKind(str, Enum):
    """The way an argument is written in a sentence. The panel uses the same names."""

    DURATION = "duration"
    """An integer, ms."""
    TIME = "time"
    """An integer, ms since the epoch."""
    COUNT = "count"
    """An integer, of things that are counted."""
    INTEGER = "integer"
    """An integer that is a name rather than a number of things, such as an exit status."""
    RATE = "rate"
    """A number, per second."""
    SHARE = "share"
    """A number from 0 to 1."""
    TEXT = "text"
    """Words that are not the monitor's own, such as a service's name."""
    REASON = "reason"
    """Another reason."""


class Arg(msgspec.Struct, frozen=True):
    name: str
    kind: ArgKind
    optional: bool = False


def _args(text: str) -> tuple[Arg, ...]:
    """Reads "name:kind name:kind?" where a question mark makes an argument optional."""
    pairs = (one.split(":") for one in text.split())
    return tuple(Arg(name, ArgKind(kind.rstrip("?")), kind.endswith("?")) for name, kind in pairs)


TEXT_CODE = "text"
_LAST = "peer:text? last_beat_ms:time"

CODES: Mapping[str, tuple[Arg, ...]] = MappingProxyType({
    code: _args(args)
    for code, args in (
        # No reason at all, as of a hold when nothing is held.
        ("", ""),
        # A sentence from elsewhere, in whatever language it is: of an agent, a person, or an older version.
        (TEXT_CODE, "text:text"),

        # An instance's state
        ("first_heartbeat", "peer:text? via:text"),
        ("second_heartbeat", "gap_ms:duration"),
        ("heartbeats_again", "outage_ms:duration"),
        ("came_back", "outage_ms:duration"),
        ("alive", ""),
        ("waiting", _LAST),
        ("taken_over", _LAST),
        ("checking", _LAST),
        ("late", f"silent_ms:duration interval_ms:duration timeout_ms:duration {_LAST}"),
        ("late_since_start", f"silent_ms:duration interval_ms:duration timeout_ms:duration {_LAST}"),
        ("lost", f"silent_ms:duration timeout_ms:duration terms:reason? {_LAST}"),
        ("lost_since_start", f"silent_ms:duration timeout_ms:duration terms:reason? reconnect_ms:duration? {_LAST}"),
        # Its `terms`: the parts of the timeout, or that it is too short.
        ("terms_learned", "period_ms:duration grace_ms:duration"),
        ("terms_set", "period_ms:duration grace_ms:duration"),
        ("terms_unknown", "default_ms:duration grace_ms:duration"),
        ("terms_too_short", "period_ms:duration"),
        ("held", "loss:reason why:reason"),
        ("stuck", "lag_ms:duration limit_ms:duration"),
        ("responds_again", "lag_ms:duration"),
        ("goodbye", f"text:text? {_LAST}"),
        ("goodbye_event", f"event:text {_LAST}"),
        ("paused", "by:text? why:text? before:reason?"),
        ("paused_until", "until_ms:time by:text? why:text? before:reason?"),
        ("resumed", "by:text? why:text? now:reason"),
        ("pause_ended", "now:reason"),
        ("expired_lost", f"silent_ms:duration kept_ms:duration {_LAST}"),
        ("expired_left", f"silent_ms:duration kept_ms:duration {_LAST}"),
        ("expired_kept", f"silent_ms:duration joined:text {_LAST}"),
        ("kept_last", "service:text now:reason"),
        ("removed_by_hand", "by:text? text:text?"),
        ("acked", "by:text? why:text? until_ms:time?"),
        ("ack_withdrawn", "by:text? why:text?"),
        ("ack_ended", "by:text? why:text? now:reason"),

        # The addresses that an instance's beats come from
        ("addresses", "count:count addresses:text"),
        ("many_addresses", "count:count addresses:text"),
        ("address_stopped", "address:text silent_ms:duration others:text"),

        # Why losses are held, and how that ended
        ("stalled", "stall_ms:duration"),
        ("clock_jumped", "jump_ms:duration"),
        ("share_of_service", "lost:count total:count service:text window_ms:duration share:share"),
        ("share_of_all", "lost:count total:count window_ms:duration share:share"),
        ("share_of_monitor", "lost:count total:count window_ms:duration share:share"),
        ("many_services", "first:text second:text"),
        ("silence", "silent_ms:duration per_s:rate"),  # of older versions
        ("all_silent", "silent_ms:duration due:count"),
        ("none_back", "known:count"),
        ("none_back_here", "known:count"),
        ("redis_unreachable", ""),
        ("beats_lost", "arrive:share"),
        ("released", "by:text? why:reason"),
        ("hold_expired", "held_ms:duration per_s:rate why:reason"),
        ("hold_began", "until_ms:time? why:reason"),
        ("hold_ended", ""),

        # How a run of a job ended
        ("exit_status", "status:integer duration_ms:duration?"),
        ("run_took", "duration_ms:duration"),

        # An instance that is FAILED because of a run, and the end of that
        ("run_failed", "status:integer? duration_ms:duration? text:text? rid:text?"),
        ("run_too_long", "duration_ms:duration most_ms:duration rid:text?"),
        ("run_too_short", "duration_ms:duration least_ms:duration rid:text?"),
        ("run_overdue", "begin_ms:time? deadline_ms:time rid:text?"),
        ("run_silent", "begin_ms:time? liveness_ms:duration rid:text?"),
        ("succeeded_again", "outage_ms:duration"),
        ("still_failed", "since_ms:time"),

        # Reports of the webhooks about themselves
        ("webhook_refused", "name:text answer:text remedy:text"),
    )
})  # fmt: skip
"""Code -> its arguments, in the order in which a Reason holds their values."""
