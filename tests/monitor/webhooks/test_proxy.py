# SPDX-License-Identifier: MIT
"""Webhooks through an outbound proxy: a real one on loopback, which resolves names as it likes."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from yarl import URL

from heartfelt import ConfigError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.build import make_webhook_settings
from heartfelt.monitor.webhooks.caller import Caller, CallLimits
from heartfelt.monitor.webhooks.proxy import check_name, make_proxies
from tests.certificates import Certificates
from tests.monitor.webhooks.parts import START_MS
from tests.monitor.webhooks.test_guard import NOTICE, target

LONG_S = 20
HOST = "hook.example"


class Loopback:
    """A proxy, and a target behind it: whatever name is asked for, the proxy connects to the target."""

    def __init__(self, *, tls=None, credentials=None, answer=None, hangs=False):
        self._tls, self._answer, self._hangs = tls, answer, hangs
        self._wanted = None if credentials is None else "Basic " + base64.b64encode(credentials.encode()).decode()
        self.asked = []  # first lines, as the proxy gets them
        self.heads = []  # heads, as the target gets them
        self._tasks = set()

    async def __aenter__(self):
        self._target = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self._plain = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._proxy = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = self._proxy.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        for server in (self._target, self._plain, self._proxy):
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK")
            await writer.drain()

    async def _pass(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            self.asked.append(first)
            if self._hangs:
                await asyncio.Event().wait()
            given = [line.partition(": ")[2] for line in lines if line.lower().startswith("proxy-authorization:")]
            if self._wanted is not None and given != [self._wanted]:
                writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            elif self._answer is not None:
                writer.write(b"HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % self._answer)
            else:
                connects = first.startswith("CONNECT ")
                server = self._target if connects else self._plain
                inside = await asyncio.open_connection(*server.sockets[0].getsockname())
                if connects:
                    writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                else:
                    inside[1].write(head)
                await asyncio.gather(_copy(reader, inside[1]), _copy(inside[0], writer))
            await writer.drain()


async def _copy(reader, writer):
    with contextlib.closing(writer), contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("proxy"))


async def no_lookup(host, port):
    raise AssertionError(f"{host} was looked up here")


async def call(url, proxies, *, look_up=no_lookup, tls=None, private=False, **limits):
    one = Caller(
        CallLimits(**limits), wall_ms=lambda: START_MS, allow_private=private, proxies=proxies, look_up=look_up, tls=tls
    )
    try:
        return await one.call(target(url), NOTICE)
    finally:
        await one.close()


def through(port, *, user="", own_names=()):
    return make_proxies(f"http://{user}127.0.0.1:{port}", own_names=own_names)


@pytest.mark.parametrize("user", ["", "me:a%20secret@"])
def test_a_target_with_tls_is_called_through_a_tunnel(certificates, user):
    async def main():
        credentials = "me:a secret" if user else None
        async with Loopback(tls=certificates.server_context(), credentials=credentials) as world:
            tls = certificates.client_context()
            proxies = through(world.port, user=user)
            refused = await call("https://localhost/hook?key=abcdef", proxies, tls=tls)
            assert refused.blocked and world.asked == []
            found = await call("https://localhost/hook?key=abcdef", proxies, tls=tls, private=True)
            assert found.ok, found
            assert world.asked == ["CONNECT localhost:443 HTTP/1.1"]  # neither path nor key
            assert world.heads[0].startswith("POST /hook?key=abcdef HTTP/1.1")
            assert "proxy-auth" not in world.heads[0].lower()
            wrong = await call(f"https://{HOST}/hook", proxies, tls=tls)
            assert "TLS: " in wrong.error and "certificate is not valid for" in wrong.error
            assert world.asked[1] == f"CONNECT {HOST}:443 HTTP/1.1"

    asyncio.run(main())


def test_a_target_without_tls_is_called_through_the_proxy():
    async def main():
        async with Loopback(credentials="me:secret") as world:
            found = await call(f"http://{HOST}:8080/hook", through(world.port, user="me:secret@"))
            assert found.ok, found
            assert world.asked == [f"POST http://{HOST}:8080/hook HTTP/1.1"]

    asyncio.run(main())


NO_USER = ({"credentials": "me:right"}, "", "asks for a user and a password (407)", "http://USER:PASSWORD@")
WRONG = ({"credentials": "me:right"}, "me:wrong-one@", "does not take this user and password (407)", "webhooks.proxy")
REFUSES = ({"answer": b"403 No"}, "me:wrong-one@", "answers 403", "let the proxy connect to hook.example:443")
HANGS = ({"hangs": True}, "", "in time", "webhooks.proxy")


@pytest.mark.parametrize(
    ("scheme", "how"),
    [("http", NO_USER), ("http", WRONG), ("https", NO_USER), ("https", WRONG), ("https", REFUSES), ("https", HANGS)],
)
def test_what_the_proxy_refuses_names_it_and_the_remedy(certificates, scheme, how):
    options, user, error, remedy = how

    async def main():
        async with Loopback(**options) as world:
            found = await call(
                f"{scheme}://{HOST}/hook", through(world.port, user=user), tls=certificates.client_context(),
                connect_s=0.3 if options.get("hangs") else LONG_S, total_s=LONG_S,
            )  # fmt: skip
            assert not found.ok and not found.reached and not found.refused
            assert f"proxy 127.0.0.1:{world.port} " in found.error and error in found.error
            assert remedy in found.remedy
            assert "wrong-one" not in json.dumps(found.view()) + found.text()
            assert world.heads == []

    asyncio.run(main())


def test_a_proxy_that_is_not_there():
    async def main():
        async with Loopback() as world:
            port = world.port
        found = await call(f"https://{HOST}/", through(port))
        assert found.error == f"the proxy 127.0.0.1:{port} cannot be reached: Connection refused"
        assert "webhooks.proxy" in found.remedy

        async def nowhere(host, port):
            raise OSError(-2, "Name or service not known")

        found = await call(f"https://{HOST}/", make_proxies("http://proxy.example:3128"), look_up=nowhere)
        assert found.error == "the host name of the proxy proxy.example:3128 cannot be resolved"

    asyncio.run(main())


NAMED = ["localhost", "LOCALHOST.", "a.localhost", "printer.local", "db.prod.internal", "nas.lan", "intranet",
         "me.example", "10.0.0.1", "[::1]", "[::ffff:0:10.0.0.1]"]  # fmt: skip


@pytest.mark.parametrize("host", NAMED)
def test_targets_inside_are_refused_by_their_names(host):
    url, own = URL(f"https://{host}/hook"), frozenset({"me.example"})
    assert "allow_private" in check_name(url, own, allow_private=False)
    assert check_name(url, own, allow_private=True) is None


@pytest.mark.parametrize("host", ["metadata.google.internal", "169.254.169.254", "0.0.0.0", "[64:ff9b::a9fe:a9fe]"])
def test_some_targets_are_never_called(host):
    assert check_name(URL(f"https://{host}/hook"), frozenset(), allow_private=True) is not None


def test_others_may_be_called_by_their_names():
    for host in ("hooks.slack.com", "1.1.1.1", "local.example", "internal.example.com", "xn--bcher-kva.example"):
        assert check_name(URL(f"https://{host}/hook"), frozenset({"me.example"}), allow_private=False) is None


def test_the_environment_names_proxies_and_exceptions():
    environ = {
        "https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:1", "ALL_PROXY": "proxy.example:3128",
        "NO_PROXY": "direct.example, .sub.example,10.0.0.0/8 192.0.2.1, port.example:8443,*.star.example,[2001:db8::1]",
    }  # fmt: skip
    proxies = make_proxies("environment", environ=environ)

    def shown(url):
        proxy = proxies.of(URL(url))
        return proxy and proxy.shown

    assert (shown("https://x.example/"), shown("http://x.example/")) == ("a:1", "proxy.example:3128")
    direct = ["direct.example", "a.direct.example", "sub.example", "b.sub.example", "DIRECT.example.", "10.1.2.3",
              "192.0.2.1", "port.example:8443", "a.star.example", "[2001:db8::1]"]  # fmt: skip
    assert [shown(f"https://{host}/") for host in direct] == [None] * len(direct)
    for host in ("indirect.example", "11.0.0.1", "port.example", "direct.example.com", "[2001:db8::2]"):
        assert shown(f"https://{host}/") == "a:1", host
    assert make_proxies("environment", environ={"http_proxy": "p:1", "no_proxy": "*"}).of(URL("http://x/")) is None
    assert make_proxies("environment", environ={}).of(URL("https://x/")) is None
    assert make_proxies(None).of(URL("https://x/")) is None
    with pytest.raises(ConfigError, match="environment variable https_proxy must be a URL such as http://") as caught:
        make_proxies("environment", environ={"https_proxy": "socks5://u:hidden@x:1"})
    assert "hidden" not in str(caught.value)


def test_without_a_proxy_for_it_a_target_is_looked_up_and_judged():
    async def main():
        async def private(host, port):
            return ["10.0.0.1"]

        proxies = make_proxies("environment", environ={"https_proxy": "http://127.0.0.1:1", "no_proxy": HOST})
        found = await call(f"https://{HOST}/", proxies, look_up=private)
        assert found.blocked and "10.0.0.1" in found.error

    asyncio.run(main())


@pytest.mark.parametrize(
    "value",
    ["proxy", "proxy:3128", "https://u:hidden@p:1", "socks5://u:hidden@p:1", "http://u:hidden@", "http://p:0",
     "http://p:99999", "http://u:hidden@p:1/path", "http://u:hidden@p:1?x", "env"],
)  # fmt: skip
def test_a_bad_setting_is_refused_without_showing_a_password(value):
    flags = {"webhooks.proxy": value}
    for load in (lambda: MonitorConfig(webhooks_proxy=value), lambda: MonitorConfig.load(environ={}, flags=flags)):
        with pytest.raises(ConfigError, match=r"proxy must be a URL such as http://proxy.example:3128") as caught:
            load()
        assert "hidden" not in str(caught.value) and "environment" in str(caught.value)


def test_the_setting_is_shown_without_its_password():
    config = MonitorConfig.load(environ={"HEARTFELT_WEBHOOKS_PROXY": "http://u:hidden@p.example:3128"})
    row = next(one for one in config.sources() if one["name"] == "webhooks.proxy")
    assert row["value"] == "http://***@p.example:3128"
    settings = make_webhook_settings(config)
    assert settings.proxies.of(URL("https://x.example/")).shown == "p.example:3128"
    assert "hidden" not in repr(config) + repr(settings)
    assert MonitorConfig(webhooks_proxy="Environment").webhooks_proxy == "environment"
    assert MonitorConfig.load(environ={"HEARTFELT_WEBHOOKS_PROXY": ""}).webhooks_proxy is None
