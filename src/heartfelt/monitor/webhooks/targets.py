# SPDX-License-Identifier: MIT
"""Webhook targets: address, kind and filter, and the checks of the fields that a user writes."""

from __future__ import annotations

import contextlib
import fnmatch
import re
import secrets
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any

import msgspec

from heartfelt.monitor.model import DOWN, TOLD_TYPES, AgentEvent, Change, Level, State
from heartfelt.monitor.problems import FieldError, field_at_fault
from heartfelt.monitor.webhooks.guard import check_url, mask_url
from heartfelt.monitor.webhooks.template import TemplateError, check_template

__all__ = [
    "ENDS",
    "SETTABLE",
    "Filter",
    "Kind",
    "Language",
    "Target",
    "TargetError",
    "defaults",
    "is_other",
    "is_recovery",
    "levels_from",
    "make_target",
    "masked",
    "updated_target",
    "with_levels",
]

MAX_TARGETS = 200
STATE_TYPE = "STATE"
_MASK = "***"
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPE = re.compile(r"\*|[A-Z][A-Z0-9_]{0,63}")
ENDS = DOWN | {State.LEFT}
"""States that a recovery ends."""
_MAX_URL, _MAX_SECRET, _MAX_NAME, _MAX_GLOBS, _MAX_GLOB = 2048, 1024, 200, 100, 200


def levels_from(lowest: Level) -> tuple[Level, ...]:
    """Returns a level and those more urgent."""
    levels = tuple(Level)
    return levels[: levels.index(lowest) + 1]


class TargetError(FieldError):
    """A field of a webhook cannot have this value."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(field, f"{field}: {text}")


class Kind(str, Enum):
    GENERIC = "generic"
    DINGTALK = "dingtalk"
    FEISHU = "feishu"
    SLACK = "slack"


class Language(str, Enum):
    ENGLISH = "en"
    CHINESE = "zh"


class Filter(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Selects what a target is sent. Fields are ANDed, values within a field ORed; an empty field matches everything.

    The defaults are here and nowhere else. A recovery is sent if the target was told of the loss before it (told.py):
    whatever its level, and if UP is among the states.
    """

    states: tuple[State, ...] = (State.LOST, State.FAILED, State.STUCK, State.UP)
    """New states. UP is sent after a state that is selected too, or after an outage, but not for every start."""
    services: tuple[str, ...] = ()
    """Service names with `*`, `?` and `[...]` as in file names; case matters."""
    levels: tuple[Level, ...] = ()
    """A loss or failure of level NORMAL is of an instance that is paused or acknowledged. It is sent only if NORMAL is
    named here."""
    event_types: tuple[str, ...] = (STATE_TYPE,)
    """STATE: changes of state; includes HOLD, the beginning and end of holds, and ADDRESSES, beats of one instance from
    several addresses. Others are types of events, such as OPERATION; "*" is all."""


class Target(msgspec.Struct, kw_only=True, frozen=True):
    """A webhook. `secret` and `url` are confidential: show `masked()` only."""

    id: str
    name: str
    """Shown to people; left out: the kind."""
    kind: Kind
    url: str
    """The address that is called. Answers show no more than its host, as the rest may be a secret."""
    secret: str | None = None
    """generic: signs messages; DingTalk, Feishu: the robot's signing secret; Slack has none."""
    enabled: bool = True
    """false: it is sent nothing."""
    filter: Filter = msgspec.field(default_factory=Filter)
    """Selects what it is sent; given as a whole, also in a change."""
    template: str | None = None
    """generic only: the body, JSON with $title, $text, $service and the like between quotes."""
    allow_private: bool = False
    """Whether the address may be in a private network or on this machine."""
    language: Language = Language.ENGLISH
    """The language of its messages."""
    created_ms: int = 0
    changed_ms: int = 0
    generation: str = ""
    """Differs for a target that is deleted and created again under the same id: it gets none of the old messages."""

    def __repr__(self) -> str:  # it may end up in a log, so it has no secret in it
        return f"Target(id={self.id!r}, name={self.name!r}, kind={self.kind.value!r}, url={mask_url(self.url)!r})"

    def wants_change(self, change: Change, recovery: bool) -> bool:
        """recovery: it ends an outage that this target was told of."""
        which = self.filter
        if not _fits_type(which, STATE_TYPE) or not _fits_service(which, change.service):
            return False
        if not recovery and change.new in DOWN and change.level is Level.NORMAL and Level.NORMAL not in which.levels:
            return False
        return _fits_states(which.states, change, recovery) and (recovery or _fits_level(which, change.level))

    def wants_event(self, event: AgentEvent) -> bool:
        which = self.filter
        if event.type == STATE_TYPE or not _fits_service(which, event.service):
            return False
        if event.type in TOLD_TYPES:  # a target that gets losses gets these, too
            wanted = _fits_type(which, event.type) or _fits_type(which, STATE_TYPE)
            return wanted and (_fits_level(which, Level.EMERGENCY) or _fits_level(which, event.level))
        return _fits_type(which, event.type) and _fits_level(which, event.level)


