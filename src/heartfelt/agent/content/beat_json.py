# SPDX-License-Identifier: MIT
"""The JSON of beats and goodbyes. A beat's is made as a head, to which the sender adds what changes with each beat."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from heartfelt._version import __version__
from heartfelt.agent.config import AgentConfig
from heartfelt.wire import fields


def plugin_map(versions: Mapping[str, str], values: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """Makes Sermant's pluginInfoMap."""
    found: dict[str, dict[str, Any]] = {
        name: {fields.NAME: name, fields.VERSION: version} for name, version in versions.items()
    }
    for name, value in values.items():
        found[name][fields.EXT_INFO] = value
    return found


def head(
    config: AgentConfig,
    instance_id: str,
    *,
    host_name: str | None,
    addresses: Sequence[str],
    plugins: Mapping[str, Any],
    agents: Mapping[str, str],
    failures: Mapping[str, str],
) -> bytes:
    """Makes a beat's JSON without the fields that change at each beat, and without the closing brace."""
    beat: dict[str, Any] = {
        fields.HOST_NAME: host_name,
        fields.IP: list(addresses) or None,
        fields.SERVICE: config.service,
        fields.APP_NAME: config.app_name,
        fields.APP_TYPE: config.app_type,
        fields.ARTIFACT: config.artifact,
        fields.VERSION: __version__,
        fields.INSTANCE_ID: instance_id,
        fields.PROCESS_ID: str(os.getpid()),
        fields.DYNAMIC_INSTALL: config.dynamic_install,
        fields.PLUGIN_INFO_MAP: dict(plugins),
        fields.EXTERNAL_AGENT_INFO_MAP: {
            name: {fields.NAME: name, fields.VERSION: version} for name, version in agents.items()
        },
        fields.INTERVAL_MS: round(config.interval * 1000),
        fields.TIMEOUT_MS: None if config.timeout is None else round(config.timeout * 1000),
        fields.EXT_INFO_FAILURES: dict(failures) or None,
    }
    present = {name: value for name, value in beat.items() if value is not None}
    return _json(present)[:-1]


def goodbye(config: AgentConfig, instance_id: str, beat_head: bytes) -> bytes:
    """Makes the JSON of a goodbye: service and instance for Sermant's protocol, otherwise a marked beat."""
    if config.transport == "sermant":
        return _json({fields.SERVICE: config.service, fields.INSTANCE_ID: instance_id})
    return b'%b,"%b":%d,"%b":true}' % (
        beat_head, fields.HEARTBEAT_TIME.encode(), time.time_ns() // 1_000_000, fields.GOODBYE.encode(),
    )  # fmt: skip


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
