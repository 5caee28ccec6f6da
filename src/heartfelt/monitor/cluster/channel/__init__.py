# SPDX-License-Identifier: MIT
"""The internal, authenticated connections between the monitors of a fleet.

Each monitor listens on a port of its own for the others, and keeps one connection to each of them, over which it
sends: beats and inputs, in batches that are acknowledged; notices; requests, each with one answer or one in pieces.

| file | |
|---|---|
| `frames.py` | the form of what is sent |
| `handshake.py` | proofs that both sides know the fleet's secret |
| `wire.py` | what both sides of a connection have in common |
| `feed.py`, `outgoing.py`, `asking.py` | the side that connects: what waits, the connection, its requests |
| `incoming.py`, `answering.py` | the side that listens: the connection, its answers |
| `peers.py`, `listener.py` | the connections to all others, and from them |
| `service.py` | `Channel`, which has all of it |
"""

from __future__ import annotations

from heartfelt.monitor.cluster.channel.asking import ChannelError
from heartfelt.monitor.cluster.channel.feed import Undelivered
from heartfelt.monitor.cluster.channel.frames import BeatBatch, Input
from heartfelt.monitor.cluster.channel.peers import Peers, PeerState
from heartfelt.monitor.cluster.channel.service import FIGURES, Channel
from heartfelt.monitor.cluster.channel.wire import Timing

__all__ = ["FIGURES", "BeatBatch", "Channel", "ChannelError", "Input", "PeerState", "Peers", "Timing", "Undelivered"]
