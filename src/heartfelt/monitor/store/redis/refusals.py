# SPDX-License-Identifier: MIT
"""Replies that say a server did not execute a command, though the command is right. Imports redis."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from redis import exceptions as wrong

TEXTS = {
    "OOM": "it is out of memory (maxmemory); give it more, or delete what else is in it",
    "MISCONF": "it could not save its data to disk, and takes no writes until it can; look at its log and its disk",
    "READONLY": "it is a replica, which is read-only; its primary has failed over, or the URL names the wrong server",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "it is a replica that has lost its primary",
    "NOREPLICAS": "it has fewer replicas than min-replicas-to-write",
    "CLUSTERDOWN": "its cluster is down: some slots are not served, or it cannot reach most of the primaries",
    "TRYAGAIN": "the slot is being moved to another server of the cluster",
    "MOVED": "the slot belongs to another server; if this is a Redis Cluster, write redis+cluster:// in the URL",
    "ASK": "the slot is being moved to another server of the cluster",
    "BUSY": "it is busy with a script for too long; look which one runs (SLOWLOG, SCRIPT KILL)",
    "NOPERM": "its user may not do that; give the user the permission (ACL SETUSER)",
    "NOAUTH": "it demands a password; set redis.password_file, or write it into the URL",
    "WRONGPASS": "it does not accept the user and the password",
    "NOPASS": "it has no password for this user; leave the password out, or set one there (requirepass)",
    "NOSCRIPT": "it has just lost a script, which will be loaded again",
    "ERR": "it takes no more clients (maxclients); raise that, or look who holds so many connections",
}
"""Codes of errors, and what they mean to a person."""

_CLASSES: tuple[tuple[type[Exception], str], ...] = (
    (wrong.MasterDownError, "MASTERDOWN"),  # of several classes that apply, the most exact comes first
    (wrong.ClusterDownError, "CLUSTERDOWN"),
    (wrong.MovedError, "MOVED"),
    (wrong.AskError, "ASK"),
    (wrong.TryAgainError, "TRYAGAIN"),
    (wrong.OutOfMemoryError, "OOM"),
    (wrong.ReadOnlyError, "READONLY"),
    (wrong.NoScriptError, "NOSCRIPT"),
    (wrong.NoPermissionError, "NOPERM"),
    (wrong.BusyLoadingError, "LOADING"),
)
_WHERE = re.compile(
    r"Error (?:\S+ )?(?:connecting to|while reading from|while writing to) \S+ ?(?:: \(\S+ '(.*)',?\)|\. (.*))",
    re.DOTALL,
)
"""The part of redis-py's text that names the address, which whoever shows the text names anyway."""
IS_REPLY = (wrong.BusyLoadingError, wrong.AuthenticationError, wrong.AuthorizationError)
"""Subclasses of redis.ConnectionError that are replies: the connection goes on."""
_BY_TEXT = frozenset({"OOM", "MISCONF", "NOREPLICAS", "BUSY", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"})


class NotExecuted(NamedTuple):
    """A command that was certainly not executed."""

    code: str
    """One of TEXTS."""
    error: Exception

    @property
    def text(self) -> str:
        if self.code == "NOPERM":
            return f"{TEXTS[self.code]}: {self.error}"
        return TEXTS[self.code]


def refusal_of(error: Exception) -> NotExecuted | None:
    """Returns why a command was not executed; None if it may have been, and its reply is just this error.

    In a script these errors come from its first write, before it has changed anything.
    """
    for kind, code in _CLASSES:
        if isinstance(error, kind):
            return NotExecuted(code, error)
    text = str(error)
    if isinstance(error, wrong.AuthenticationError):
        if "without any password" in text:
            return NotExecuted("NOPASS", error)
        return NotExecuted("NOAUTH" if "required" in text.lower() else "WRONGPASS", error)
    if "max number of clients" in text:
        return NotExecuted("ERR", error)
    code = text.partition(" ")[0]
    return NotExecuted(code, error) if code in _BY_TEXT else None


def address_of(error: Any, asked: tuple[str, int]) -> tuple[str, int]:
    """Returns the server that MOVED or ASK names. asked: the server that said so, whose host an empty one means."""
    return (error.host or asked[0], error.port)


def why(error: BaseException) -> str:
    """Says what is wrong with a connection, so that a person understands it. Shows no password."""
    if isinstance(error, Exception) and (refusal := refusal_of(error)) is not None:
        return refusal.text
    text = str(error).strip().rstrip(".") or type(error).__name__
    if match := _WHERE.fullmatch(text):
        text = match[1] or match[2]
    if isinstance(error, (wrong.TimeoutError, TimeoutError)):
        return "it does not answer in time (redis.timeout)"
    if "certificate verify failed" in text.lower():
        named = "mismatch" in text or "not valid for" in text
        hint = (
            "use a name or an address that is in its certificate" if named else "set redis.ca to the CA's certificate"
        )
        reason = text.partition("certificate verify failed:")[2].strip() or text
        return f"its certificate is not accepted ({reason}); {hint}"
    if "wrong version number" in text.lower() or "record layer failure" in text.lower():
        return "it does not speak TLS at this port; write redis:// instead of rediss://, or another port"
    if any(one in text.lower() for one in ("certificate required", "eof occurred", "handshake failure", "unknown ca")):
        return f"it has ended TLS ({text}); if it demands a certificate, set redis.cert and redis.key"
    if "unknown command" in text and "SENTINEL" in text:
        return "it is not a Sentinel; write the port of one (26379), or redis:// without a service"
    if "cluster support disabled" in text:
        return "it is not part of a Redis Cluster; write redis:// instead of redis+cluster://"
    return text
