# SPDX-License-Identifier: MIT
"""Providers of extra information that raise, hang, or return what they should not: the beats go on, and say so."""

from __future__ import annotations

import collections
import logging
import threading

import pytest

from heartfelt import ConfigError


def plugin(line):
    return line.head["pluginInfoMap"]["p"]


def failure(line):
    return line.head.get("extInfoFailures", {}).get("p")


def refreshed_often(line, times=8):
    """Waits until Python ran for the beats so often: at least one round of providers."""
    count = line.calls.count("refreshed") + times
    line.wait_for(lambda: line.calls.count("refreshed") >= count)


def test_what_a_quick_provider_says_is_in_the_first_beat(make_service):
    service = make_service(interval=30)
    service.set_ext_info("p", lambda: {"status": "started"})
    service.start()
    [line] = service.lines
    assert line.calls[:2] == ["set_head", "start"]
    assert line.heads[0]["pluginInfoMap"] == {
        "p": {"name": "p", "version": "unknown", "extInfo": {"status": "started"}}
    }
    assert "extInfoFailures" not in line.heads[0]


def test_it_is_called_for_each_beat(make_service):
    numbers = iter(range(10**6))
    service = make_service()
    service.set_ext_info("p", lambda: {"n": str(next(numbers))})
    service.start()
    [line] = service.lines
    line.wait_for(lambda: len(line.heads) >= 4)
    assert [int(head["pluginInfoMap"]["p"]["extInfo"]["n"]) for head in line.heads[:4]] == [0, 1, 2, 3]


def test_none_takes_the_information_away(make_service):
    answers = [{"a": "b"}]
    service = make_service()
    service.set_ext_info("p", lambda: answers[-1])
    service.start()
    [line] = service.lines
    line.wait_for(lambda: plugin(line).get("extInfo") == {"a": "b"})
    answers.append(None)
    line.wait_for(lambda: "extInfo" not in plugin(line))
    assert failure(line) is None
    service.set_ext_info("p", None)
    service.add_plugin("p", "2")
    line.wait_for(lambda: plugin(line) == {"name": "p", "version": "2"})


def test_a_later_provider_replaces_the_one_before(make_service):
    service = make_service()
    service.set_ext_info("p", lambda: {"from": "first"})
    service.start()
    service.set_ext_info("p", lambda: {"from": "second"})
    [line] = service.lines
    line.wait_for(lambda: plugin(line).get("extInfo") == {"from": "second"})


class Odd(Exception):
    def __str__(self):
        raise ValueError("no text")


def raising(error):
    def provider():
        raise error

    return provider


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        (raising(ValueError("boom")), "ValueError: boom"),
        (raising(ValueError()), "ValueError"),
        (raising(SystemExit(3)), "SystemExit: 3"),
        (raising(KeyboardInterrupt()), "KeyboardInterrupt"),
        (raising(Odd()), "Odd"),
        (raising(ValueError("\ud800")), "ValueError: ?"),
        (raising(ValueError("x" * 1000)), "ValueError: " + "x" * 185 + "..."),
        (lambda: ["a"], "it returned a list, not a mapping of str to str"),
        (lambda: "text", "it returned a str, not a mapping of str to str"),
        (lambda: {"a": 1}, "it returned a mapping that contains an int, not one of str to str"),
        (lambda: {b"a": "b"}, "it returned a mapping that contains a bytes, not one of str to str"),
        (lambda: {"a": "\ud800"}, "it returned text that is not valid Unicode: half of a surrogate pair"),
        (lambda: {"a": "ä" * 500}, "it returned 1009 bytes; at most 1000 are allowed (heartfelt.provider.limit)"),
    ],
)  # fmt: skip
def test_a_failure_keeps_the_last_good_value_and_says_why(make_service, caplog, provider, said):
    answers = [lambda: {"status": "good"}]
    service = make_service(provider_limit=1000)
    service.set_ext_info("p", lambda: answers[-1]())
    service.start()
    [line] = service.lines
    line.wait_for(lambda: plugin(line).get("extInfo") == {"status": "good"})
    answers.append(provider)
    line.wait_for(lambda: failure(line) is not None)
    assert (failure(line), plugin(line)["extInfo"]) == (said, {"status": "good"})
    line.wait_for(lambda: service.stats().provider_failures >= 3)  # it goes on to be called
    assert service.stats().last_provider_failure == f"p: {said}"
    answers.append(lambda: {"status": "good again"})
    line.wait_for(lambda: plugin(line)["extInfo"] == {"status": "good again"})
    assert failure(line) is None
    told = [(one.levelno, one.getMessage()) for one in caplog.records if "extra information" in one.getMessage()]
    assert (logging.WARNING, f"the provider of extra information for p failed: {said}") == told[0]
    assert len(told) == 1  # once, though it failed often; that it is good again is told at INFO


