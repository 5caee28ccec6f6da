# SPDX-License-Identifier: MIT
"""Nobody reaches the inside of a network by way of the monitor; and a call ends in time, whatever answers it."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

import msgspec

from heartfelt.monitor.webhooks.caller import Caller, CallLimits
from heartfelt.monitor.webhooks.guard import Blocked, check_address, check_url, lookup, socket_factory
from heartfelt.monitor.webhooks.notices import of_change, of_entry
from heartfelt.monitor.webhooks.targets import make_target
from tests.certificates import Certificates
from tests.monitor.webhooks.parts import START_MS, Hook, make_change

NOTICE = of_entry(of_change(make_change(7), False))
PUBLIC = ["1.1.1.1", "93.184.216.34", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
PRIVATE = [
    "127.0.0.1", "127.255.255.254", "::1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.1.1", "fe80::1", "fc00::1", "fd12::1", "fec0::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "2002:7f00:1::", "2002:a00:1::1", "0:0:0:0:0:ffff:c0a8:1",
]  # fmt: skip
NEVER = [
    "0.0.0.0", "0.1.2.3", "::", "224.0.0.1", "239.255.255.250", "255.255.255.255", "240.0.0.1", "ff02::1",
    "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::", "fd00:ec2::254",
    "100.100.100.200", "192.0.0.192", "169.254.170.2", "fe80::1%eth0", "fe80::1%25lo", "::7f00:1", "::127.0.0.1",
    "2001:db8::1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "192.88.99.1", "100::1", "2001::1",
    "not an address", "",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_called(address):
    assert check_address(address, allow_private=False) is None


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_may_be_called_if_allowed(address):
    assert "allow_private" in check_address(address, allow_private=False)
    assert check_address(address, allow_private=True) is None


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_called(address):
    assert check_address(address, allow_private=False) is not None
    assert check_address(address, allow_private=True) is not None


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "127.1", "0177.0.0.1", "127.0.0.1.", "0", "1.1.1.1.1", "[::1]", "[::]",
     "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "127.0.0.0x1", "1.1.1.256",
     "\uff11\uff12\uff17.0.0.1", "127\u30020\u30020\u30021", "user@1.1.1.1", "1.1.1.1\\@127.0.0.1",
     "1.1.1.1 .example.com"],
)  # fmt: skip
def test_hosts_that_are_addresses_in_disguise_are_refused_when_a_target_is_saved(host):
    assert check_url(f"https://{host}/hook", allow_private=False) is not None


@pytest.mark.parametrize("url", ["https://example.com/", "http://x.example:8080/a?b=c", "https://1.1.1.1/"])
def test_good_addresses(url):
    assert check_url(url, allow_private=False) is None


def caller(look_up=lookup, *, private=False, tls=None, **limits):
    return Caller(
        CallLimits(**limits), wall_ms=lambda: START_MS, allow_private=private, look_up=look_up, tls=tls
    )  # fmt: skip


def target(url, **fields):
    given = {"kind": "generic", "secret": "the-secret", **fields}
    return make_target({"url": url, **given}, now_ms=0, private=True)


def call(one, to, notice=NOTICE):
    async def run():
        try:
            return await one.call(to, notice)
        finally:
            await one.close()

    return asyncio.run(run())


def names(*answers):
    """A resolver that gives one answer after the other, the last one for ever."""
    asked = []

    async def look_up(host, port):
        asked.append(host)
        return list(answers[min(len(asked), len(answers)) - 1])

    look_up.asked = asked
    return look_up


@pytest.mark.parametrize(
    "answer", [["127.0.0.1"], ["1.1.1.1", "10.0.0.1"], ["::1"], ["169.254.169.254"], ["::ffff:7f00:1"]]
)
def test_a_name_that_means_a_private_address_is_refused(answer):
    found = call(caller(names(answer)), target("http://hook.example/"))
    assert found.blocked and not found.ok and found.status is None
    assert "address" in found.error


def test_a_name_that_means_another_address_a_moment_later_is_of_no_use():
    """Rebinding: public when it is first asked for, private from then on. It is asked once a call, and what was looked
    at is what is connected to."""

    async def run():
        async with Hook() as hook:
            look_up = names(["127.0.0.1"], ["169.254.169.254"])
            one = caller(look_up, private=True)
            there = target(f"http://hook.example:{hook.port}/")
            first = await one.call(there, NOTICE)
            asked = len(look_up.asked)
            second = await one.call(there, NOTICE)
            await one.close()
            return first, asked, second, hook.requests

    first, asked, second, requests = asyncio.run(run())
    assert first.ok and asked == 1
    assert second.blocked and len(requests) == 1
    assert requests[0]["headers"]["host"].startswith("hook.example:")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/", "http://[::1]:9/", "http://10.0.0.1:9/", "http://[::ffff:7f00:1]:9/"]
)
def test_an_address_that_is_no_name_is_looked_at_when_the_connection_is_made(url):
    """As when a target was saved while private addresses were allowed to all."""
    found = call(caller(), target(url))
    assert found.blocked and "allow_private" in found.error


def test_an_address_in_disguise_is_refused_by_the_connection_too():
    for host in ("2130706433", "127.1", "0x7f.1"):
        there = target("http://example.com/")
        found = call(caller(), msgspec.structs.replace(there, url=f"http://{host}:9/"))
        assert not found.ok and not found.reached and found.status is None


def test_no_socket_is_made_for_a_refused_address():
    info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))
    with pytest.raises(Blocked):
        socket_factory(allow_private=False)(info)
    socket_factory(allow_private=True)(info).close()


def against(answer, *, kind="generic", **limits):
    async def run():
        async with Hook(answer if callable(answer) else lambda request: answer) as hook:
            one = caller(private=True, **limits)
            try:
                return await one.call(target(hook.url, kind=kind, allow_private=True), NOTICE), hook.requests
            finally:
                await one.close()

    return asyncio.run(run())


def test_redirects_are_not_followed():
    found, requests = against((302, {"Location": "http://127.0.0.1:1/"}, b""))
    assert (found.ok, found.status, len(requests)) == (False, 302, 1)
    assert found.error == "redirects are not followed"


@pytest.mark.parametrize("what", ["hang", "drip"])
def test_who_hangs_or_drips_is_left_in_time(what):
    found, requests = against(what, total_s=2)
    assert not found.ok and not found.reached and len(requests) == 1
    assert found.error == "no complete answer within 2 s"


def test_an_answer_without_end_is_read_up_to_the_limit():
    found, _ = against("endless", kind="dingtalk", total_s=20)
    assert found.status == 200 and found.ok  # no documented error is in it


def test_an_answer_that_unpacks_to_a_lot_is_not_unpacked():
    found, _ = against((200, {"Content-Encoding": "gzip"}, gzip.compress(b"x" * 10_000_000)))
    assert found.ok and len(found.excerpt) <= 500


@pytest.mark.parametrize(
    ("what", "error"),
    [("close", "the connection was closed without an answer"), ("rubbish", "the answer is not HTTP")],
)
def test_what_is_no_answer(what, error):
    found, _ = against(what)
    assert (found.ok, found.reached, found.status, found.error) == (False, False, None, error)


def test_a_closed_port_is_told_in_words():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        found = call(caller(private=True), target(f"http://127.0.0.1:{port}/x"))
    assert not found.reached and "refused" in found.error


def test_a_name_that_is_not_known_and_a_name_server_that_hangs():
    async def unknown(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def hangs(host, port):
        await asyncio.Event().wait()

    assert call(caller(unknown), target("http://a.example/")).error == "the host name cannot be resolved"
    found = call(caller(hangs, connect_s=0.1), target("http://a.example/"))
    assert not found.reached and "in time" in found.error


def test_the_systems_resolver_is_asked():
    assert set(asyncio.run(lookup("localhost", 80))) <= {"127.0.0.1", "::1"}
    with pytest.raises(OSError):
        asyncio.run(lookup("x" * 300 + ".invalid", 80))


def test_retry_after_is_heeded_within_bounds():
    assert against((429, {"Retry-After": "120"}, b""))[0].retry_after_s == 120
    assert against((503, {"Retry-After": "999999"}, b""))[0].retry_after_s == 3600
    assert against((503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, b""))[0].retry_after_s is None
    assert against((400, {"Retry-After": "5"}, b""))[0].retry_after_s is None


def test_what_a_server_sends_back_is_told_without_secrets():
    def echo(request):
        return 500, {}, f"you sent {request['line']} {request['headers']['host']} the-secret".encode()

    found, requests = against(echo)
    assert "query-key-456" in requests[0]["line"]
    for text in (found.excerpt, found.text(), found.error):
        assert "query-key" not in text and "path-key" not in text and "the-secret" not in text
    assert found.excerpt.startswith("you sent POST")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("certificates"))


def test_certificates_are_checked(certificates):
    async def run(tls, name):
        async with Hook(tls=certificates.server_context()) as hook:
            one = caller(names(["127.0.0.1"]), private=True, tls=tls)
            try:
                return await one.call(target(f"https://{name}:{hook.port}/"), NOTICE)
            finally:
                await one.close()

    good = ssl.create_default_context(cafile=str(certificates.ca))
    assert asyncio.run(run(good, "localhost")).ok
    assert "TLS" in asyncio.run(run(None, "localhost")).error  # not signed by anybody the system knows
    wrong_name = asyncio.run(run(ssl.create_default_context(cafile=str(certificates.ca)), "other.example"))
    assert not wrong_name.ok and wrong_name.error.startswith("TLS: Hostname mismatch")