def is_recovery(change: Change) -> bool:
    """Tells whether an outage ends by this change alone. It may also end by more, as STUCK, LATE, UP (told.py)."""
    return change.new is State.UP and (change.old in DOWN or change.outage_ms is not None)


def _fits_states(states: tuple[State, ...], change: Change, recovery: bool) -> bool:
    if not states:
        return True
    if recovery:
        return State.UP in states or change.new in states
    if change.new is State.UP:
        return State.UP in states and change.old in states and change.old is not State.NEW
    return change.new in states


def _fits_type(which: Filter, type_: str) -> bool:
    return not which.event_types or type_ in which.event_types or "*" in which.event_types


def _fits_level(which: Filter, level: Level) -> bool:
    return not which.levels or level in which.levels


def _fits_service(which: Filter, service: str) -> bool:
    return not which.services or any(_matcher(glob)(service) is not None for glob in which.services)


@lru_cache(maxsize=4096)
def _matcher(glob: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(fnmatch.translate(glob)).match


SETTABLE = frozenset({"name", "kind", "url", "secret", "enabled", "filter", "template", "allow_private", "language"})
"""The fields that a user writes."""


def make_target(fields: Mapping[str, Any], *, now_ms: int, id: str | None = None, private: bool = False) -> Target:
    """Makes a target of a user's fields. `private`: all targets may call private addresses. Raises TargetError."""
    _known(fields)
    for needed in ("kind", "url"):
        if not fields.get(needed):
            raise TargetError(needed, "is missing")
    if id is not None and _ID.fullmatch(id) is None:
        raise TargetError("id", f"must have 1 to 64 of the characters A-Z a-z 0-9 _ -; got {id!r}")
    given = {"name": str(fields.get("kind")), **fields}
    own = {"id": id or secrets.token_hex(8), "created_ms": now_ms, "changed_ms": now_ms}
    return _checked({**given, **own, "generation": secrets.token_hex(4)}, private=private)


def updated_target(old: Target, fields: Mapping[str, Any], *, now_ms: int, private: bool = False) -> Target:
    """Returns `old` with new fields. A masked url or secret, as `masked()` shows it, keeps the present one.

    Another host does not inherit the secret: whoever changes the address must not get the monitor to sign messages for
    it, or to send it what the old address was trusted with.
    """
    _known(fields)
    new = {**msgspec.to_builtins(old), **fields, "changed_ms": now_ms}
    if new["url"] == mask_url(old.url):
        new["url"] = old.url
    inherits = fields.get("secret", _MASK) == _MASK
    if inherits:
        new["secret"] = old.secret
    if inherits and old.secret and _host(new["url"]) != _host(old.url):
        raise TargetError("secret", "must be given again with an address on another host")
    return _checked(new, private=private)


def is_other(documents: Mapping[str, Any], targets: Mapping[str, Target]) -> bool:
    """Returns whether documents are of other targets than these. One that cannot be read is left out."""
    found: dict[str, Target] = {}
    for id, document in documents.items():
        with contextlib.suppress(msgspec.ValidationError):
            found[id] = msgspec.convert(document, Target)
    return found != dict(targets)


def masked(target: Target) -> dict[str, Any]:
    """Returns a target for API answers: without its secret, and without the path of its address, which may be a key."""
    shown: dict[str, Any] = msgspec.to_builtins(target)
    shown["url"] = mask_url(target.url)
    shown["secret"] = None if target.secret is None else _MASK
    del shown["generation"]
    return shown


def defaults(levels: tuple[Level, ...]) -> dict[str, Any]:
    """Returns the fields that a new target may omit, with their defaults. levels: those of `webhooks.level`."""
    fresh = Target(id="", name="", kind=Kind.GENERIC, url="", filter=Filter(levels=levels))
    shown: dict[str, Any] = msgspec.to_builtins(fresh)
    return {name: shown[name] for name in sorted(SETTABLE - {"name", "kind", "url"})}


def with_levels(fields: Mapping[str, Any], levels: tuple[Level, ...]) -> Mapping[str, Any]:
    """Returns a user's fields with these levels, if they have a filter that names none."""
    given = fields.get("filter")
    if not isinstance(given, Mapping) or not levels:
        return fields
    return {**fields, "filter": {"levels": [level.value for level in levels], **given}}


def _known(fields: Mapping[str, Any]) -> None:
    unknown = sorted(str(name) for name in fields if name not in SETTABLE)
    if unknown:
        raise TargetError(unknown[0], f"is not a field of a webhook; known are {', '.join(sorted(SETTABLE))}")


def _host(url: Any) -> str:
    return mask_url(url) if isinstance(url, str) else ""


def _checked(fields: dict[str, Any], *, private: bool) -> Target:
    for name, values in (("kind", Kind), ("language", Language)):
        if name in fields and fields[name] not in [value.value for value in values]:
            known = ", ".join(value.value for value in values)
            raise TargetError(name, f"must be one of {known}; got {str(fields[name])[:100]!r}")
    for name in ("url", "secret"):  # their values must not appear in the text of an error
        if fields.get(name) is not None and not isinstance(fields[name], str):
            raise TargetError(name, f"must be text, not {type(fields[name]).__name__}")
    try:
        target = msgspec.convert(fields, Target)
    except msgspec.ValidationError as error:
        raise TargetError(field_at_fault(Target, fields) or "webhook", str(error)) from None
    _check_texts(target)
    if (why := check_url(target.url, allow_private=target.allow_private or private)) is not None:
        raise TargetError("url", why)
    private = private or target.allow_private
    if target.kind is not Kind.GENERIC and not target.url.lower().startswith("https://") and not private:
        raise TargetError(
            "url",
            f"must begin with https:// for {target.kind.value}; for a receiver of your own that has no https, set "
            "allow_private (or webhooks.allow_private, for all webhooks)",
        )
    if target.kind is Kind.SLACK and target.secret is not None:
        raise TargetError("secret", "must be empty for Slack, whose address is the secret")
    if target.template is not None:
        if target.kind is not Kind.GENERIC:
            raise TargetError("template", "can be used with the kind generic only")
        try:
            check_template(target.template)
        except TemplateError as error:
            raise TargetError("template", str(error)) from None
    return target


def _check_texts(target: Target) -> None:
    if not target.name.strip() or len(target.name) > _MAX_NAME or not target.name.isprintable():
        raise TargetError("name", f"must have 1 to {_MAX_NAME} printable characters")
    if len(target.url) > _MAX_URL:
        raise TargetError("url", f"must have at most {_MAX_URL} characters")
    if target.secret is not None and not 0 < len(target.secret) <= _MAX_SECRET:
        raise TargetError("secret", f"must have 1 to {_MAX_SECRET} characters; null for none")
    globs = target.filter.services
    if len(globs) > _MAX_GLOBS or any(not 0 < len(glob) <= _MAX_GLOB for glob in globs):
        raise TargetError(
            "filter.services", f"must have at most {_MAX_GLOBS} services, each of 1 to {_MAX_GLOB} characters"
        )
    for type_ in target.filter.event_types:
        if _TYPE.fullmatch(type_) is None:
            raise TargetError(
                "filter.event_types", f"{type_!r} is not an event type: STATE, OPERATION, GOVERNANCE, LOG, PING, or *"
            )
