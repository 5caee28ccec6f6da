# SPDX-License-Identifier: MIT
"""Tells others what happens: `Webhooks` takes changes and events, and sends messages to the targets that want them.

offer -> targets.wants_* -> damping -> store (outbox) -> outbox -> payloads -> caller, through guard

targets   what a webhook is, and the checks of it         template  a user's own body
damping   few messages of many changes                    notices   a message, before it has words
history   what was held back when the monitor ended       texts     its words, in English and Chinese
outbox    when to call, and when again                    payloads  its form for each kind of target
breaker   when not to call                                caller    one call;  guard: what may be called
"""

from __future__ import annotations

from heartfelt.monitor.webhooks.service import Settings, UnknownTarget, Webhooks
from heartfelt.monitor.webhooks.targets import Filter, Kind, Language, Target, TargetError

__all__ = ["Filter", "Kind", "Language", "Settings", "Target", "TargetError", "UnknownTarget", "Webhooks"]
