# SPDX-License-Identifier: MIT
"""Reasons as sentences, from one file of templates for each language: en.json, zh.json. The panel reads the same files.

In a template `{name}` stands for an argument, and what stands in square brackets is left out if the argument in it is
not there. Templates are parsed once; a value is never looked through for names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeAlias

from heartfelt.monitor.reasons.codes import CODES, ArgKind
from heartfelt.monitor.reasons.figures import FORMATS, duration
from heartfelt.monitor.reasons.reason import Reason

__all__ = ["LANGUAGES", "duration_text", "english", "panel_module", "sentence", "template"]

LANGUAGES = ("en", "zh")
_PIECE = re.compile(r"\[([^][{}]*)\{(\w+)\}([^][{}]*)\]|\{(\w+)\}|([^][{}]+)")

Format: TypeAlias = "Callable[[Any], str]"
Piece: TypeAlias = "str | tuple[str, int, Format, str]"
"""Words; or words, an argument's place and its format, and words: all three are left out without the argument."""


def _load(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{language}.json").read_text("utf-8"))
    return found


class _Language:
    def __init__(self, name: str) -> None:
        self.name = name
        self.words = _load(name)
        self.units: Mapping[str, str] = self.words["units"]
        self._formats: dict[str, Format] = {
            **FORMATS,
            ArgKind.DURATION.value: partial(duration, units=self.units),
            ArgKind.REASON.value: self.sentence,
        }
        self._parsed = {code: self._parse(code, text) for code, text in self.words["reasons"].items()}

    def _parse(self, code: str, template: str) -> tuple[Piece, ...]:
        """Raises ValueError for a template that is malformed or names an argument that the code does not have."""
        places = {arg.name: (n, self._formats[arg.kind.value]) for n, arg in enumerate(CODES[code])}
        pieces: list[Piece] = []
        end = 0
        for match in _PIECE.finditer(template):
            if match.start() != end:
                break
            end = match.end()
            before, optional, after, name, words = match.groups()
            if words is not None:
                pieces.append(words)
            elif (name or optional) in places:
                pieces.append((before or "", *places[name or optional], after or ""))
            else:
                raise ValueError(f"{self.name}.json: {code} has no argument {name or optional!r}")
        if end != len(template):
            raise ValueError(f"{self.name}.json: {code} cannot be read from {template[end : end + 20]!r}")
        return tuple(pieces)

    def sentence(self, reason: Reason) -> str:
        values = reason.values
        parts: list[str] = []
        for piece in self._parsed[reason.code]:
            if isinstance(piece, str):
                parts.append(piece)
            else:
                before, place, write, after = piece
                if (value := values[place]) is not None:
                    parts += (before, write(value), after)
        return "".join(parts)


_languages = {name: _Language(name) for name in LANGUAGES}


def sentence(reason: Reason, language: str) -> str:
    """The reason in words. About 3 us."""
    return _languages[language].sentence(reason)


@lru_cache(maxsize=1024)
def english(reason: Reason) -> str:
    """The reason in English words. One change is put into several documents: the last 1024 are kept."""
    return _languages["en"].sentence(reason)


def described(name: str, reason: Reason) -> dict[str, Any]:
    """Makes the beginning of an event's `info`: its name and its reason, in English and as data."""
    return {"name": name, "description": english(reason), **reason.fields()}


def template(code: str, language: str) -> str:
    """The sentence of a code with names for its arguments, as it stands in the language's file."""
    text: str = _languages[language].words["reasons"][code]
    return text


def duration_text(ms: int, language: str) -> str:
    """A duration in words, as it stands in a sentence."""
    return duration(ms, _languages[language].units)


def panel_module() -> bytes:
    """The JavaScript module with the codes and the words of all languages: the panel's lib/reasons.js renders by it."""
    codes = {code: [(arg.name, arg.kind.value, arg.optional) for arg in args] for code, args in CODES.items()}
    words = {name: language.words for name, language in _languages.items()}
    text = json.dumps({"codes": codes, "words": words}, ensure_ascii=False, separators=(",", ":"))
    return f"// SPDX-License-Identifier: MIT\nexport default {text};\n".encode()
