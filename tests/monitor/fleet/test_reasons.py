# SPDX-License-Identifier: MIT
"""The sentences that say why. That the panel can say each of them in Chinese is tests/browser/test_reasons.py's."""

from __future__ import annotations

from tests.monitor.fleet import reasons


def test_every_function_has_a_sample():
    assert reasons.functions() == set(reasons.SAMPLES) | reasons.PARTS


def test_a_function_without_a_sample_is_noticed(monkeypatch):
    def drowned(depth_m):
        return f"it lies {depth_m} m under water"

    drowned.__module__ = reasons.reasons.__name__
    monkeypatch.setattr(reasons.reasons, "drowned", drowned, raising=False)
    assert reasons.functions() - set(reasons.SAMPLES) - reasons.PARTS == {"drowned"}


def test_what_comes_about_has_each_kind_of_sentence():
    told = "\n".join(reasons.lived())
    for part in (
        "first beat, from", "second beat", "no beat for", "interval 3 s", "lease 60 s", "before the monitor started",
        "no beat since the monitor started", "beats again", "came back after leaving", "has not answered for",
        "answers again", "said goodbye: scaled down", "it said goodbye", "it left and sent", "it was lost and sent",
        "paused until it is resumed", "paused until 2", "resumed; it beats", "its pause ended; ", "the loss is held: ",
        "itself was stalled", "went silent within", "many instances of service", "released by Ann; it was held because",
        "now told, 10 a second", "losses are held back, until", "no losses are held back any more",
    ):  # fmt: skip
        assert part in told, part
