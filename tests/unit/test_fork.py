# SPDX-License-Identifier: MIT
"""After a fork the hub goes on in the parent, and is closed in the child, where nothing hangs."""

from __future__ import annotations

import os
import queue
import sys
import warnings

import pytest

from heartfelt import EventType, HeartHub, HubClosed

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")


def status_of_child(run) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of a fork beside any thread
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            run()
            status = 0
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_in_the_child_the_hub_is_closed():
    with HeartHub(60) as hub:
        hub.heartbeat("key")
        heart = hub.heart("key")

        def child():
            for use in (heart.beat, lambda: hub.heartbeat("key"), lambda: hub.remove("key"), hub.events.get):
                with pytest.raises(HubClosed):
                    use()
            assert hub.closed and len(hub) == 0 and "key" not in hub
            hub.close()

        assert status_of_child(child) == 0
        hub.heartbeat("key")


def test_what_waits_is_the_parents_alone():
    with HeartHub(0.01) as hub:
        hub.heartbeat("key")
        descriptor = hub.events.fileno()
        assert hub.events.get(timeout=30).key == "key"
        hub.heartbeat("again")

        def child():
            with pytest.raises(HubClosed):
                hub.events.get(timeout=30)

        assert status_of_child(child) == 0
        assert hub.events.get(timeout=30).key == "again"
        assert hub.events.fileno() == descriptor
        with pytest.raises(queue.Empty):
            hub.events.get_nowait()


def test_the_child_ends_with_callbacks_and_its_own_hub():
    seen = []
    with HeartHub(60, on_event=seen.append, subscribe={EventType.JOIN}, verbose=True) as hub:

        def child():
            hub.close()
            with HeartHub(0.01) as own:
                own.heartbeat("of the child")
                assert own.events.get(timeout=30).key == "of the child"

        assert status_of_child(child) == 0
        hub.heartbeat("of the parent")
    assert [event.key for event in seen] == ["of the parent"]
