# SPDX-License-Identifier: MIT
"""Instances, changes of state and the hold as the HTTP interface shows them.

An instance's `meta` comes from the sender: any field of it may have any type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from heartfelt.monitor.fleet.terms import TermsSource
from heartfelt.monitor.model import Ack, Change, Hold, HoldState, Level, Run, RunResult, State
from heartfelt.monitor.reasons import english

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance


ReasonCode = Annotated[
    str,
    msgspec.Meta(
        description="A code of `x-heartfelt-reasons`; `text`: `reason` is somebody's words. Codes may be added."
    ),
]
ReasonArgs = Annotated[
    dict[str, Any],
    msgspec.Meta(description="The arguments of `reason_code`, by name. One that is a reason is {code, args}."),
]


class InstanceView(msgspec.Struct, kw_only=True, frozen=True):
    """An instance in a list."""

    id: int
    service: str
    instance_id: str
    state: State
    held: bool
    """Its timeout has passed, and the loss is held back: it counts as LOST, though nobody was notified."""
    since_ms: int
    reason: str
    """In English."""
    reason_code: ReasonCode
    reason_args: ReasonArgs
    first_seen_ms: int
    last_beat_ms: int
    app: str
    host: str | None
    ips: list[str]
    version: str | None
    artifact: str | None
    process_id: str | None
    dynamic_install: bool | None
    plugins: dict[str, str]
    """Versions by name."""
    external_agents: dict[str, str]
    via: str
    peer: str
    interval_ms: int | None
    lease_ms: int
    """The timeout in effect."""
    lease_source: TermsSource
    """beat, service, all: set by its beats, its service, or for all. learned: by its period. default: set by nobody."""
    period_ms: int | None
    """The timeout is this period and the grace: as it was set, or learned. null: it is not made of a period."""
    grace_ms: int | None
    addresses: list[str]
    """The addresses between which its beats alternate, at most 8; empty: they come from one."""
    skew_ms: int | None
    """The agent's clock minus the monitor's: the median of its last three beats."""
    lag_ms: int | None
    """For how long its interpreter had been blocked, as reported with its last beat."""
    beats: int
    """Number of beats since it joined, or since the monitor started."""
    paused_until_ms: int | None
    """The end of its pause. null: it is not paused, or until it is resumed."""
    expected: bool
    """It stays LOST until it beats or is removed by hand."""
    ack: Ack | None
    """Somebody knows that it is LOST or FAILED."""
    ext_info: dict[str, dict[str, Any]] | msgspec.UnsetType = msgspec.UNSET
    """The extra information by plugin; only with `ext=true`."""


class InstanceDetail(InstanceView, kw_only=True, frozen=True):
    meta: dict[str, Any]
    gaps: list[tuple[float, bool]]
    """The last intervals between beats, oldest first: seconds, and whether a beat was missed."""


class ChangeView(msgspec.Struct, kw_only=True, frozen=True):
    """An instance went from one state to another."""

    seq: int
    """Grows with each change."""
    time_ms: int
    id: int
    """The instance's."""
    service: str
    instance_id: str
    old: State | None
    """null: it was not known."""
    new: State
    level: Level
    reason: str
    """In English."""
    reason_code: ReasonCode
    reason_args: ReasonArgs
    outage_ms: int | None
    """With a recovery: how long it was down, from the last heartbeat before a loss, or from a failure."""
    ip: str


class RunView(msgspec.Struct, kw_only=True, frozen=True):
    """One run of a job."""

    number: int
    """Grows with each run of any job."""
    rid: str
    """The id that the job gave to the run; "" if it gave none."""
    begin_ms: int | None
    """null: its start was not reported."""
    end_ms: int | None
    """null: it has not ended."""
    result: RunResult
    """FAILED: it said so, or its exit status was not 0. TOO_LONG, TOO_SHORT: it ended well, but outside of the bounds
    on its duration. OVERDUE: it has not ended by its deadline."""
    status: int | None
    """The exit status, if it was reported."""
    duration_ms: int | None
    """As the job measured it; otherwise from its start to its end, if both were reported."""
    text: str
    """The last text that it reported."""
    deadline_ms: int | None
    """OVERDUE if it has not ended by then; null: it has no deadline."""


