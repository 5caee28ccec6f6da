# SPDX-License-Identifier: MIT
"""The metrics of all ingests together."""

from __future__ import annotations

from heartfelt.monitor.metric import Figures, counter, gauge

__all__ = ["FIGURES"]

FIGURES: Figures = {
    "known": gauge("heartfelt_ingest_known", "Heartbeat texts and keys that are recognised without being parsed"),
    "known_bytes": gauge("heartfelt_ingest_known_bytes", "Memory taken by recognised texts and keys", unit="bytes"),
    "known_forgotten": counter(
        "heartfelt_ingest_known_forgotten", "Recognised texts and keys that were dropped to stay within their memory"
    ),
    "service_names": gauge(
        "heartfelt_ingest_service_names", "Instances of Sermant's agents whose service is remembered for their events"
    ),
    "service_names_forgotten": counter(
        "heartfelt_ingest_service_names_forgotten", "Remembered services that were dropped to stay within their number"
    ),
    "goodbyes_outdated": counter(
        "heartfelt_ingest_goodbyes_outdated",
        "Events SERMANT_STOP that were no goodbye, since their instance had sent a heartbeat after them",
    ),
    "beats_outdated": counter(
        "heartfelt_ingest_beats_outdated", "Heartbeats that were sent before their instance's goodbye and came after it"
    ),
    "clients": gauge("heartfelt_ingest_clients", "Client addresses whose rate is measured"),
    "clients_limited": counter(
        "heartfelt_ingest_rate_limited", "Times that a client was made to wait because it beat too fast"
    ),
    "clients_forgotten": counter(
        "heartfelt_ingest_clients_forgotten", "Client addresses that were dropped to stay within their number"
    ),
    "log_lines_left_out": counter(
        "heartfelt_ingest_log_lines_suppressed", "Log lines about clients that were suppressed to limit their rate"
    ),
}
