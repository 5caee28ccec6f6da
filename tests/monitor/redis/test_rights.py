# SPDX-License-Identifier: MIT
"""The rights of the user with which a monitor uses Redis."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from heartfelt.errors import StoreError
from heartfelt.monitor import store as package
from heartfelt.monitor.store.redis.address import parse_address
from heartfelt.monitor.store.redis.keys import Keys
from tests.monitor.redis.storing import a_prefix

pytest.importorskip("redis")
from heartfelt.monitor.store.redis.configuration import check
from heartfelt.monitor.store.redis.rights import TRIED

MONITOR = Path(package.__file__).parents[1]
NOT_FOR_KEYS = {"ASKING", "CLUSTER", "CONFIG", "EVALSHA", "INFO", "READONLY", "ROLE", "SCRIPT", "SENTINEL"}
DOCUMENTED = "resetchannels +@all -@admin -@dangerous +info +role +cluster|info +cluster|slots +config|get"


@pytest.fixture
def check_as(redis_server, link_to):
    """check_as(rights): checks as a user with these rights, and those for the keys of a prefix."""
    made = []

    def run(rights, keys=None):
        user, prefix = f"user{len(made)}", a_prefix()
        made.append(user)
        pattern = f"~{prefix}:*" if keys is None else keys
        redis_server.ask("ACL", "SETUSER", user, "reset", "on", ">secret", pattern, *rights.split())
        url = redis_server.url.replace("//", f"//{user}:secret@")
        try:
            check(link_to(url), Keys(prefix, 4), parse_address(url))
        finally:
            assert not [key for key in redis_server.ask("KEYS", f"{prefix}*") if key.endswith(b":rights")]

    yield run
    for user in made:
        redis_server.ask("ACL", "DELUSER", user)


def test_the_documented_rights_are_enough(check_as):
    text = (MONITOR.parents[2] / "docs" / "redis.md").read_text("utf-8")
    assert DOCUMENTED.removeprefix("resetchannels ") in text
    check_as(DOCUMENTED)


def test_all_that_are_missing_are_named(check_as):
    with pytest.raises(StoreError, match=r"user0 lacks rights .*: ACL SETUSER user0 \+xadd \+zadd$"):
        check_as("+@all -xadd -zadd")


@pytest.mark.parametrize("one", [part.split()[0] for part in TRIED.split("|")])
def test_each_is_noticed(check_as, one):
    with pytest.raises(StoreError, match=rf" \+{one.lower()}( |$)"):
        check_as(f"+@all -{one.lower()}")


def test_a_user_with_other_keys_is_told_the_pattern(check_as):
    with pytest.raises(StoreError, match=r"let it use those of this fleet: ~[a-z0-9-]+:\*$"):
        check_as("+@all", "~other:*")


def test_every_command_that_the_sources_have_is_tried(redis_server):
    found = set()
    for path in sorted(MONITOR.rglob("*")):
        if path.suffix not in (".lua", ".py") or path.name == "rights.py" or not {"redis", "cluster"} & {*path.parts}:
            continue
        text = path.read_text("utf-8")
        found |= set(re.findall(r"redis\.p?call\(\s*'([A-Z]+)'", text))
        if path.suffix == ".py":
            found |= set(re.findall(r'\(\s*"([A-Z]{3,})",', text))
            found |= set(re.findall(r'\.call\([^"()]*,\s*"([A-Z]{3,})"', text))
    found &= {name.decode().upper() for name in redis_server.ask("COMMAND", "LIST")}  # other words are none of Redis
    assert found - NOT_FOR_KEYS == {part.split()[0] for part in TRIED.split("|")}
