# SPDX-License-Identifier: MIT
"""Turns what clients send into heartbeats and events for the registry, within limits, and answers them.

    SermantServer   Sermant's TCP frames            sermant.py
    HttpIngest      /api/v1/beats and /ping/...     http.py, ping.py
    UdpServer       datagrams                       udp.py
    Intake          shared by all of them           intake.py, known.py (recognises unchanged heartbeats), decode.py,
                                                    service_names.py (the services of instances that report events)

Everything here belongs to the event loop's thread. Input that is refused is counted in `Counters`, answered where the
protocol has answers, and logged at a limited rate. Nothing that a client sends makes an exception leave this package.
"""

from __future__ import annotations

from heartfelt.monitor.ingest.counters import Counters
from heartfelt.monitor.ingest.decode import BadInput
from heartfelt.monitor.ingest.http import HttpIngest
from heartfelt.monitor.ingest.intake import Auth, Intake
from heartfelt.monitor.ingest.limits import ClientRates
from heartfelt.monitor.ingest.sermant import SermantServer
from heartfelt.monitor.ingest.udp import UdpServer

__all__ = ["Auth", "BadInput", "ClientRates", "Counters", "HttpIngest", "Intake", "SermantServer", "UdpServer"]
