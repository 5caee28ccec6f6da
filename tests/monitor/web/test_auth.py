# SPDX-License-Identifier: MIT
"""Tokens: what they allow, and what is kept of them."""

from __future__ import annotations

import asyncio
import json

import pytest

from heartfelt import ConfigError
from heartfelt.errors import StoreError
from heartfelt.monitor.web.auth import Auth, Scope, TokenUnknown, make_token


class Documents:
    """The part of a store that holds tokens."""

    def __init__(self):
        self.rows = {}
        self.broken = False
        self.on_read = self.on_delete = None

    async def documents(self, kind):
        if self.broken:
            raise StoreError("the disk is gone")
        rows = dict(self.rows)
        if self.on_read:
            await self.on_read()
        return rows

    async def put_document(self, kind, name, value):
        self.rows[name] = value

    async def delete_document(self, kind, name):
        if self.on_delete:
            await self.on_delete()
        return self.rows.pop(name, None) is not None


@pytest.fixture
def store():
    return Documents()


def make(store, **options):
    return Auth(store, wall_ms=lambda: 1000, **({"needed": True} | options))


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [(["ingest"], {"ingest"}), (["read"], {"read"}), (["admin"], {"ingest", "read", "admin"}),
     (["ingest", "read"], {"ingest", "read"})],
)  # fmt: skip
def test_a_token_allows_its_scopes_alone_and_an_administrators_all(store, scopes, allowed):
    auth = make(store)
    secret, _ = asyncio.run(auth.create("t", scopes))
    assert {scope.value for scope in Scope if auth.allows(secret, scope)} == allowed


def test_what_is_stored_and_shown_is_not_the_secret(store):
    auth = make(store)
    secret, token = asyncio.run(auth.create("t", ["read"]))
    kept = json.dumps(store.rows) + json.dumps(token.shown()) + repr(auth.stats())
    assert secret not in kept
    assert secret.rsplit("_", 1)[1] not in kept
    assert token.id in secret
    assert len(secret) >= 43 + 12  # 256 random bits


def test_wrong_tokens_are_refused_and_counted(store):
    auth = make(store)
    secret, token = asyncio.run(auth.create("t", ["read"]))
    other, _ = make_token("t", ["admin"], 0)
    mixed = f"hf_{token.id}_{other.rsplit('_', 1)[1]}"
    wrong = [None, "", "x", secret[:-1], secret + "a", other, mixed, secret.upper(), "hf_" + "é" * 43]
    assert [auth.allows(one, "read") for one in wrong] == [False] * len(wrong)
    assert auth.refused == len(wrong)
    assert auth.allows(secret, "read")


def test_where_none_is_needed_nothing_is_asked(store):
    assert make(store, needed=False).allows(None, "admin")


def test_agents_over_tcp_may_be_let_in_without(store):
    assert make(store, tcp_needed=False).allows_tcp(None, "ingest")
    assert not make(store, tcp_needed=True).allows_tcp(None, "ingest")
    assert not make(store, tcp_needed=False).allows(None, "ingest")


def test_what_another_process_stores_or_deletes_holds_after_a_reload(store):
    auth = make(store)
    secret, token = asyncio.run(make(store).create("t", ["read"]))
    assert not auth.allows(secret, "read")
    asyncio.run(auth.reload())
    assert auth.allows(secret, "read")
    del store.rows[token.id]
    asyncio.run(auth.reload())
    assert not auth.allows(secret, "read")


def test_tokens_stay_valid_while_the_store_cannot_be_read(store):
    auth = make(store)
    secret, _ = asyncio.run(auth.create("t", ["read"]))
    store.broken = True
    asyncio.run(auth.reload())
    assert auth.allows(secret, "read")
    assert auth.stats()["reload_failures"] == 1


