# SPDX-License-Identifier: MIT
"""The webhooks' metrics: the figures of `Webhooks.stats()`, and what waits for each target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.store import Backlog
from heartfelt.monitor.tasks import LEFT_RUNNING
from heartfelt.monitor.webhooks.damping import Damper

__all__ = ["FIGURES", "readings"]

_OFFERED = counter("heartfelt_webhooks_offered", "Changes and events that were offered to targets", labels=("kind",))
_WAITING = gauge("heartfelt_webhooks_waiting", "Deliveries that are neither delivered nor given up", labels=("target",))
_OLDEST = gauge(
    "heartfelt_webhooks_oldest_waiting_seconds",
    "Age of the oldest delivery that is neither delivered nor given up, 0 if none waits",
    unit="seconds",
    labels=("target",),
)
_OLDEST_OF_ALL = gauge(
    "heartfelt_webhooks_oldest_delivery_seconds",
    "Age of the oldest delivery to any target that is neither delivered nor given up, 0 if none waits",
    unit="seconds",
)

FIGURES: Figures = {
    "offered_changes": _OFFERED.of("change"),
    "offered_events": _OFFERED.of("event"),
    "lost": counter(
        "heartfelt_webhooks_lost", "Changes and events that were dropped because too many came during the start"
    ),
    "replayed": counter("heartfelt_webhooks_replayed", "Changes before the start that were offered again"),
    "bad_documents": counter("heartfelt_webhooks_bad_documents", "Targets in the store that could not be read"),
    "store_errors": counter("heartfelt_webhooks_store_errors", "Times that the store could not be read or written"),
    "backlog_errors": counter(
        "heartfelt_webhooks_backlog_errors",
        "Scrapes with outdated numbers of waiting deliveries because the store failed",
    ),
    "held_back": counter("heartfelt_webhooks_muted_changes", "Changes of flapping instances that got no message"),
    "merged": counter("heartfelt_webhooks_merged", "Changes that were combined into one message with others"),
    "left_running": LEFT_RUNNING.of("webhooks"),
    "untold": counter(
        "heartfelt_webhooks_untold", "Recoveries that were not sent because the target was not told of the loss"
    ),
    "moot": counter(
        "heartfelt_webhooks_moot", "Recoveries that were not sent because the message of the loss was given up"
    ),
    "put": counter("heartfelt_webhooks_put", "Deliveries that were put into the outbox"),
    "attempts": counter("heartfelt_webhooks_attempts", "HTTP requests to targets, retries included"),
    "delivered": counter("heartfelt_webhooks_delivered", "Deliveries that the target accepted"),
    "retries": counter("heartfelt_webhooks_retries", "Failed calls that will be tried again"),
    "given_up": counter("heartfelt_webhooks_given_up", "Deliveries that were given up after too long a time"),
    "refused": counter("heartfelt_webhooks_refused", "Deliveries that were given up because the target refused them"),
    "dropped": counter("heartfelt_webhooks_dropped", "Deliveries to targets that were deleted or switched off"),
    "postponed": counter("heartfelt_webhooks_postponed", "Calls postponed by a rate limit or a circuit breaker"),
    "blocked": counter("heartfelt_webhooks_blocked", "Calls that were blocked because the address is not allowed"),
    "faults": counter(
        "heartfelt_webhooks_faults", "Unexpected exceptions while messages were made or sent; each is logged"
    ),
    "refusing": gauge("heartfelt_webhooks_refusing", "Targets that refused the last message"),
    "targets": gauge("heartfelt_webhooks_targets", "Webhooks that are configured, whether they are enabled or not"),
    "open": gauge("heartfelt_webhooks_open", "Targets whose circuit breaker is open or half-open"),
}


def added(service: Mapping[str, int], outbox: Mapping[str, int], dampers: Iterable[Damper]) -> dict[str, int]:
    """Returns the counters of the service, its outbox and its dampers as one."""
    total = Counter(service)
    total.update(outbox)
    for damper in dampers:
        total.update(held_back=damper.muted, merged=damper.merged)
    return dict(total)


def readings(
    stats: Mapping[str, float], backlog: Mapping[str, Backlog], targets: Iterable[str], now_ms: int
) -> Iterator[Reading]:
    """`targets`: ids of the targets that exist. Each has a sample, also when nothing waits for it."""
    waiting = {id: backlog.get(id, Backlog(count=0, oldest_ms=now_ms)) for id in targets}
    yield _WAITING, {(id,): one.count for id, one in waiting.items()}
    ages: dict[tuple[str, ...], float] = {(id,): max(0, now_ms - one.oldest_ms) / 1000 for id, one in waiting.items()}
    yield _OLDEST, ages
    yield _OLDEST_OF_ALL.reading(max(ages.values(), default=0))
    yield from read(FIGURES, stats)
