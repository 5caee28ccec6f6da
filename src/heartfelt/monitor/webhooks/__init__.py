# SPDX-License-Identifier: MIT
"""Notifications: `Webhooks` takes changes and events, and sends messages to the targets that want them.

offer -> targets.wants_* -> damping -> store (outbox) -> outbox -> payloads -> caller, through guard

targets   a webhook and the checks of its fields          template  a body written by the user
damping   merges many changes into few messages           notices   a message, independent of language
history   replays changes after a restart                 texts     its text, in English and Chinese
outbox    when to call, and when to retry                 payloads  its form for each kind of target
breaker   when not to call                                caller    one call;  guard: addresses that may be called
"""

from __future__ import annotations

from heartfelt.monitor.webhooks.service import UnknownTarget, Webhooks, WebhookSettings
from heartfelt.monitor.webhooks.targets import Filter, Kind, Language, Target, TargetError

__all__ = ["Filter", "Kind", "Language", "Target", "TargetError", "UnknownTarget", "WebhookSettings", "Webhooks"]
