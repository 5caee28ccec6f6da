# SPDX-License-Identifier: MIT
"""The settings that the registry decides by. Checked when made: an invalid value raises a ConfigError naming it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from heartfelt.errors import ConfigError
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.terms import Terms, TermsSource

LONGEST_MS = 366 * 86_400_000


def check_ms(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"{name} must be a whole number of milliseconds; got {value!r}")
    if not least <= value <= LONGEST_MS:
        raise ConfigError(f"{name} must be from {least} to {LONGEST_MS} ms; got {value!r}")


class HoldPolicy(msgspec.Struct, kw_only=True, frozen=True):
    """When losses are held instead of notified; see hold.py."""

    enable: bool = True
    window_ms: int = 5_000
    """Losses within this time count together."""
    share: float = 0.5
    """If more than this share of a service is lost within the window, the service's losses are held."""
    least: int = 5
    """`share` does not apply to a service with fewer instances, nor `leak` if fewer miss beats."""
    share_of_all: float = 0.3
    """If more than this share of all instances is lost within the window, all losses are held."""
    least_of_all: int = 10
    """With fewer instances in total, `share_of_all` does not apply."""
    stall_ms: int = 1_000
    """Shorter stalls of the monitor itself do not begin a hold."""
    settle_ms: int = 30_000
    """How long losses are held after a stall or a silence, while agents send their next beats."""
    reconnect_ms: int = 180_000
    """How long an agent may wait before it connects again, after the monitor or its network was away."""
    silence_ms: int = 5_000
    """No beat from any instance for this long, while several should have sent one: the network is taken to be down."""
    leak: float = 0.02
    """If more than this share of the due beats does not arrive, though their senders live, losses are held."""
    leak_window_ms: int = 120_000
    """The time over which beats are counted for that."""
    longest_ms: int = 900_000
    """The longest hold, from its beginning; nothing extends it. In a leak: the longest time that one loss is held."""
    release_per_s: float = 20.0
    """The rate at which losses are notified at its end."""

    def __post_init__(self) -> None:
        for name in ("window_ms", "settle_ms", "silence_ms", "leak_window_ms", "longest_ms"):
            check_ms(f"hold.{name}", getattr(self, name), 1)
        for name in ("stall_ms", "reconnect_ms"):
            check_ms(f"hold.{name}", getattr(self, name), 0)
        for name in ("share", "share_of_all", "leak"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"hold.{name} must be above 0 and at most 1 (0.5: half); got {getattr(self, name)!r}")
        for name in ("least", "least_of_all"):
            if getattr(self, name) < 2:
                raise ConfigError(f"hold.{name} must be at least 2; got {getattr(self, name)!r}")
        if not 0 < self.release_per_s <= 1e6:
            raise ConfigError(f"hold.release_per_s must be above 0 and at most 1,000,000; got {self.release_per_s!r}")


class ServicePolicy(msgspec.Struct, kw_only=True, frozen=True):
    """Settings of one service; None: the monitor's."""

    lease_timeout_ms: int | None = None
    lease_every_ms: int | None = None
    lease_grace_ms: int | None = None
    lease_cache_ms: int | None = None
    lease_stuck_after_ms: int | None = None
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None
    """Bounds on the duration of its jobs' runs; a run outside of them has failed."""
    min_up: int = 1
    """The service is available if at least this many of its instances are up."""
    expected: bool | None = None
    """Whether a LOST instance stays until it beats or is removed by hand. None: if it beats by its key alone."""

    def __post_init__(self) -> None:
        _check_some(
            self, "lease_timeout_ms", "lease_every_ms", "lease_cache_ms", "lease_stuck_after_ms", "max_duration_ms"
        )
        _check_some(self, "lease_grace_ms", "min_duration_ms", least=0)
        least_ms, most_ms = self.min_duration_ms, self.max_duration_ms
        if least_ms is not None and most_ms is not None and least_ms > most_ms:
            raise ConfigError(f"min_duration_ms {least_ms} is above max_duration_ms {most_ms}; swap them")
        if self.min_up < 1:
            raise ConfigError(f"min_up must be at least 1 instance; got {self.min_up!r}")


LEASE_TIMEOUT_MS = 60_000
LEASE_JOB_TIMEOUT_MS = 25 * 3_600_000


