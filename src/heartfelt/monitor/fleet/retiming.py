# SPDX-License-Identifier: MIT
"""Another policy for a fleet that is known already, after a reload of the configuration."""

from __future__ import annotations

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.lifecycle import Life
from heartfelt.monitor.fleet.policy import Policy
from heartfelt.monitor.model import ExpectedBy

__all__ = ["retime", "use_policy"]


def use_policy(life: Life, policy: Policy) -> None:
    """Decides by another policy from now on; `retime` applies it to an instance that is known."""
    life.policy = policy
    life.leases.use(policy)


def retime(life: Life, instance: Instance) -> None:
    """Decides again whether the instance is expected, and on its times; its timeout counts from its last beat."""
    expected = instance.expected
    if instance.expected_by is not ExpectedBy.BEAT:
        instance.expected = life.policy.is_expected(instance.service, instance.expected_by is ExpectedBy.KEY)
    if life.leases.retime(instance, life.wall_ms()) or instance.expected is not expected:
        life.book.publish_row(instance)
