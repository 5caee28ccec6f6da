# SPDX-License-Identifier: MIT
"""Why things are as they are: reasons as data, and their sentences in each language.

codes.py is the table of all reasons, reason.py the value that is stored and sent, catalogue.py makes it a sentence by
en.json or zh.json, figures.py writes the durations and numbers in it. It imports nothing of the monitor.
"""

from __future__ import annotations

from heartfelt.monitor.reasons.catalogue import (
    LANGUAGES,
    described,
    duration_text,
    english,
    panel_module,
    sentence,
    template,
)
from heartfelt.monitor.reasons.codes import CODES, TEXT_CODE, Arg, ArgKind
from heartfelt.monitor.reasons.reason import NO_REASON, Reason, make, read, text_reason

__all__ = [
    "CODES",
    "LANGUAGES",
    "NO_REASON",
    "TEXT_CODE",
    "Arg",
    "ArgKind",
    "Reason",
    "described",
    "duration_text",
    "english",
    "make",
    "panel_module",
    "read",
    "sentence",
    "template",
    "text_reason",
]
