# SPDX-License-Identifier: MIT
"""The settings that the registry decides by. Checked when made: an invalid value raises a ConfigError naming it."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt.errors import ConfigError

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
    """Losses of a service with fewer instances are never held."""
    share_of_all: float = 0.3
    """If more than this share of all instances is lost within the window, all losses are held."""
    least_of_all: int = 10
    """With fewer instances in total, losses of all services are never held."""
    stall_ms: int = 1_000
    """Shorter stalls of the monitor itself do not begin a hold."""
    settle_ms: int = 30_000
    """How long losses are held after a stall or a silence, while agents reconnect."""
    silence_ms: int = 5_000
    """No beat from any instance for this long (and for three usual gaps), after..."""
    silence_beats_per_s: float = 5.0
    """...more beats a second than this: the network is taken to be down."""
    longest_ms: int = 300_000
    """The longest hold, from its beginning; nothing extends it."""
    release_per_s: float = 20.0
    """The rate at which losses are notified at its end."""

    def __post_init__(self) -> None:
        for name in ("window_ms", "settle_ms", "silence_ms", "longest_ms"):
            check_ms(f"hold.{name}", getattr(self, name), 1)
        check_ms("hold.stall_ms", self.stall_ms, 0)
        for name in ("share", "share_of_all"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"hold.{name} must be above 0 and at most 1 (0.5: half); got {getattr(self, name)!r}")
        for name in ("least", "least_of_all"):
            if getattr(self, name) < 2:
                raise ConfigError(f"hold.{name} must be at least 2; got {getattr(self, name)!r}")
        for name in ("release_per_s", "silence_beats_per_s"):
            if not 0 < getattr(self, name) <= 1e6:
                raise ConfigError(f"hold.{name} must be above 0 and at most 1,000,000; got {getattr(self, name)!r}")


class ServicePolicy(msgspec.Struct, kw_only=True, frozen=True):
    """Settings of one service; None: the monitor's."""

    lease_timeout_ms: int | None = None
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
        for name in ("lease_timeout_ms", "lease_cache_ms", "lease_stuck_after_ms", "max_duration_ms"):
            if getattr(self, name) is not None:
                check_ms(name, getattr(self, name), 1)
        if self.min_duration_ms is not None:
            check_ms("min_duration_ms", self.min_duration_ms, 0)
            if self.max_duration_ms is not None and self.min_duration_ms > self.max_duration_ms:
                raise ConfigError(
                    f"min_duration_ms {self.min_duration_ms} is above max_duration_ms {self.max_duration_ms}; swap them"
                )
        if self.min_up < 1:
            raise ConfigError(f"min_up must be at least 1 instance; got {self.min_up!r}")


class Policy(msgspec.Struct, kw_only=True, frozen=True):
    """Timeouts and other time limits. A beat's own `timeout_ms` comes first, then its service's, then the monitor's."""

    lease_timeout_ms: int = 60_000
    """The timeout (`max.effective.time`): after this long without a beat an instance is LOST."""
    lease_cache_ms: int = 600_000
    """After this long without a beat (`max.cache.time`) it is REMOVED, but at least one timeout after its loss."""
    services: dict[str, ServicePolicy] = {}
    late_factor: float = 1.5
    """LATE after this many intervals without a beat, unless the timeout expires first."""
    lease_stuck_after_ms: int | None = None
    """STUCK when the agent reports that its interpreter did not respond for longer; None: 10 s, or two intervals."""
    least_lease_ms: int = 1_000
    most_lease_ms: int = 31 * 86_400_000
    """Bounds on the timeout that a beat may ask for. Values beyond are clamped, and counted."""
    hold: HoldPolicy = HoldPolicy()

    def __post_init__(self) -> None:
        for name in ("lease_timeout_ms", "lease_cache_ms", "least_lease_ms", "most_lease_ms"):
            check_ms(name, getattr(self, name), 1)
        if self.lease_stuck_after_ms is not None:
            check_ms("lease_stuck_after_ms", self.lease_stuck_after_ms, 1)
        if self.least_lease_ms > self.most_lease_ms:
            raise ConfigError(
                f"least_lease_ms {self.least_lease_ms} is above most_lease_ms {self.most_lease_ms}; swap them"
            )
        if not 1 < self.late_factor <= 100:
            raise ConfigError(f"late_factor must be above 1 and at most 100 intervals; got {self.late_factor!r}")

    def lease_ms(self, service: str, asked_ms: int | None) -> int:
        """Returns the timeout of an instance of this service whose beats ask for `asked_ms`."""
        if asked_ms is not None:
            return min(max(asked_ms, self.least_lease_ms), self.most_lease_ms)
        own = self.services.get(service)
        return self.lease_timeout_ms if own is None or own.lease_timeout_ms is None else own.lease_timeout_ms

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