class HoldView(msgspec.Struct, kw_only=True, frozen=True):
    """Whether losses are held, and why."""

    state: HoldState
    reason: str
    """In English."""
    reason_code: ReasonCode
    reason_args: ReasonArgs
    scope: str
    """A service's name; "" for all services."""
    held: int
    since_ms: int | None
    until_ms: int | None
    """The latest end."""


def change_view(change: Change) -> ChangeView:
    return ChangeView(
        seq=change.seq,
        time_ms=change.time_ms,
        id=change.id,
        service=change.service,
        instance_id=change.instance_id,
        old=change.old,
        new=change.new,
        level=change.level,
        reason=english(change.reason),
        reason_code=change.reason.code,
        reason_args=change.reason.args,
        outage_ms=change.outage_ms,
        ip=change.ip,
    )


def run_view(run: Run) -> RunView:
    return RunView(
        number=run.number,
        rid=run.rid,
        begin_ms=run.begin_ms,
        end_ms=run.end_ms,
        result=run.result,
        status=run.status,
        duration_ms=run.duration_ms,
        text=run.text,
        deadline_ms=run.deadline_ms,
    )


def hold_view(hold: Hold) -> HoldView:
    return HoldView(
        state=hold.state,
        reason=english(hold.reason),
        reason_code=hold.reason.code,
        reason_args=hold.reason.args,
        scope=hold.scope,
        held=hold.held,
        since_ms=hold.since_ms,
        until_ms=hold.until_ms,
    )


def text_of(meta: dict[str, Any], name: str) -> str | None:
    value = meta.get(name)
    return value if isinstance(value, str) else None


def ips_of(meta: dict[str, Any]) -> list[str]:
    value = meta.get("ip")
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def versions_of(meta: dict[str, Any], name: str) -> dict[str, str]:
    """Returns the versions by name from pluginInfoMap or externalAgentInfoMap."""
    value = meta.get(name)
    if not isinstance(value, dict):
        return {}
    found = {}
    for key, one in value.items():
        version = one.get("version") if isinstance(one, dict) else None
        found[str(key)] = version if isinstance(version, str) else ""
    return found


def ext_info_of(meta: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Returns the extra information by plugin, without plugins that have none."""
    plugins = meta.get("pluginInfoMap")
    if not isinstance(plugins, dict):
        return {}
    found = {str(name): one.get("extInfo") for name, one in plugins.items() if isinstance(one, dict)}
    return {name: info for name, info in found.items() if info and isinstance(info, dict)}


def _fields(instance: Instance) -> dict[str, Any]:
    meta = instance.meta
    dynamic = meta.get("dynamicInstall")
    return {
        "id": instance.id,
        "service": instance.service,
        "instance_id": instance.instance_id,
        "state": instance.state,
        "held": instance.held,
        "since_ms": instance.since_ms,
        "reason": english(instance.reason),
        **instance.reason.fields(),
        "first_seen_ms": instance.first_seen_ms,
        "last_beat_ms": instance.last_beat_ms,
        "app": instance.app,
        "host": text_of(meta, "hostName"),
        "ips": ips_of(meta),
        "version": text_of(meta, "version"),
        "artifact": text_of(meta, "artifact"),
        "process_id": text_of(meta, "processId"),
        "dynamic_install": dynamic if isinstance(dynamic, bool) else None,
        "plugins": versions_of(meta, "pluginInfoMap"),
        "external_agents": versions_of(meta, "externalAgentInfoMap"),
        "via": instance.via,
        "peer": instance.peer,
        "interval_ms": instance.interval_ms,
        "lease_ms": instance.lease_ms,
        "lease_source": instance.terms.source,
        "period_ms": instance.terms.period_ms,
        "grace_ms": instance.terms.grace_ms,
        "addresses": list(instance.addresses),
        "skew_ms": instance.skew_ms,
        "lag_ms": instance.lag_ms,
        "beats": instance.beats,
        "paused_until_ms": instance.paused_until_ms,
        "expected": instance.expected,
        "ack": instance.ack,
    }


def view(instance: Instance, *, ext: bool = False) -> InstanceView:
    fields = _fields(instance)
    if ext:
        fields["ext_info"] = ext_info_of(instance.meta)
    return InstanceView(**fields)


def detail(instance: Instance) -> InstanceDetail:
    return InstanceDetail(**_fields(instance), meta=instance.meta, gaps=list(instance.gaps()))
