# SPDX-License-Identifier: MIT
"""keys(), items(), values(): one pass over the hub, whatever joins, times out or is removed meanwhile."""

from collections.abc import ItemsView, KeysView, Set, ValuesView

import pytest

from heartfelt import KeyNotWatched, _views
from heartfelt._rows import Listing

VIEWS = ["keys", "items", "values"]
READINGS = {
    "iteration": list,
    "keys": lambda hub: list(hub.keys()),
    "items": lambda hub: [key for key, _ in hub.items()],
    "values": lambda hub: [watch.key for watch in hub.values()],
    "snapshot": lambda hub: hub.snapshot()["key"].tolist(),
}


@pytest.fixture(params=READINGS)
def reading(request):
    if request.param == "snapshot":
        pytest.importorskip("numpy")
    return READINGS[request.param]


@pytest.fixture
def between_pieces(monkeypatch):
    """between_pieces(work): work() runs once, after the first page of a pass, in which each page is a piece."""

    def run(work):
        class Meddling(Listing):
            def keys(self, n_pages):
                return self.meddle(super().keys(n_pages))

            def rows(self, n_pages):
                return self.meddle(super().rows(n_pages))

            def meddle(self, found):
                if todo:
                    assert not self.done
                    todo.pop()()
                return found

        todo = [work]
        monkeypatch.setattr(_views, "PAGES_AT_ONCE", 1)
        monkeypatch.setattr(_views, "Listing", Meddling)
        return todo

    return run


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("how", ["time out", "are removed"])
def test_keys_that_go_during_an_iteration_do_not_end_it(hub, clock, view, how):
    hub.heartbeat_many(["a", "b", "c"])
    iterator = iter(getattr(hub, view)())
    next(iterator)
    if how == "time out":
        clock.advance(11)
    else:
        for key in ["a", "b", "c"]:
            hub.remove(key)
    assert len(hub) == 0
    assert len(list(iterator)) == 2


def test_an_iteration_shows_what_was_when_it_began(hub):
    hub.heartbeat("a", extra="old")
    iterators = [iter(hub), iter(hub.keys()), iter(hub.items()), iter(hub.values())]
    hub.heartbeat("a", extra="new")
    hub.heartbeat("b")
    assert [len(list(iterator)) for iterator in iterators[:2]] == [1, 1]
    assert [(key, watch.extra) for key, watch in iterators[2]] == [("a", "old")]
    assert [watch.extra for watch in iterators[3]] == ["old"]


def test_a_key_that_leaves_and_joins_again_during_a_pass_is_listed_once(hub, reading, between_pieces):
    """It joins in another slot, which the pass has yet to come to."""
    hub.heartbeat_many(range(200))

    def leave_and_join():
        hub.remove(0)
        hub.heartbeat("takes the slot of 0")
        hub.heartbeat(0)

    todo = between_pieces(leave_and_join)
    found = reading(hub)
    assert todo == []
    assert sorted(key for key in found if key != "takes the slot of 0") == list(range(200))


def test_the_newer_life_of_such_a_key_is_listed(hub, clock, between_pieces):
    hub.heartbeat_many(range(200))

    def leave_and_join():
        clock.advance(1)
        hub.remove(0)
        hub.heartbeat("takes the slot of 0")
        hub.heartbeat(0)

    between_pieces(leave_and_join)
    (watch,) = [watch for watch in hub.values() if watch.key == 0]
    assert (watch.join_time, watch.deadline) == (1, 11)


def test_keys_that_go_during_a_pass_cost_the_others_nothing(hub, clock, reading, between_pieces):
    hub.heartbeat_many(range(1000), timeout=20)
    hub.heartbeat_many(range(1000, 2000), timeout=1)

    def go():
        clock.advance(1)
        for key in range(64, 500):
            hub.remove(key)

    todo = between_pieces(go)
    found = reading(hub)
    assert todo == []
    assert sorted(found) == [*range(64), *range(500, 1000)]


def test_equal_bytes_of_two_types_are_two_keys_though_python_refuses_to_compare_them(run_python):
    """Once a key may be there twice, keys are compared."""
    found = run_python(
        """
        from heartfelt import HeartHub
        from heartfelt.testing import ManualClock
        hub = HeartHub(100, clock=ManualClock())
        hub.heartbeat_many(["1", b"1", 1])
        print(len(list(hub)), len(list(hub.values())))
        """,
        "-bb",
    )
    assert found == "3 3\n"


