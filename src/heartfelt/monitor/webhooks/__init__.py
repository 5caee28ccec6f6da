# SPDX-License-Identifier: MIT
"""Notifications: `Webhooks` takes changes and events, and sends messages to the targets that want them.

offer -> targets.wants_* -> damping -> told -> store (outbox) -> outbox -> payloads -> caller, through guard

targets   a webhook and the checks of its fields          template  a body written by the user
damping   merges many changes into few messages           notices   a message, independent of language
told      no recovery without its loss                    texts     its text, in English and Chinese
history   replays changes after a restart                 payloads  its form for each kind of target
outbox    when to call, and when to retry                 caller    one call;  guard: addresses that may be called
proxy     the proxy that targets are called through
line      the state of one target                         verdicts  what an answer means
breaker   when not to call
"""

from __future__ import annotations

from heartfelt.monitor.webhooks.proxy import make_proxies
from heartfelt.monitor.webhooks.service import Webhooks
from heartfelt.monitor.webhooks.settings import UnknownTarget, WebhookSettings
from heartfelt.monitor.webhooks.table import KIND
from heartfelt.monitor.webhooks.targets import Filter, Kind, Language, Target, TargetError, levels_from

__all__ = ["KIND", "Filter", "Kind", "Language", "Target", "TargetError", "UnknownTarget", "WebhookSettings",
           "Webhooks", "levels_from", "make_proxies"]  # fmt: skip
