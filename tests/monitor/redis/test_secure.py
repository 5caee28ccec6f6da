# SPDX-License-Identifier: MIT
"""Passwords, users, TLS and Unix sockets; and that no password is shown."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from heartfelt.monitor.store.redis.address import RedisOptions, parse_address
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import Command, Script, Unreachable

redis = pytest.importorskip("redis")

PASSWORD = "hidden-p:@/ %ä"
IN_URL = "hidden-p%3A%40%2F%20%25%C3%A4"
PUT = Script("PUT", "return redis.call('SET', KEYS[1], ARGV[1])")


@pytest.fixture
def guarded(make_redis):
    """A server with a password, and a user who may use the keys hf:* only."""
    server = make_redis()
    rights = ("on", f">{PASSWORD}2", "~hf:*", "+@all", "-@admin", "-@dangerous", "+info")
    server.ask("ACL", "SETUSER", "beats", *rights)
    server.ask("CONFIG", "SET", "requirepass", PASSWORD)
    return server


def refusal(link):
    with pytest.raises(Unreachable) as found:
        link.call(0, "PING")
    assert found.value.refused
    assert "hidden" not in str(found.value)
    return str(found.value)


def test_a_password_in_the_url_or_elsewhere(guarded, link_to, tmp_path):
    host = f"127.0.0.1:{guarded.port}"
    assert link_to(f"redis://:{IN_URL}@{host}").call(0, "PING") == b"PONG"
    assert link_to(f"redis://{host}", password=PASSWORD).call(0, "PING") == b"PONG"
    assert link_to(f"redis://beats:{IN_URL}2@{host}/0").call(0, "ACL", "WHOAMI") == b"beats"
    assert link_to(f"redis://beats@{host}", password=f"{PASSWORD}2").call(0, "ACL", "WHOAMI") == b"beats"
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n", "utf-8")
    assert link_to(f"redis://{host}", password_file=str(file)).call(0, "PING") == b"PONG"


def test_a_wrong_password_and_none(guarded, link_to, caplog):
    host = f"127.0.0.1:{guarded.port}"
    assert "does not accept the user and the password" in refusal(link_to(f"redis://:hidden@{host}"))
    assert "does not accept the user and the password" in refusal(link_to(f"redis://hidden:hidden@{host}"))
    assert "demands a password; set redis.password_file" in refusal(link_to(f"redis://{host}"))
    assert "hidden" not in caplog.text


def test_a_password_that_nobody_demands(redis_server, link_to):
    assert "has no password for this user" in refusal(link_to(f"redis://:hidden@127.0.0.1:{redis_server.port}"))


def test_a_new_password_in_the_file_needs_no_restart(make_redis, link_to, tmp_path, eventually):
    server = make_redis(requirepass="one")
    file = tmp_path / "password"
    file.write_text("one", "utf-8")
    link = link_to(server.url, password_file=str(file))
    assert link.call(0, "PING") == b"PONG"
    server.options["requirepass"] = "two"
    server.restart()
    refusal(link)
    file.unlink()
    eventually(lambda: "cannot be read" in refusal(link))
    file.write_text("two\r\n", "utf-8")
    eventually(lambda: link.servers()[0].up)
    assert link.call(0, "PING") == b"PONG"


def test_what_a_user_may_not_do_is_refused_by_name(guarded, link_to):
    link = link_to(f"redis://beats:{IN_URL}2@127.0.0.1:{guarded.port}")
    assert link.call(0, PUT, "x", keys=["hf:{0}:a"]) == b"OK"
    for command in (Command(0, ("SET", "other", "x")), Command(0, (PUT, "x"), ["other"]), Command(0, ("FLUSHALL",))):
        (reply,) = link.execute([command])
        assert isinstance(reply, Unreachable) and reply.refused
        assert "permission" in str(reply)
    assert "permission" in link.servers()[0].error
    from heartfelt.monitor.store.redis.configuration import check

    (server,) = check(link, Keys("hf", 4), parse_address("redis://x"))
    assert server.is_kept is None  # CONFIG is forbidden


def rights():
    text = (Path(__file__).parents[3] / "docs" / "redis.md").read_text("utf-8")
    return re.search(r"^ACL SETUSER heartfelt (.*)$", text, re.MULTILINE)[1].replace(">PASSWORD", ">p").split()


def work(link, url):
    """Does what a monitor does: reads, writes, scripts, streams, and the checks of the start."""
    from heartfelt.monitor.store.redis.configuration import check

    assert check(link, Keys("hf", 16), parse_address(url))[0].is_kept is False
    for command in (
        Command(0, (PUT, "x"), ["hf:{0}:a"]), Command(1, ("XADD", "hf:{1}:ev", "MAXLEN", "~", "9", "*", "a", "b")),
        Command(2, ("SET", "hf:{2}:lease:x", "1", "PX", "5000")), Command(2, ("HGETALL", "hf:{2}:slot")),
        Command(3, ("LPUSH", "hf:{3}:moved:x", "1")), Command(3, ("RENAME", "hf:{3}:moved:x", "hf:{3}:page:1:2")),
        Command(3, ("UNLINK", "hf:{3}:page:1:2")), Command(4, ("XRANGE", "hf:{4}:ev", "-", "+")),
    ):  # fmt: skip
        (reply,) = link.execute([command])
        assert not isinstance(reply, Exception), (command, reply)
    assert link.now_ms(0) > 0
    with pytest.raises(Unreachable, match="permission"):
        link.call(0, "SET", "other", "x")


def test_the_rights_in_the_documentation_are_enough(make_redis, redis_cluster, sentinel_trio, link_to):
    server = make_redis()
    everyone = [server, *redis_cluster.servers, *sentinel_trio.servers]
    for one in everyone:
        one.ask("ACL", "SETUSER", "heartfelt", *rights())
    for one in (*redis_cluster.primaries(), sentinel_trio.primary):
        one.ask("FLUSHALL")
    try:
        for url in (server.url, redis_cluster.url, sentinel_trio.url):
            own = url.replace("://", "://heartfelt:p@")
            work(link_to(own), own)
    finally:
        for one in everyone:
            one.ask("ACL", "DELUSER", "heartfelt")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (redis.ConnectionError("Error 111 connecting to a.example:1. Connection refused."), "Connection refused"),
        (redis.ConnectionError("Error -2 connecting to a:1. Name or service not known."), "Name or service not known"),
        (redis.ConnectionError("Error while reading from [::1]:1 : (104, 'Connection reset by peer')"),
         "Connection reset by peer"),
        (redis.ConnectionError("Error 32 while writing to socket. Broken pipe."), "Broken pipe"),
        (redis.ConnectionError("Error UNKNOWN while writing to socket. x (y)."), "x (y)"),
        (redis.ConnectionError(""), "ConnectionError"),
        (redis.TimeoutError("Timeout reading from 1.2.3.4:1"), "it does not answer in time (redis.timeout)"),
    ],
)  # fmt: skip
def test_the_reason_is_said_without_the_address(error, text):
    from heartfelt.monitor.store.redis.refusals import why

    assert why(error) == text


def test_nothing_shows_a_password(caplog):
    address = parse_address(f"rediss://me:{IN_URL}@a.example:1/2")
    assert address.password == PASSWORD
    options = RedisOptions(password="hidden", sentinel_password="hidden")
    for text in (str(address), repr(address), repr(options), f"{address}"):
        assert "hidden" not in text
    assert str(address) == "rediss://a.example:1/2"


def test_a_unix_socket(make_redis, link_to, tmp_path):
    path = tmp_path / "r.sock"
    make_redis(unixsocket=str(path), requirepass="hidden")
    link = link_to(f"unix://:hidden@{path}?db=3")
    assert link.call(0, "PING") == b"PONG"
    assert b"db=3" in link.call(0, "CLIENT", "INFO")
    assert link.servers()[0].name == str(path)
    assert "No such file" in refusal(link_to(f"unix://{path}.gone"))


@pytest.fixture
def tls(make_redis, certificates):
    server = make_redis(
        tls_port=str(_free_port()), tls_cert_file=str(certificates.certificate), tls_key_file=str(certificates.key),
        tls_ca_cert_file=str(certificates.ca), tls_auth_clients="optional", bind="127.0.0.1 -127.0.0.2",
    )  # fmt: skip
    server.tls = int(server.options["tls_port"])
    return server


def _free_port():
    from tests.monitor.redis.servers import free_port

    return free_port()


def test_tls_checks_who_signed_and_for_which_name(tls, certificates, link_to):
    ca, other = str(certificates.ca), str(certificates.other_ca)
    for host in ("127.0.0.1", "localhost"):
        link = link_to(f"rediss://{host}:{tls.tls}", ca=ca)
        assert link.call(0, "PING") == b"PONG"
        assert link.execute([Command(0, ("ECHO", "x" * 100_000))] * 20) == [b"x" * 100_000] * 20
        assert link.call(0, "CLIENT", "ID") == link.call(0, "CLIENT", "ID")  # the connection is kept
        assert link.servers()[0].connections == 1
    assert "redis.ca" in refusal(link_to(f"rediss://localhost:{tls.tls}", ca=other))
    assert "redis.ca" in refusal(link_to(f"rediss://localhost:{tls.tls}"))
    text = refusal(link_to(f"rediss://127.0.0.2:{tls.tls}", ca=ca))
    assert "127.0.0.2" in text and "in its certificate" in text
    assert "does not speak TLS" in refusal(link_to(f"rediss://127.0.0.1:{tls.port}", ca=ca, timeout_s=0.3))
    assert "write rediss://" in refusal(link_to(f"redis://127.0.0.1:{tls.tls}", timeout_s=0.5))


def test_a_server_that_demands_a_certificate(tls, certificates, link_to):
    tls.ask("CONFIG", "SET", "tls-auth-clients", "yes")
    url, ca = f"rediss://localhost:{tls.tls}", str(certificates.ca)
    own = {"cert": str(certificates.certificate), "key": str(certificates.key)}
    assert link_to(url, ca=ca, **own).call(0, "PING") == b"PONG"
    assert "redis.cert" in refusal(link_to(url, ca=ca))


def test_a_connection_that_is_closed_at_once_is_explained():
    from heartfelt.monitor.store.redis.dial import _hint

    error = redis.ConnectionError("Error 104 while writing to socket. Connection reset by peer.")
    tls, plain = parse_address("rediss://localhost:1"), parse_address("redis://localhost:1")
    assert "set redis.cert and redis.key" in _hint(error, tls, None)
    assert "write rediss://" in _hint(error, plain, None)
    assert _hint(error, tls, "cert.pem") is None
    assert _hint(redis.ConnectionError("refused"), tls, None) is None


def test_a_restart_over_tls(tls, certificates, link_to, eventually, caplog):
    caplog.set_level(logging.INFO, "heartfelt.redis")
    link = link_to(f"rediss://localhost:{tls.tls}", ca=str(certificates.ca))
    assert link.call(0, PUT, "x", keys=["hf:{0}:a"]) == b"OK"
    tls.restart()
    (reply,) = link.execute([Command(0, (PUT, "x"), ["hf:{0}:a"])])
    assert reply == b"OK"


def test_a_sentinel_with_a_password(sentinel_trio, link_to):
    one = sentinel_trio.sentinels[0]
    one.ask("ACL", "SETUSER", "default", "resetpass", ">hidden")
    try:
        url = f"redis+sentinel://127.0.0.1:{one.port}/beats"
        assert link_to(url, sentinel_password="hidden").call(0, "PING") == b"PONG"
        assert "demands a password" in refusal(link_to(url))
    finally:
        from redis import Redis

        with Redis(port=one.port, password="hidden") as client:
            client.execute_command("ACL", "SETUSER", "default", "nopass")