def test_mappings_need_be_no_dicts(make_service):
    service = make_service()
    service.set_ext_info("p", lambda: collections.ChainMap({"a": "b"}, {"c": "d"}))
    service.start()
    assert plugin(service.lines[0])["extInfo"] == {"a": "b", "c": "d"}


def test_a_provider_that_hangs_is_failed_and_not_called_again(make_service):
    let_go, calls = threading.Event(), []

    def hanging():
        calls.append(threading.current_thread())
        if len(calls) == 2:
            let_go.wait(30)
        return {"calls": str(len(calls))}

    service = make_service(provider_timeout=0.5)  # on a busy machine, too, one that does not hang answers within it
    service.set_ext_info("p", hanging)
    service.set_ext_info("q", lambda: {"q": "q"})
    service.start()
    [line] = service.lines
    line.wait_for(lambda: failure(line) is not None)
    assert (failure(line), plugin(line)["extInfo"]) == ("it did not return within 0.5 s", {"calls": "1"})
    refreshed_often(line)
    assert len(calls) == 2
    assert line.head["pluginInfoMap"]["q"]["extInfo"] == {"q": "q"}
    stats = service.stats()
    assert (stats.providers_hanging, stats.last_provider_failure) == (1, "p: it did not return within 0.5 s")
    assert all(thread.daemon for thread in calls)
    let_go.set()  # its answer comes too late, and is dropped; it is called anew
    line.wait_for(lambda: int(plugin(line)["extInfo"]["calls"]) > 2)
    assert failure(line) is None
    assert service.stats().providers_hanging == 0
    assert not any(head["pluginInfoMap"]["p"].get("extInfo") == {"calls": "2"} for head in line.heads)


def test_a_provider_that_hangs_from_the_start_delays_no_first_beat(make_service):
    let_go = threading.Event()
    service = make_service(interval=30)
    service.set_ext_info("p", lambda: {"late": str(let_go.wait(30))})
    service.start()
    [line] = service.lines
    assert "start" in line.calls
    assert plugin(line) == {"name": "p", "version": "unknown"}
    let_go.set()  # within the limit of 1 s: it is taken as soon as it is there, not only before the next beat
    line.wait_for(lambda: plugin(line).get("extInfo") == {"late": "True"} or failure(line))


def test_no_more_threads(make_service, monkeypatch):
    service = make_service()
    service.start()

    def fail(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    service.set_ext_info("p", dict)
    [line] = service.lines
    line.wait_for(lambda: failure(line) is not None)
    assert failure(line) == "RuntimeError: can't start new thread"


def test_what_is_no_provider_is_refused_at_once(make_service):
    service = make_service()
    for call, kind, said in [
        (lambda: service.set_ext_info("p", {"a": "b"}), TypeError, "provider must be callable"),
        (lambda: service.set_ext_info(5, dict), TypeError, "a plugin's name must be text; got 5"),
        (lambda: service.add_plugin(""), ConfigError, "a plugin's name must not be empty"),
        (lambda: service.add_plugin("p", "\n"), ConfigError, "a plugin's version must not contain control"),
        (lambda: service.add_external_agent("a", 1), TypeError, "an agent's version must be text; got 1"),
    ]:
        with pytest.raises(kind, match=said):
            call()
