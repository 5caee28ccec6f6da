# SPDX-License-Identifier: MIT
"""A list of heartbeats in one body, taken in slices, so that nobody else waits for a long one."""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt._ingest import Scan
from heartfelt.monitor.ingest.decode import BadInput
from heartfelt.monitor.ingest.intake import REFUSALS, Intake

__all__ = ["Batch", "Texts"]

SLICE = 200
SLICE_KNOWN = 2000
SHOWN = 20
_list = msgspec.json.Decoder(list[msgspec.Raw])


class Texts:
    """A body that is being taken: the known heartbeats that it begins with, and the texts of those behind them."""

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
    """Bodies of one transport."""

    def __init__(self, intake: Intake, via: str) -> None:
        self._intake = intake
        self._via = via

    def split(self, body: bytes, peer: str) -> Texts:
        """Looks through the whole body, and takes nothing. Raises BadInput "json", "beats_in_body"."""
        most = self._intake.limits.beats_in_body
        scan = Scan(body, self._intake.known.texts, True, most)
        texts: list[msgspec.Raw] = []
        if not scan.whole:
            try:
                texts = _list.decode(b"[" + body[scan.rest :] if scan.n else body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise BadInput("json", f"no JSON list: {error}") from None
            except RecursionError:
                raise BadInput("json", "JSON that is nested too deep") from None
            if not texts and scan.n:
                raise BadInput("json", "no JSON list: it ends with a comma")
        n = scan.n + len(texts)
        if n > most:
            raise BadInput("beats_in_body", f"{n} heartbeats in a body; at most {most} are taken (beats_in_body)")
        return Texts(scan, texts, peer)

    def take_some(self, texts: Texts) -> bool:
        """Takes a slice; whether there is more."""
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
