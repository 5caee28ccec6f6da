# SPDX-License-Identifier: MIT
"""The fleet's metrics: instances by state and service, and the figures of `Registry.stats()`."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nlargest

from heartfelt.monitor.fleet.admission import REASONS
from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.metric import Figures, Reading, clean_label, counter, gauge
from heartfelt.monitor.model import State

__all__ = ["FIGURES", "OTHER_SERVICES", "SERVICES", "UNNAMED", "instances"]

SERVICES = 200
"""Services that have a label of their own: those with the most instances."""
OTHER_SERVICES = "(other)"
"""The label that stands for all other services together."""
_STATES = tuple(state for state in State if state is not State.REMOVED)
_INSTANCES = gauge(
    "heartfelt_instances",
    "Instances by state and service, those with a held loss as LOST: "
    f"the {SERVICES} services with the most instances, all others as {OTHER_SERVICES}",
    labels=("state", "service"),
)
UNNAMED = gauge(
    "heartfelt_services_without_label",
    f"Services that heartfelt_instances counts as {OTHER_SERVICES}, since there are too many",
)
_REFUSED = counter("heartfelt_admission_refused", "Heartbeats that the fleet refused, by reason", labels=("reason",))

FIGURES: Figures = {
    "instances": None,  # sum(heartfelt_instances)
    "services": gauge("heartfelt_services", "Services that have at least one instance"),
    "applications": gauge("heartfelt_applications", "Applications that have at least one instance"),
    "clients": gauge("heartfelt_clients", "Client addresses that have at least one instance"),
    "beats": counter("heartfelt_beats", "Heartbeats of all instances"),
    "beats_per_s": None,  # rate(heartfelt_beats_total[1m])
    "goodbyes": counter("heartfelt_goodbyes", "Goodbyes, also of unknown instances"),
    "changes": counter("heartfelt_changes", "Changes of an instance's state"),
    "losses": counter("heartfelt_losses", "Instances that became LOST"),
    "recoveries": counter(
        "heartfelt_recoveries",
        "Instances that beat again after they were LOST or LEFT, or succeeded after they were FAILED",
    ),
    "failures": counter("heartfelt_failures", "Instances that became FAILED"),
    "runs_open": gauge("heartfelt_ping_runs", "Runs of jobs that began and have not ended"),
    "runs_failed": counter("heartfelt_runs_failed", "Runs of jobs that failed, were too long or too short"),
    "runs_overdue": counter("heartfelt_runs_overdue", "Runs of jobs that had not ended by their deadline"),
    "runs_dropped": counter(
        "heartfelt_runs_dropped", "Runs of jobs that are no longer watched because too many were open"
    ),
    "leases_bounded": counter(
        "heartfelt_timeouts_bounded", "Timeouts that an instance asked for and that were cut to the configured range"
    ),
    "periods_learned": counter(
        "heartfelt_periods_learned", "Times that an instance's period was learned from its beats, changed or forgotten"
    ),
    "shared": gauge("heartfelt_shared_instances", "Instances whose heartbeats come from several addresses"),
    "address_events_left_out": counter(
        "heartfelt_address_events_left_out",
        "Events about heartbeats from several addresses that were left out because there were too many",
    ),
    "not_restored": counter("heartfelt_instances_not_restored", "Stored instances that a start could not use"),
    "listener_errors": counter("heartfelt_listener_errors", "Exceptions raised by a listener to the fleet's changes"),
    "timers_waiting": gauge("heartfelt_timer_events_waiting", "Timer events that have not been read yet"),
    "stalls": counter("heartfelt_stalls", "Times that the monitor itself could not run"),
    "stalled_ms": counter(
        "heartfelt_stalled_seconds", "Time in which the monitor itself could not run", unit="seconds"
    ).from_ms(),
    "losses_deferred": counter(
        "heartfelt_losses_deferred", "Times that losses were decided later because the event loop had been busy"
    ),
    "losses_read_late_ms": gauge(
        "heartfelt_losses_read_late_max_seconds",
        "Longest time since the start between a deadline and when the event loop read that it had passed",
        unit="seconds",
    ).from_ms(),
    "holds": counter("heartfelt_holds", "Holds of losses that began"),
    "held": gauge("heartfelt_hold_instances", "Instances whose loss is held now"),
    "held_in_all": counter("heartfelt_hold_losses", "Losses that were held"),
    "held_recovered": counter(
        "heartfelt_hold_recovered", "Held losses that were dropped because the instance beat again, left or was removed"
    ),
    "held_released": counter("heartfelt_hold_released", "Held losses that were reported when their hold ended"),
    **{f"refused_{reason}": _REFUSED.of(reason) for reason in REASONS},
}


def instances(totals: ServiceCounts, services: Mapping[str, ServiceCounts]) -> Reading:
    """Instances by state and service, a state without instances included. O(services); the number of labels is bounded.

    Equal numbers of instances are ordered by name, so that two scrapes choose the same services. Services whose names
    are equal once they are cut to the longest label are added up.
    """
    named = nlargest(SERVICES, services.items(), key=lambda item: (item[1].total, item[0]))
    samples: dict[tuple[str, ...], float] = {}
    others = {state: totals.of(state) for state in _STATES}
    for name, counts in named:
        label = clean_label(name)
        for state in _STATES:
            n = counts.of(state)
            key = (state.value, label)
            samples[key] = samples.get(key, 0) + n
            others[state] -= n
    if len(services) > len(named):
        for state, n in others.items():
            key = (state.value, OTHER_SERVICES)
            samples[key] = samples.get(key, 0) + n
    return _INSTANCES, samples
