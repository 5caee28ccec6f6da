# SPDX-License-Identifier: MIT
"""Secret ping URLs: `/ping/hf_ID_SECRET` pings the one key that this token is bound to, without other credentials.

    /ping/hf_ID_SECRET           a heartbeat
    /ping/hf_ID_SECRET/start     and likewise /ok, /fail, /log, or an exit status
    /ping?key=hf_ID_SECRET       the same, with event=start and the like

Text in the form of a token is never a key, whether it is valid or not; a key may begin with hf_. A token in any other
place is refused, and one in a text is masked, so that no secret is stored, logged or shown.
"""

from __future__ import annotations

import re
from urllib.parse import quote_plus, unquote_to_bytes

from heartfelt.monitor.credentials import KnownTokens
from heartfelt.monitor.ingest.ping_words import NO_SUCH_WORD, PATH
from heartfelt.monitor.problems import Problem

__all__ = ["masked_body", "resolve"]

_LONG = 43
_FORM = re.compile(rb"hf_([0-9a-f]{12})_([A-Za-z0-9_-]*)")
_AFTER_PATH = PATH.encode() + b"/"
_WORD = re.compile(rb"start|ok|fail|log", re.IGNORECASE)
_STATUS = re.compile(rb"-?\d{1,10}")


def resolve(tokens: KnownTokens, raw_path: bytes | None, path: str, query: bytes) -> tuple[bytes, bytes] | None:
    """Returns the path and the query of the ping that a secret URL stands for. None: the URL has no secret in it.

    raw_path: as it was sent; None: `path` is all there is. Raises Problem if the secret is not valid or in a wrong
    place. O(length of the URL).
    """
    raw = path.encode() if raw_path is None else raw_path
    if not any(mark in text for text in (raw, query) for mark in (b"hf_", b"%")):
        return None
    at = raw.find(_AFTER_PATH)
    parts = raw[at + len(_AFTER_PATH) :].removesuffix(b"/").split(b"/") if at >= 0 else []
    if raw_path is not None:
        parts = [unquote_to_bytes(part) for part in parts]
    pairs = query.split(b"&") if query else []
    keys = [pair for pair in pairs if _plain(pair).startswith(b"key=")]
    if not _has_secret(tokens, b"/".join(parts)):
        if not any(_has_secret(tokens, _plain(pair)) for pair in pairs):
            return None
        if parts not in ([], [b""]) or len(keys) != 1:
            raise _misplaced()
        secret = _plain(keys[0])[len(b"key=") :]
        pairs.remove(keys[0])
        words: list[bytes] = []
    else:
        secret, *words = parts
    if _FORM.fullmatch(secret) is None or any(_has_secret(tokens, text) for text in (*words, *map(_plain, pairs))):
        raise _misplaced()
    key = tokens.pinged_by(secret.decode())
    if key is None:
        raise Problem(
            404,
            "ping_secret",
            "there is no such ping URL, or it was revoked; create one with `heartfelt token create NAME --ping KEY`",
        )
    if words:
        pairs = [*_says(words, pairs), *pairs]
    return PATH.encode(), b"&".join([b"key=" + quote_plus(key).encode(), *pairs])


def _says(words: list[bytes], pairs: list[bytes]) -> list[bytes]:
    """Returns the query for what follows the secret; it is always a word, as the URL is of one key."""
    word = b"/".join(words)
    if _WORD.fullmatch(word):
        return [b"event=" + word.lower()]
    if not _STATUS.fullmatch(word):
        detail = "a secret ping URL may be followed by start, ok, fail, log or an exit status, and nothing else"
        raise Problem(404, NO_SUCH_WORD, detail)
    for pair in pairs:
        if pair.lower() == b"event=exit":  # it says the same
            pairs.remove(pair)
            break
    return [b"exit=" + word]


def masked_body(tokens: KnownTokens, body: bytes) -> bytes:
    """Returns the text without secrets: a job may send its output, and so the command that pings. O(length)."""
    if b"hf_" not in body:
        return body

    def mask(match: re.Match[bytes]) -> bytes:
        return b"hf_" + match[1] + "_…".encode() if _is_secret(tokens, match) else match[0]

    return _FORM.sub(mask, body)


def _plain(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.replace(b"+", b" "))


def _has_secret(tokens: KnownTokens, text: bytes) -> bool:
    return any(_is_secret(tokens, match) for match in _FORM.finditer(text))


def _is_secret(tokens: KnownTokens, match: re.Match[bytes]) -> bool:
    """Whether it is a token, or was copied from one with a part of it missing."""
    return len(match[2]) >= _LONG or tokens.has(match[1].decode())


def _misplaced() -> Problem:
    return Problem(
        404,
        "ping_secret",
        "the URL has a token in a place where it means nothing; write /ping/TOKEN for a token that was created with "
        "--ping, and send any other as `Authorization: Bearer TOKEN`",
    )