class Policy(msgspec.Struct, kw_only=True, frozen=True):
    """Timeouts and other time limits. What a beat asks for comes first, then what is set for its service, then what is
    set for all; see `terms`."""

    lease_timeout_ms: int = LEASE_TIMEOUT_MS
    """The timeout (`max.effective.time`): after this long without a beat an instance is LOST."""
    lease_job_timeout_ms: int = LEASE_JOB_TIMEOUT_MS
    """The same for a job, until its period is learned."""
    lease_every_ms: int | None = None
    """The period of all that name none, until it is learned. It makes a timeout longer, never shorter."""
    lease_grace_ms: int | None = None
    """How long after its period an instance is LOST; None: half of the period."""
    lease_cache_ms: int = 600_000
    """After this long without a beat (`max.cache.time`) it is REMOVED, but at least one timeout after its loss; not if
    it is LOST and expected, or the last of its service."""
    services: dict[str, ServicePolicy] = {}
    late_factor: float = 1.5
    """LATE after this many intervals without a beat, unless the timeout expires first."""
    lease_stuck_after_ms: int | None = None
    """STUCK when the agent reports that its interpreter did not respond for longer; None: 10 s, or two intervals."""
    least_lease_ms: int = 1_000
    most_lease_ms: int = LONGEST_MS
    """Bounds on the timeout that a beat may ask for. Values beyond are clamped, and counted."""
    hold: HoldPolicy = HoldPolicy()

    def __post_init__(self) -> None:
        _check_some(
            self, "lease_timeout_ms", "lease_job_timeout_ms", "lease_every_ms", "lease_cache_ms",
            "lease_stuck_after_ms", "least_lease_ms", "most_lease_ms",
        )  # fmt: skip
        _check_some(self, "lease_grace_ms", least=0)
        if self.least_lease_ms > self.most_lease_ms:
            raise ConfigError(
                f"least_lease_ms {self.least_lease_ms} is above most_lease_ms {self.most_lease_ms}; swap them"
            )
        if not 1 < self.late_factor <= 100:
            raise ConfigError(f"late_factor must be above 1 and at most 100 intervals; got {self.late_factor!r}")

    def terms(self, instance: Instance) -> Terms:
        """Decides on the times of an instance. The first that applies: the timeout that its beats ask for; their period
        and grace; the timeout of its service; its service's period and grace; the default."""
        own = self.services.get(instance.service)
        interval_ms = instance.every_ms or instance.interval_ms or (None if own is None else own.lease_every_ms)
        if instance.timeout_ms is not None:
            return self._asked(instance.timeout_ms, interval_ms)
        if instance.every_ms is not None:
            return self._asked(instance.every_ms, interval_ms, self.grace_ms(instance, instance.every_ms))
        if own is not None and own.lease_timeout_ms is not None:
            return _terms(own.lease_timeout_ms, TermsSource.SERVICE, interval_ms)
        if own is not None and own.lease_every_ms is not None:
            grace_ms = self.grace_ms(instance, own.lease_every_ms)
            return _terms(own.lease_every_ms, TermsSource.SERVICE, interval_ms, grace_ms)
        return self._default(instance, interval_ms)

    def grace_ms(self, instance: Instance, period_ms: int) -> int:
        own = self.services.get(instance.service)
        for grace_ms in (instance.grace_ms, None if own is None else own.lease_grace_ms, self.lease_grace_ms):
            if grace_ms is not None:
                return grace_ms
        return period_ms // 2

    def _asked(self, asked_ms: int, interval_ms: int | None, grace_ms: int | None = None) -> Terms:
        timeout_ms = asked_ms + (grace_ms or 0)
        bounded_ms = min(max(timeout_ms, self.least_lease_ms), self.most_lease_ms)
        if bounded_ms == timeout_ms:
            return _terms(asked_ms, TermsSource.BEAT, interval_ms, grace_ms)
        return msgspec.structs.replace(_terms(bounded_ms, TermsSource.BEAT, interval_ms), is_bounded=True)

    def _default(self, instance: Instance, interval_ms: int | None) -> Terms:
        """The default timeout, or longer if its period needs that."""
        terms = self._for_all(instance, interval_ms)
        known_ms = interval_ms or self.lease_every_ms
        if known_ms is not None:
            source = TermsSource.ALL if interval_ms is None else TermsSource.LEARNED
            terms = _longer(terms, _terms(known_ms, source, interval_ms, self.grace_ms(instance, known_ms)))
        if instance.period_ms is not None:
            grace_ms = self.grace_ms(instance, instance.period_ms)
            learned = _terms(instance.period_ms, TermsSource.LEARNED, interval_ms, grace_ms)
            if instance.is_job or learned.timeout_ms <= terms.timeout_ms:
                return _longer(terms, learned)
            return msgspec.structs.replace(learned, look_ms=terms.timeout_ms)
        if instance.period_unknown and known_ms is None and not instance.is_job:
            grace_ms = self.grace_ms(instance, terms.timeout_ms)
            return msgspec.structs.replace(terms, timeout_ms=terms.timeout_ms + grace_ms, grace_ms=grace_ms)
        return terms

    def _for_all(self, instance: Instance, interval_ms: int | None) -> Terms:
        if instance.is_job and instance.period_ms is None:
            ms, is_set = self.lease_job_timeout_ms, self.lease_job_timeout_ms != LEASE_JOB_TIMEOUT_MS
        else:
            ms, is_set = self.lease_timeout_ms, self.lease_timeout_ms != LEASE_TIMEOUT_MS
        return _terms(ms, TermsSource.ALL if is_set else TermsSource.DEFAULT, interval_ms)

    def late_ms(self, interval_ms: int | None, lease_ms: int) -> int | None:
        """Returns how long after a beat an instance is LATE; None: never (LOST is sooner, or no interval known)."""
        if interval_ms is None:
            return None
        late = int(interval_ms * self.late_factor)
        return late if 0 < late < lease_ms else None

    def stuck_ms(self, service: str, interval_ms: int | None) -> int:
        own = self.services.get(service)
        if own is not None and own.lease_stuck_after_ms is not None:
            return own.lease_stuck_after_ms
        if self.lease_stuck_after_ms is not None:
            return self.lease_stuck_after_ms
        return max(10_000, 2 * (interval_ms or 0))

    def durations_ms(self, service: str, least_ms: int | None, most_ms: int | None) -> tuple[int | None, int | None]:
        """Returns the shortest and the longest duration of a run of this service whose beats ask for these."""
        own = self.services.get(service)
        if own is None:
            return least_ms, most_ms
        return (
            own.min_duration_ms if least_ms is None else least_ms,
            own.max_duration_ms if most_ms is None else most_ms,
        )

    def min_up(self, service: str) -> int:
        own = self.services.get(service)
        return 1 if own is None else own.min_up

    def is_expected(self, service: str, by_key: bool) -> bool:
        """Returns whether an instance is expected if its beats do not say it. `by_key`: they name only its key."""
        own = self.services.get(service)
        return by_key if own is None or own.expected is None else own.expected

    def cached_ms(self, service: str) -> int:
        own = self.services.get(service)
        return self.lease_cache_ms if own is None or own.lease_cache_ms is None else own.lease_cache_ms

    def forget_ms(self, service: str, lease_ms: int) -> int:
        """Returns how long after its loss an instance is REMOVED: the rest of the cache time, at least one timeout."""
        cache = self.cached_ms(service)
        return max(cache - lease_ms, min(lease_ms, cache))


@lru_cache(maxsize=1024)  # most instances have the same
def _terms(ms: int, source: TermsSource, interval_ms: int | None, grace_ms: int | None = None) -> Terms:
    """A timeout of `ms` alone; with a grace, `ms` is the period."""
    if grace_ms is None:
        return Terms(timeout_ms=ms, source=source, look_ms=ms, interval_ms=interval_ms)
    total_ms = min(ms + grace_ms, LONGEST_MS)
    return Terms(
        timeout_ms=total_ms, source=source, period_ms=ms, grace_ms=grace_ms, look_ms=total_ms, interval_ms=interval_ms
    )


def _longer(a: Terms, b: Terms) -> Terms:
    return b if b.timeout_ms > a.timeout_ms else a


def _check_some(policy: msgspec.Struct, *names: str, least: int = 1) -> None:
    for name in names:
        if (value := getattr(policy, name)) is not None:
            check_ms(name, value, least)
