# SPDX-License-Identifier: MIT
"""Documents of the fleet are written again by the first monitor that finds them gone."""

from __future__ import annotations

import logging

import pytest

from heartfelt.errors import StoreError
from heartfelt.monitor.store.redis.documents import delete_document, documents, put_document
from heartfelt.monitor.store.redis.fleet_copy import FleetCopy
from heartfelt.monitor.store.redis.link import FLEET
from tests.monitor.redis.leasing import Fleet


@pytest.fixture
def fleet(redis_server):
    made = Fleet(redis_server.port)
    yield made
    made.close()


def copy_of(fleet, link):
    return FleetCopy(link, fleet.keys, logging.getLogger("heartfelt.monitor.store"))


def empty(fleet):
    fleet.client.delete(*fleet.client.scan_iter(f"{fleet.keys.prefix}:*", count=10_000))


def test_documents_are_written_again_before_anybody_reads_that_there_are_none(fleet, redis_server, link_to, caplog):
    link = link_to(redis_server.url)
    put_document(link, fleet.keys, "token", "one", {"a": 1})
    put_document(link, fleet.keys, "webhook", "two", [2])
    ours, theirs = copy_of(fleet, link), copy_of(fleet, link)
    ours.numbered(7)
    for one in (ours, theirs):
        assert one.look("token").keys() == {b"one"}
    empty(fleet)
    assert theirs.look("other") == {}
    assert theirs.emptied == 1
    assert ours.look("token").keys() == {b"one"}
    assert documents(link, fleet.keys, "webhook") == {"two": [2]}
    assert link.call(FLEET, "HGET", fleet.keys.fleet("cfg"), "shards") == b"2"
    assert [record.getMessage() for record in caplog.records] == [
        "Redis was emptied: this monitor has written 2 documents (tokens, webhooks) again",
        "Redis was emptied: another monitor has written the documents (tokens, webhooks) again",
    ]
    assert int(link.call(FLEET, "GET", fleet.keys.fleet("numbers"))) == 7


def test_what_is_deleted_afterwards_does_not_come_back(fleet, redis_server, link_to):
    link = link_to(redis_server.url)
    put_document(link, fleet.keys, "token", "one", 1)
    ours, theirs = copy_of(fleet, link), copy_of(fleet, link)
    ours.look()
    theirs.look()
    empty(fleet)
    ours.look()
    delete_document(link, fleet.keys, "token", "one")
    assert theirs.look("token") == {}
    assert ours.look("token") == {}


def test_a_monitor_that_starts_meanwhile_knows_nothing_and_takes_nothing_for_whole(fleet, redis_server, link_to):
    link = link_to(redis_server.url)
    put_document(link, fleet.keys, "token", "one", 1)
    ours = copy_of(fleet, link)
    ours.look()
    empty(fleet)
    new = copy_of(fleet, link)
    assert new.look("token") == {}
    assert (new.emptied, new.lost_after_ms) == (0, None)
    assert ours.look("token").keys() == {b"one"}
    assert new.look("token").keys() == {b"one"}


def test_it_is_emptied_again_and_again(fleet, redis_server, link_to):
    link = link_to(redis_server.url)
    ours = copy_of(fleet, link)
    put_document(link, fleet.keys, "token", "one", 1)
    ours.look()
    for n in range(3):
        ours.put("token", b"%d" % n, b"1")
        empty(fleet)
        assert len(ours.look("token")) == n + 2
    ours.put("token", b"0", None)
    empty(fleet)
    assert ours.look("token").keys() == {b"one", b"1", b"2"}
    assert ours.emptied == 4


def test_a_redis_that_cannot_be_read_is_not_taken_for_empty(fleet):
    link = fleet.link()
    put_document(link, fleet.keys, "token", "one", 1)
    ours = copy_of(fleet, link)
    ours.look()
    link.lose = lambda command: True
    with pytest.raises(StoreError):
        ours.look()
    link.lose = None
    assert ours.look("token").keys() == {b"one"}
    assert ours.emptied == 0
