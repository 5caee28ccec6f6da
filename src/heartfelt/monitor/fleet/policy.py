# SPDX-License-Identifier: MIT
"""What the registry decides by. Checked when it is made: a value that cannot be is a ConfigError that names it."""

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
    """When losses are held instead of told; see hold.py."""

    enabled: bool = True
    window_ms: int = 5_000
    """Losses so close together count as one happening."""
    service_share: float = 0.5
    """More than this share of a service lost within the window: the service's losses are held."""
    service_min: int = 5
    """A service with fewer instances is never held."""
    all_share: float = 0.3
    """More than this share of all instances: all losses are held."""
    all_min: int = 10
    """With fewer instances in all, nothing is held for all."""
    stall_ms: int = 1_000
    """A stall of the monitor itself that is shorter holds nothing."""
    settle_ms: int = 30_000
    """So long after a stall or a silence losses are held: the agents connect anew meanwhile."""
    silence_ms: int = 5_000
    """No beat from anybody for so long (and for three expected intervals), where before there were..."""
    silence_beats_per_s: float = 5.0
    """...more than so many a second: the network is taken to be silent."""
    max_ms: int = 300_000
    """The latest end of a hold, counted from its start; nothing moves it."""
    release_per_s: float = 20.0
    """At its end losses are told at this rate."""

    def __post_init__(self) -> None:
        for name in ("window_ms", "settle_ms", "silence_ms", "max_ms"):
            check_ms(f"hold.{name}", getattr(self, name), 1)
        check_ms("hold.stall_ms", self.stall_ms, 0)
        for name in ("service_share", "all_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"hold.{name} must be above 0 and at most 1 (0.5: half); got {getattr(self, name)!r}")
        for name in ("service_min", "all_min"):
            if getattr(self, name) < 2:
                raise ConfigError(f"hold.{name} must be at least 2; got {getattr(self, name)!r}")
        for name in ("release_per_s", "silence_beats_per_s"):
            if not 0 < getattr(self, name) <= 1e6:
                raise ConfigError(f"hold.{name} must be above 0 and at most 1,000,000; got {getattr(self, name)!r}")


class ServicePolicy(msgspec.Struct, kw_only=True, frozen=True):
    """What holds for one service; None: what holds for all."""

    effective_ms: int | None = None
    cache_ms: int | None = None
    stuck_after_ms: int | None = None

    def __post_init__(self) -> None:
        for name in ("effective_ms", "cache_ms", "stuck_after_ms"):
            if getattr(self, name) is not None:
                check_ms(name, getattr(self, name), 1)


class Policy(msgspec.Struct, kw_only=True, frozen=True):
    """Leases and limits of time. A beat's own `timeout_ms` comes first, then its service's, then the monitor's."""

    effective_ms: int = 60_000
    """The lease (`max.effective.time`): no beat for so long, and the instance is LOST."""
    cache_ms: int = 600_000
    """No beat for so long (`max.cache.time`): it is REMOVED. But never sooner after the loss than one more lease."""
    services: dict[str, ServicePolicy] = {}
    late_factor: float = 1.5
    """LATE after so many intervals without a beat, unless the lease is over by then."""
    stuck_after_ms: int | None = None
    """STUCK when the agent tells that its interpreter did not answer for longer; None: 10 s, or two intervals."""
    least_lease_ms: int = 1_000
    most_lease_ms: int = 31 * 86_400_000
    """The lease that a beat may ask for; what is beyond is taken as the bound, and counted."""
    hold: HoldPolicy = HoldPolicy()

    def __post_init__(self) -> None:
        for name in ("effective_ms", "cache_ms", "least_lease_ms", "most_lease_ms"):
            check_ms(name, getattr(self, name), 1)
        if self.stuck_after_ms is not None:
            check_ms("stuck_after_ms", self.stuck_after_ms, 1)
        if self.least_lease_ms > self.most_lease_ms:
            raise ConfigError(
                f"least_lease_ms {self.least_lease_ms} is above most_lease_ms {self.most_lease_ms}; swap them"
            )
        if not 1 < self.late_factor <= 100:
            raise ConfigError(f"late_factor must be above 1 and at most 100 intervals; got {self.late_factor!r}")

    def lease_ms(self, service: str, asked_ms: int | None) -> int:
        """The effective lease of an instance of this service whose beats ask for `asked_ms`."""
        if asked_ms is not None:
            return min(max(asked_ms, self.least_lease_ms), self.most_lease_ms)
        own = self.services.get(service)
        return self.effective_ms if own is None or own.effective_ms is None else own.effective_ms

    def late_ms(self, interval_ms: int | None, lease_ms: int) -> int | None:
        """How long after a beat its instance is LATE; None: never, it is LOST before or its interval is not known."""
        if interval_ms is None:
            return None
        late = int(interval_ms * self.late_factor)
        return late if 0 < late < lease_ms else None

    def stuck_ms(self, service: str, interval_ms: int | None) -> int:
        own = self.services.get(service)
        if own is not None and own.stuck_after_ms is not None:
            return own.stuck_after_ms
        if self.stuck_after_ms is not None:
            return self.stuck_after_ms
        return max(10_000, 2 * (interval_ms or 0))

    def cached_ms(self, service: str) -> int:
        own = self.services.get(service)
        return self.cache_ms if own is None or own.cache_ms is None else own.cache_ms

    def forget_ms(self, service: str, lease_ms: int) -> int:
        """How long after its loss an instance is REMOVED: what is left of the cache time, and a lease at least."""
        cache = self.cached_ms(service)
        return max(cache - lease_ms, min(lease_ms, cache))
