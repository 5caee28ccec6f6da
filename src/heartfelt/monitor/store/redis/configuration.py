# SPDX-License-Identifier: MIT
"""Checks, at the start, that the servers can be used, and that all monitors agree on the layout of the data. Imports
redis."""

from __future__ import annotations

import logging
import re
from typing import Any, NamedTuple

from redis import exceptions as wrong

from heartfelt.errors import StoreError
from heartfelt.monitor.store.redis.address import CLUSTER, RedisAddress
from heartfelt.monitor.store.redis.keys import FORMAT, SLOTS, Keys
from heartfelt.monitor.store.redis.link import FLEET, Command, Link, Script, Unreachable
from heartfelt.monitor.store.redis.rights import check_rights

log = logging.getLogger("heartfelt.redis")

OLDEST = 7
"""The oldest major version of Redis that can be used. Each Valkey is newer."""
AGREE = Script(
    "AGREE",
    """
    local found = redis.call('HMGET', KEYS[1], 'version', 'shards', 'page')
    if not found[1] and not found[2] and not found[3] then
        redis.call('HSET', KEYS[1], 'version', ARGV[1], 'shards', ARGV[2], 'page', ARGV[3])
        return {ARGV[1], ARGV[2], ARGV[3]}
    end
    return found
    """,
)


class ServerFacts(NamedTuple):
    """The part of a server's INFO that matters here."""

    name: str
    """"Redis" or "Valkey", and its version."""
    run_id: str
    major: int
    mode: str
    policy: str
    """maxmemory-policy."""
    is_kept: bool | None
    """Whether it saves its data to disk; None: not known."""


def check(link: Link, keys: Keys, address: RedisAddress) -> list[ServerFacts]:
    """Checks the servers, and writes the layout, or compares it with that of the monitors before. Blocks.

    Logs a warning for a server that may evict keys, and a line for one that does not save its data. Returns the
    servers. Raises StoreError, with the remedy.
    """
    try:
        _check_mode(_facts(link, [FLEET])[0], address)  # first: what a Sentinel replies to the rest helps nobody
        check_rights(link, keys, address)
        found = link.call(FLEET, AGREE, FORMAT, keys.shards, SLOTS, keys=[keys.fleet("cfg")])
        _compare(found, keys, address)
        servers = _facts(link, [FLEET, *range(keys.shards)])
    except wrong.ResponseError as error:
        hint = f"; if it is another program's, set another redis.prefix than {keys.prefix}" if _is_other(error) else ""
        raise StoreError(f"{address} refuses what a monitor needs: {error}{hint}") from None
    except Unreachable as error:
        if "the keys" in str(error):  # of Redis' NOPERM
            raise StoreError(f"{error}; let it use those of this fleet: ~{keys.prefix}:*") from None
        raise
    for one in servers:
        _check_mode(one, address)
        if one.policy != "noeviction":
            log.warning(
                "%s has maxmemory-policy %s: when its memory is full it deletes instances without a word; set it to "
                "noeviction", one.name, one.policy,
            )  # fmt: skip
        if one.is_kept is False:
            log.info(
                "%s does not save its data to disk (no save, no appendonly): after a restart of it the monitors know "
                "only what they own", one.name,
            )  # fmt: skip
    return servers


def _is_other(error: Exception) -> bool:
    """Tells whether a key has a value of another kind."""
    return "WRONGTYPE" in str(error)


def _check_mode(one: ServerFacts, address: RedisAddress) -> None:
    if one.major < OLDEST:
        raise StoreError(f"{one.name} at {address} is too old: the store needs Redis {OLDEST} or Valkey; upgrade it")
    if one.mode == "sentinel":
        raise StoreError(f"{address} is a Sentinel; write redis+sentinel://HOST:26379/SERVICE")
    if one.mode == "cluster" and address.kind != CLUSTER:
        scheme = "rediss+cluster" if address.tls else "redis+cluster"
        raise StoreError(f"{address} is part of a Redis Cluster; write {scheme}:// instead")


def _facts(link: Link, shards: list[int]) -> list[ServerFacts]:
    """Returns each server once, in the order of the shards."""
    replies = link.execute(
        command
        for shard in shards
        for command in (Command(shard, ("INFO",)), Command(shard, ("CONFIG", "GET", "save")))
    )
    found: dict[str, ServerFacts] = {}
    for told, save in zip(replies[::2], replies[1::2], strict=True):
        if isinstance(told, Exception):
            raise told
        # CONFIG is forbidden to many users; then it is not known
        one = _facts_of(told.decode("utf-8", "replace"), None if isinstance(save, Exception) else save)
        found.setdefault(one.run_id, one)
    return list(found.values())


def _facts_of(text: str, save: Any) -> ServerFacts:
    pairs = (line.partition(":") for line in text.splitlines())
    info = {name: value for name, _, value in pairs}
    is_valkey = "valkey_version" in info or info.get("server_name") == "valkey"
    version = info.get("valkey_version" if is_valkey else "redis_version", "")
    first = re.match(r"[0-9]+", version)
    is_kept = True if info.get("aof_enabled") == "1" else None
    if is_kept is None and isinstance(save, list) and len(save) == 2:
        is_kept = bool(save[1])
    return ServerFacts(
        name=f"{'Valkey' if is_valkey else 'Redis'} {version}".rstrip(),
        run_id=info.get("run_id", ""),
        major=max(int(first[0]) if first else 0, OLDEST if is_valkey else 0),
        mode=info.get("redis_mode", info.get("server_mode", "")),
        policy=info.get("maxmemory_policy", "noeviction"),
        is_kept=is_kept,
    )


def _compare(found: Any, keys: Keys, address: RedisAddress) -> None:
    version, shards, page = (one.decode("ascii", "replace") if one is not None else "none" for one in found)
    where = f"{address} has data of other monitors under redis.prefix {keys.prefix}"
    other = "or set another redis.prefix for a fleet of its own"
    if version != str(FORMAT):
        raise StoreError(
            f"{where} in version {version} of their layout, and this one uses version {FORMAT}: run the same version "
            f"of heartfelt everywhere, {other}"
        )
    if shards != str(keys.shards):
        raise StoreError(f"{where} with {shards} shards, and redis.shards is {keys.shards}: set {shards} here, {other}")
    if page != str(SLOTS):
        raise StoreError(
            f"{where} with pages of {page} slots, and this one uses {SLOTS}: run the same version of heartfelt "
            f"everywhere, {other}"
        )