def test_views_are_a_mappings_views(hub):
    hub.heartbeat_many(["a", "b"])
    kinds = {"keys": (KeysView, Set), "items": (ItemsView, Set), "values": (ValuesView,)}
    for name, wanted in kinds.items():
        view = getattr(hub, name)()
        assert [kind for kind in (KeysView, ItemsView, ValuesView, Set) if isinstance(view, kind)] == list(wanted)
        assert len(view) == 2
        assert list(view) == list(view)
        assert len(list(view)) == 2
        assert "2 keys" in repr(view)
    view = hub.keys()
    hub.heartbeat("c")
    assert (len(view), sorted(view)) == (3, ["a", "b", "c"])


def test_what_a_view_contains(hub):
    hub.heartbeat("a", extra=[1])
    watch = hub["a"]
    assert "a" in hub.keys()  # noqa: SIM118
    assert "b" not in hub.keys()  # noqa: SIM118
    assert ("a", watch) in hub.items()
    assert watch in hub.values()
    for other in [("a", 1), ("b", watch), "a", ("a", watch, 1), None]:
        assert other not in hub.items()
    hub.heartbeat("a", extra=[2])
    assert ("a", watch) not in hub.items()
    assert watch not in hub.values()


OTHERS = {
    "empty": set(),
    "smaller": {"a"},
    "equal": {"a", "b"},
    "larger": {"a", "b", "c"},
    "apart": {"c"},
    "no keys": {1.5, None},
    "frozen": frozenset("ab"),
    "a dict's": dict.fromkeys("ab").keys(),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_set_operations_on_keys_are_those_of_a_set(hub, other):
    hub.heartbeat_many(["a", "b"])
    view, plain, other_set = hub.keys(), {"a", "b"}, set(other)
    assert (view & other, other & view) == (plain & other_set,) * 2
    assert (view | other, other | view) == (plain | other_set,) * 2
    assert (view ^ other, other ^ view) == (plain ^ other_set,) * 2
    assert (view - other, other - view) == (plain - other_set, other_set - plain)
    assert (view < other, view <= other, view == other) == (plain < other_set, plain <= other_set, plain == other_set)
    assert (view > other, view >= other, view != other) == (plain > other_set, plain >= other_set, plain != other_set)
    assert (other < view, other <= view, other == view) == (other_set < plain, other_set <= plain, other_set == plain)
    assert view.isdisjoint(other) == plain.isdisjoint(other_set)
    assert view & list(other) == plain & other_set
    assert list(other) - view == other_set - plain


def test_views_of_two_hubs_are_compared_by_what_they_hold(make_hub):
    one, other = make_hub(), make_hub()
    one.heartbeat_many(["a", "b"])
    other.heartbeat_many(["b", "a"])
    assert one.keys() == other.keys()
    assert one.items() == other.items()
    assert one.keys() <= other.keys()
    assert one.items() & other.items() == set(one.items())
    other.remove("a")
    assert one.keys() > other.keys()
    assert one.keys() - other.keys() == {"a"}
    assert one.items() != other.items()
    assert one.keys() != ["a", "b"]


def test_items_whose_extras_have_no_hash_are_compared_all_the_same(make_hub):
    one, other = make_hub(), make_hub()
    for hub in (one, other):
        hub.heartbeat("a", extra={"rack": 7})
    assert one.items() == other.items()
    other.heartbeat("a", extra={"rack": 8})
    assert not one.items() <= other.items()


def test_a_view_has_no_hash_and_no_order_with_what_is_no_set(hub):
    for view in (hub.keys(), hub.items()):
        with pytest.raises(TypeError, match="unhashable"):
            hash(view)
        with pytest.raises(TypeError, match="Hub"):
            view < ["a"]  # noqa: B015


def test_a_copy_is_the_dict_of_the_items(hub):
    hub.heartbeat_many(["a", b"a", 1])
    assert dict(hub.items()) == {"a": hub["a"], b"a": hub[b"a"], 1: hub[1]} == dict(hub)


def test_a_look_up_of_a_key_that_left_names_what_does_not_raise(hub):
    with pytest.raises(KeyNotWatched, match=r"hub.get\(key\).*dict\(hub.items\(\)\)"):
        hub["a"]


def test_views_of_a_closed_hub_still_tell_what_it_watched(hub):
    hub.heartbeat("a")
    hub.close()
    assert list(hub.items()) == [("a", hub["a"])]
    assert hub.keys() == {"a"}
