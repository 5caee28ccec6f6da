# SPDX-License-Identifier: MIT
"""Java's .properties files, by Java's rules, each value with the line on which it begins.

A line ends with LF, CR or CRLF; one whose first non-blank character is # or ! is a comment; an odd number of
backslashes at the end of a line joins the next line to it, without its leading blanks. The key ends at the first =, :
or blank that is not escaped. Escapes: \\t \\n \\r \\f \\uXXXX; a backslash before anything else is dropped. The text is
UTF-8.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from heartfelt.errors import ConfigError

BLANK = " \t\f"
_LINE_END = re.compile("\r\n|\n|\r")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|u|.)", re.DOTALL)
_KEY = re.compile(r"((?:\\.|[^\\=: \t\f])*)[ \t\f]*[=:]?[ \t\f]*", re.DOTALL)
_NAMED = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


@dataclass(frozen=True, slots=True)
class Property:
    key: str
    value: str
    line: int


def parse(data: bytes, name: str) -> list[Property]:
    """Parses all properties of a file, in order, including those that are given twice.

    Raises ConfigError, with name and line, for text that is not UTF-8, and for a \\u without four hexadecimal digits.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{name}:{line}: this is not UTF-8; save the file as UTF-8, or write \\uXXXX") from None
    found = []
    for number, line_text in _logical_lines(text):
        match = _KEY.match(line_text)
        assert match is not None  # it matches the empty text, too
        where = f"{name}:{number}"
        key, value = _plain(match[1], where), _plain(line_text[match.end() :], where)
        found.append(Property(key, value, number))
    return found


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yields each logical line with the number of its first line; skips comments and empty lines."""
    begun = 0
    parts: list[str] = []
    for number, raw in enumerate(_LINE_END.split(text), 1):
        line = raw.lstrip(BLANK)
        if not parts:
            if not line or line[0] in "#!":
                continue
            begun = number
        ends_in = len(line) - len(line.rstrip("\\"))
        if ends_in % 2:
            parts.append(line[:-1])
            continue
        yield begun, "".join([*parts, line])
        parts = []
    if parts:  # the file ended in a backslash
        yield begun, "".join(parts)


def _plain(text: str, where: str) -> str:
    if "\\" not in text:
        return text

    def one(match: re.Match[str]) -> str:
        escape = match[1]
        if escape == "u":
            raise ConfigError(f"{where}: \\u must be followed by four hexadecimal digits; a backslash is written \\\\")
        if len(escape) == 5:
            return chr(int(escape[1:], 16))
        return _NAMED.get(escape, escape)

    plain = _ESCAPE.sub(one, text)
    try:  # two escapes may form one character beyond 16 bits
        return plain.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ConfigError(f"{where}: half a surrogate pair in \\u escapes; both halves are needed") from None
