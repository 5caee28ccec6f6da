# SPDX-License-Identifier: MIT
"""The times that apply to one instance, and where they come from. policy.py decides on them."""

from __future__ import annotations

from enum import Enum

import msgspec


class TermsSource(str, Enum):
    """The place where a timeout comes from."""

    BEAT = "beat"
    """The beat asked for it."""
    SERVICE = "service"
    """It is set for the service."""
    ALL = "all"
    """It is set for all instances."""
    LEARNED = "learned"
    """It follows from the period in which it beats."""
    DEFAULT = "default"
    """Nobody set anything."""


class Terms(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """The times that apply to an instance."""

    timeout_ms: int
    """After this long without a beat it is LOST."""
    source: TermsSource
    period_ms: int | None = None
    """The timeout is this period and the grace. None: it is not made of a period."""
    grace_ms: int | None = None
    look_ms: int
    """After this long without a beat its last beats are looked at, since more time may be due. At most the timeout."""
    interval_ms: int | None = None
    """The interval by which it is LATE."""
    is_bounded: bool = False
    """The beat asked for a time beyond the bounds."""

    @property
    def is_explicit(self) -> bool:
        """Set for this instance or its service, and so kept to the letter."""
        return self.source is TermsSource.BEAT or self.source is TermsSource.SERVICE
