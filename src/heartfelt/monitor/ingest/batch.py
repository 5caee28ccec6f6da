# SPDX-License-Identifier: MIT
"""Accepts a list of heartbeats in one body, a slice at a time, so that a long list holds up nobody else."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt._ingest import Scan
from heartfelt.monitor.ingest.decode import BadInput
from heartfelt.monitor.ingest.intake import REFUSALS, Intake

__all__ = ["Batch", "Texts"]

SLICE = 25  # each may join, which takes some 0.2 ms
SLICE_KNOWN = 2000
SHOWN = 20
_list = msgspec.json.Decoder(list[msgspec.Raw])


class Texts:
    """A body that is being processed: the known heartbeats that it begins with, and the texts of the others."""

    __slots__ = ("at", "first", "n", "peer", "refused", "refused_total", "scan", "taken", "texts")

    def __init__(self, scan: Scan, texts: list[msgspec.Raw], peer: str) -> None:
        self.scan = scan
        self.texts = texts
        self.n = scan.n + len(texts)
        self.peer = peer
        self.at = self.taken = self.refused_total = 0
        self.refused: list[dict[str, Any]] = []
        self.first: Exception | None = None


class Batch:
    """Processes the bodies of one transport."""

    def __init__(self, intake: Intake, via: str) -> None:
        self._intake = intake
        self._via = via

    def split(self, body: bytes, peer: str) -> Texts:
        """Parses the whole body without accepting anything yet. Raises BadInput "json" or "beats_in_body"."""
        most = self._intake.limits.beats_in_body
        scan = Scan(body, self._intake.known.texts, True, most)
        texts: list[msgspec.Raw] = []
        if not scan.whole:
            try:
                texts = _list.decode(b"[" + body[scan.rest :] if scan.n else body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadInput("json", f"the body is not a JSON list: {error}") from None
            except RecursionError:
                raise BadInput("json", "the JSON is nested too deeply") from None
            if not texts and scan.n:
                raise BadInput("json", "the body is not a JSON list: it ends with a comma")
        n = scan.n + len(texts)
        if n > most:
            raise BadInput(
                "beats_in_body",
                f"the body has {n} heartbeats; the limit is {most} (limits.beats_in_body): send fewer at a time",
            )
        return Texts(scan, texts, peer)

    def take_some(self, texts: Texts) -> bool:
        """Processes the next slice. Returns whether there is more."""
        scan = texts.scan
        if scan.at < scan.n:
            n = scan.at
            self._intake.renew_scanned(scan, SLICE_KNOWN, self._via, texts.peer)
            texts.taken += scan.at - n
            return scan.at < scan.n or bool(texts.texts)
        end = min(texts.at + SLICE, len(texts.texts))
        for index in range(texts.at, end):
            try:
                self._intake.take(bytes(texts.texts[index]), self._via, texts.peer)
            except REFUSALS as error:
                self._intake.refuse(self._via, error, texts.peer)
                texts.refused_total += 1
                texts.first = texts.first or error
                if len(texts.refused) < SHOWN:
                    reason = getattr(error, "reason", "error")
                    field = getattr(error, "field", None)
                    shown = {"index": scan.n + index, "reason": reason, "detail": str(error)[:500], "field": field}
                    texts.refused.append(shown)
            else:
                texts.taken += 1
        texts.at = end
        return end < len(texts.texts)
