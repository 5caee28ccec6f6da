# SPDX-License-Identifier: MIT
"""The targets of a monitor's webhooks, as people see and change them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from heartfelt.monitor.model import Level
from heartfelt.monitor.store import Store
from heartfelt.monitor.webhooks import metrics
from heartfelt.monitor.webhooks.caller import Caller
from heartfelt.monitor.webhooks.damping import Damper
from heartfelt.monitor.webhooks.notices import Notice
from heartfelt.monitor.webhooks.outbox import Outbox
from heartfelt.monitor.webhooks.settings import UnknownTarget, WebhookSettings
from heartfelt.monitor.webhooks.targets import (
    MAX_TARGETS,
    Target,
    TargetError,
    defaults,
    is_other,
    make_target,
    masked,
    updated_target,
    with_levels,
)
from heartfelt.monitor.webhooks.told import Told
from heartfelt.monitor.webhooks.trials import Trials

__all__ = ["KIND", "TargetTable"]

KIND = "webhook"


class TargetTable:
    """Part of `Webhooks`. make_damper: called for each new target."""

    _outbox: Outbox
    _counts: dict[str, int]
    told: Told

    def __init__(
        self,
        store: Store,
        settings: WebhookSettings,
        caller: Caller,
        *,
        wall_ms: Callable[[], int],
        make_damper: Callable[[], Damper],
    ) -> None:
        self._store, self._settings, self._wall_ms, self._damper = store, settings, wall_ms, make_damper
        self._caller = caller
        self.trials = Trials(caller.call)
        self._targets: dict[str, Target] = {}
        self._dampers: dict[str, Damper] = {}

    def targets(self) -> list[dict[str, Any]]:
        """Returns all targets and how they work, without secrets."""
        return [self._view(target) for target in self._targets.values()]

    def defaults(self) -> dict[str, Any]:
        """Returns the fields that a new target may omit, with their defaults."""
        return defaults(self._settings.levels)

    def has_targets(self) -> bool:
        return bool(self._targets)

    def get(self, id: str) -> dict[str, Any]:
        """Returns one target. Raises UnknownTarget, like every method that takes an id."""
        return self._view(self._known(id))

    async def create(self, fields: Mapping[str, Any], *, id: str | None = None) -> dict[str, Any]:
        """Creates a target. Raises TargetError, which names the field, and what the store raises."""
        if len(self._targets) >= MAX_TARGETS:
            raise TargetError("id", f"there are {MAX_TARGETS} webhooks, which is the limit; delete one")
        if id in self._targets:
            raise TargetError("id", f"there is a webhook {id!r} already")
        fields = with_levels({"filter": {}, **fields}, self._settings.levels)
        target = make_target(fields, now_ms=self._wall_ms(), id=id, private=self._settings.allow_private)
        await self._store.put_document(KIND, target.id, msgspec.to_builtins(target))
        self._set(target)
        return self._view(target)

    async def update(self, id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
        """Changes the given fields; the others stay. Raises TargetError, and what the store raises.

        What waits goes to the new address, in the new form, at once. If the target is switched off, it is dropped.
        """
        fields = with_levels(fields, self._settings.levels)
        target = updated_target(self._known(id), fields, now_ms=self._wall_ms(), private=self._settings.allow_private)
        await self._store.put_document(KIND, id, msgspec.to_builtins(target))
        self._set(target)
        self._outbox.line(target).changed(target)
        if target.enabled:
            await self._store.hasten_deliveries(id, self._wall_ms())
        else:
            self._drop_damper(id)
            self._dampers[id] = self._damper()
            await self._outbox.drop(id, "switched off")
        self._outbox.wake()
        return self._view(target)

    async def delete(self, id: str) -> None:
        """Deletes a target and drops the messages waiting for it."""
        self._known(id)
        await self._store.delete_document(KIND, id)
        if self._targets.pop(id, None) is None:
            raise UnknownTarget(id)  # deleted by another request meanwhile
        self._drop_damper(id)
        self.told.forget(id)
        self._outbox.forget(id)
        await self._outbox.drop(id, "the webhook was deleted", forget=True)

    async def test(self, id: str) -> dict[str, Any]:
        """Calls a target once, bypassing the outbox. Returns `Answer.view`."""
        target = self._known(id)
        now_ms = self._wall_ms()
        notice = Notice(kind="test", key=f"test-{secrets.token_hex(8)}", time_ms=now_ms, level=Level.NORMAL)
        line = self._outbox.line(target)
        line.pace.called(now_ms)
        answer = await self.trials.run(target, notice)
        if answer.ok:
            line.breaker.succeeded()
            self._outbox.wake()
        return answer.view()

    def refusing(self) -> list[Target]:
        """Returns the targets that refused the last message."""
        return [target for target in self._targets.values() if self._outbox.line(target).refusing]

    def differ(self, documents: Mapping[str, Any]) -> bool:
        """Returns whether targets in the store, as `documents` of KIND, are others than those that are used."""
        return is_other(documents, self._targets)

    def _known(self, id: str) -> Target:
        target = self._targets.get(id)
        if target is None:
            raise UnknownTarget(id)
        return target

    def _set(self, target: Target) -> None:
        self._targets[target.id] = target
        self._dampers.setdefault(target.id, self._damper())

    def _drop_damper(self, id: str) -> None:
        self._counts = metrics.added(self._counts, {}, [self._dampers.pop(id)])

    def _view(self, target: Target) -> dict[str, Any]:
        return {**masked(target), **self._outbox.line(target).view(self._wall_ms())}
