# SPDX-License-Identifier: MIT
"""Fixtures of the fleet's tests."""

from __future__ import annotations

import pytest


@pytest.fixture
def restart(make_world):
    """restart(world, down_s): another registry, that knows what the first one's store was told."""
    from tests.monitor.fleet.world import saved

    def again(world, down_s=0.0, **options):
        rows = list(world.stored.values())
        for row in rows:
            row.last_beat_ms = world.registry.get(row.id).last_beat_ms  # as the store's checkpoint does
        stats = world.registry._book
        new = make_world(wall_ms=world.wall_ms() + round(down_s * 1000), **options)
        known = saved(rows, stats.next_id, stats.next_seq, world.hold)
        new.registry.restore(known)
        new.stored = {row.id: row for row in rows}
        return new

    return again
