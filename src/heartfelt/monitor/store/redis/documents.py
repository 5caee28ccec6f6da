# SPDX-License-Identifier: MIT
"""Small named documents: a hash for each kind. Blocks; any thread. `RedisDocuments` is for other programs than the
monitor: `heartfelt token` writes tokens, the monitors reload them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import FLEET, Link
from heartfelt.monitor.store.redis.values import pairs_of
from heartfelt.monitor.store.rows import from_json, to_json


def document(link: Link, keys: Keys, kind: str, name: str) -> Any | None:
    found = link.call(FLEET, "HGET", _key(keys, kind), field_of(name))
    return None if found is None else from_json(found.decode())


def documents(link: Link, keys: Keys, kind: str) -> dict[str, Any]:
    return decoded(pairs_of(link.call(FLEET, "HGETALL", _key(keys, kind))))


def decoded(found: Iterable[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Returns documents by their names."""
    return {name.decode("utf-8", "surrogatepass"): from_json(value.decode()) for name, value in sorted(found)}


def put_document(link: Link, keys: Keys, kind: str, name: str, value: Any) -> tuple[bytes, bytes]:
    """Returns its field and its value."""
    put = field_of(name), to_json(value).encode()
    link.call(FLEET, "HSET", _key(keys, kind), *put)
    return put


def delete_document(link: Link, keys: Keys, kind: str, name: str) -> bool:
    return bool(link.call(FLEET, "HDEL", _key(keys, kind), field_of(name)))


class RedisDocuments:
    """Documents of one kind, as `store.documents.Documents` has them. Closes the link. Raises StoreError."""

    def __init__(self, link: Link, keys: Keys, kind: str) -> None:
        self._link, self._keys, self._kind = link, keys, kind

    def all(self) -> dict[str, Any]:
        return documents(self._link, self._keys, self._kind)

    def put(self, name: str, value: Any) -> None:
        put_document(self._link, self._keys, self._kind, name, value)

    def delete(self, name: str) -> bool:
        return delete_document(self._link, self._keys, self._kind, name)

    def close(self) -> None:
        self._link.close()

    def __enter__(self) -> RedisDocuments:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _key(keys: Keys, kind: str) -> str:
    return keys.fleet("doc", kind)


def field_of(name: str) -> bytes:
    """Returns the field of a document."""
    return name.encode("utf-8", "surrogatepass")
