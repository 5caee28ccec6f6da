# SPDX-License-Identifier: MIT
"""Small named documents: a hash for each kind. Blocks; any thread."""

from __future__ import annotations

from typing import Any

from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import FLEET, Link
from heartfelt.monitor.store.redis.values import pairs_of
from heartfelt.monitor.store.rows import from_json, to_json


def document(link: Link, keys: Keys, kind: str, name: str) -> Any | None:
    found = link.call(FLEET, "HGET", _key(keys, kind), _field(name))
    return None if found is None else from_json(found.decode())


def documents(link: Link, keys: Keys, kind: str) -> dict[str, Any]:
    found = pairs_of(link.call(FLEET, "HGETALL", _key(keys, kind)))
    return {name.decode("utf-8", "surrogatepass"): from_json(value.decode()) for name, value in sorted(found)}


def put_document(link: Link, keys: Keys, kind: str, name: str, value: Any) -> None:
    link.call(FLEET, "HSET", _key(keys, kind), _field(name), to_json(value))


def delete_document(link: Link, keys: Keys, kind: str, name: str) -> bool:
    return bool(link.call(FLEET, "HDEL", _key(keys, kind), _field(name)))


def _key(keys: Keys, kind: str) -> str:
    return keys.fleet("doc", kind)


def _field(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")