def test_a_damaged_document_is_no_token_and_no_end(store):
    secret, _ = asyncio.run(make(store).create("t", ["read"]))
    store.rows["bad"] = {"id": 5}
    auth = make(store)
    asyncio.run(auth.reload())
    assert auth.allows(secret, "read")
    assert len(auth.tokens()) == 1


def test_a_reload_that_read_before_a_revocation_does_not_undo_it(store):
    auth = make(store)

    async def scenario():
        secret, token = await auth.create("t", ["read"])

        async def revoke():
            store.on_read = None
            await auth.revoke(token.id)

        store.on_read = revoke
        await auth.reload()
        return secret

    assert not auth.allows(asyncio.run(scenario()), "read")


def test_a_reload_while_the_store_forgets_a_token_does_not_make_it_valid_again(store):
    auth = make(store)

    async def scenario():
        secret, token = await auth.create("t", ["read"])
        store.on_delete = auth.reload
        await auth.revoke(token.id)
        return secret

    assert not auth.allows(asyncio.run(scenario()), "read")


def test_a_revocation_that_the_store_does_not_take_is_told_and_undone(store):
    auth = make(store)

    async def scenario():
        secret, token = await auth.create("t", ["read"])

        async def fail():
            raise StoreError("the disk is gone")

        store.on_delete = fail
        with pytest.raises(StoreError):
            await auth.revoke(token.id)
        refused = not auth.allows(secret, "read")
        await auth.reload()
        return refused, auth.allows(secret, "read")

    assert asyncio.run(scenario()) == (True, True)


def test_who_has_let_somebody_in_is_told_to_ask_again_when_a_token_goes_and_only_then(store):
    auth = make(store)
    asked = []
    auth.on_revoked.append(lambda: asked.append(len(auth.tokens())))

    async def scenario():
        _, one = await auth.create("one", ["read"])
        _, two = await auth.create("two", ["ingest"])
        await auth.reload()
        assert asked == []
        await auth.revoke(one.id)
        await auth.reload()
        assert asked == [1]
        store.rows[two.id] = store.rows[two.id] | {"scopes": ["read"]}  # by another process
        await auth.reload()
        assert asked == [1, 1]
        del store.rows[two.id]
        await auth.reload()
        assert asked == [1, 1, 0]

    asyncio.run(scenario())


def test_revoked_is_revoked(store):
    auth = make(store)
    secret, token = asyncio.run(auth.create("t", ["read"]))
    asyncio.run(auth.revoke(token.id))
    assert not auth.allows(secret, "read")
    assert store.rows == {}
    with pytest.raises(TokenUnknown, match=token.id):
        asyncio.run(auth.revoke(token.id))


@pytest.mark.parametrize(("name", "scopes"), [("", ["read"]), ("a\nb", ["read"]), ("t", []), ("t", ["all"])])
def test_names_and_scopes_are_checked(name, scopes):
    with pytest.raises(ConfigError):
        make_token(name, scopes, 0)


def test_what_was_read_first_is_not_taken_last(store):
    """A read begins, a token is created elsewhere, and a second read begins: the first one does not bring back the old
    tokens."""
    auth, elsewhere = make(store), make(store)

    async def main():
        began, goes_on = asyncio.Event(), asyncio.Event()

        async def slow():
            store.on_read = None
            began.set()
            await goes_on.wait()

        store.on_read = slow
        first = asyncio.create_task(auth.reload())
        await began.wait()
        secret, _ = await elsewhere.create("t", ["read"])
        second = asyncio.create_task(auth.reload())
        await asyncio.sleep(0)
        goes_on.set()
        await asyncio.gather(first, second)
        return secret

    assert auth.allows(asyncio.run(main()), "read")


def test_the_others_are_told_of_what_is_stored(store):
    auth = make(store)
    told = []

    async def tell():
        told.append(set(store.rows))

    auth.tell_others = tell
    _, token = asyncio.run(auth.create("t", ["read"]))
    asyncio.run(auth.revoke(token.id))
    assert told == [{token.id}, set()]
