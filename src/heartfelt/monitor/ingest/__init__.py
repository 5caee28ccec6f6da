# SPDX-License-Identifier: MIT
"""Bytes from outside -> beats and events for the registry; limits; answers.

    SermantServer   Sermant's TCP frames            sermant.py
    HttpIngest      /api/v1/beats and /ping/...     http.py, ping.py
    UdpServer       datagrams                       udp.py
    Intake          what all of them hand on to     intake.py: known.py (beats of which nothing is new), decode.py

All of it belongs to the event loop's thread. What cannot be taken is counted in `Counters`, answered where the protocol
has answers, and logged at a limited rate; nothing that a client sends is raised out of here.
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
