# SPDX-License-Identifier: MIT
"""A monitor behind a real nginx: TLS, paths, the event stream, uploads, addresses, restarts."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from pathlib import Path

import pytest

from tests.monitor.proxy.nginx import NGINX, NO_NGINX, Nginx, Through, documented, free_ports
from tests.monitor.serving import Serving, run_command, stream_events, until

HAS_CERTIFICATES = importlib.util.find_spec("cryptography") is not None
pytestmark = [
    pytest.mark.skipif(NGINX is None, reason=NO_NGINX),
    pytest.mark.skipif(not HAS_CERTIFICATES, reason="cryptography is not here: no TLS through nginx"),
]
NAME = "monitor.example"
BODY_BYTES = 256 << 10
MOST_INSTANCES = 1500

# The configuration of people who have not read docs/proxies.md: HTTP/1.0 to the monitor, a Host without the port, and
# no more.
BARE = """
server {{
    listen 127.0.0.1:{port}{tls};
    ssl_certificate {certificates.certificate};
    ssl_certificate_key {certificates.key};
    location / {{
        proxy_pass http://127.0.0.1:{monitor};
        {more}
    }}
}}
"""


class World:
    """One nginx, a monitor that is configured for it, and one that is not."""

    def __init__(self, folder):
        from tests.certificates import Certificates

        self.certificates = Certificates(folder)
        self.tls = self.certificates.client_context()
        names = ("documented", "stripped", "bare", "plain", "rfc", "told", "quick")
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        self.public = f"https://localhost:{ports['documented']}/heartfelt"
        self.known = Serving(
            data=folder / "known", http_public_url=self.public, http_trusted_proxies="127.0.0.1",
            limits_body_bytes=BODY_BYTES, limits_instances_of_client=MOST_INSTANCES, hold_enable="false",
        )  # fmt: skip
        self.unknown = Serving(
            data=folder / "unknown", http_allowed_hosts=NAME, program="tests.monitor.proxy.short_comments"
        )
        self.known.wait_ready()
        self.unknown.wait_ready()
        known, unknown = self.known.port, self.unknown.port
        forwarded = 'proxy_set_header Forwarded "for=$remote_addr;proto=$scheme;host=\\"$http_host\\"";'
        told = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"
        servers = [
            documented(monitor=known, port=ports["documented"], certificates=self.certificates),
            documented(
                monitor=known, port=ports["stripped"], certificates=self.certificates, name="two", stripped=True
            ),
        ]
        for name, monitor, more in (
            ("bare", unknown, "proxy_set_header Host $host;"), ("plain", unknown, "proxy_set_header Host $http_host;"),
            ("rfc", known, forwarded), ("told", unknown, told),
            ("quick", unknown, "proxy_read_timeout 3s; proxy_set_header Host $host;"),
        ):  # fmt: skip
            tls = "" if name == "plain" else " ssl"
            servers.append(
                BARE.format(port=ports[name], tls=tls, certificates=self.certificates, monitor=monitor, more=more)
            )
        self.ports = ports
        self.nginx = Nginx(folder, "\n".join(servers), ports.values())

    def through(self, how, **options):
        prefix = "/heartfelt" if how in ("documented", "stripped") else ""
        return Through(self.ports[how], prefix=prefix, tls=None if how == "plain" else self.tls, **options)

    def end(self):
        for one in (self.nginx, self.known, self.unknown):
            one.end()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    one = World(tmp_path_factory.mktemp("nginx"))
    yield one
    one.end()


BELOW = pytest.mark.parametrize("how", ["documented", "stripped"])


def origin(url):
    return {"Origin": "/".join(url.split("/")[:3])}


# -- below a path, over TLS


@BELOW
def test_the_page_its_files_and_the_api_are_below_the_path(world, how):
    monitor = world.through(how)
    for path in ("/", "/instances", "/instances/7", "/events"):
        page = monitor.get(path)
        assert page.status == 200, path
        assert b'"/heartfelt/panel/app.js"' in page.body
        assert b'"/panel/' not in page.body
    assert monitor.get("/panel/lib/base.js").status == 200
    assert monitor.json("/api/v1/openapi.json")["servers"][0]["url"] == "../.."  # of this document's URL
    assert monitor.get("/api/v1/none").status == 404
    assert monitor.get("/healthz").json == {"ok": True}
    assert b"heartfelt_proxy_untrusted_total" in monitor.get("/metrics").body


def test_the_path_without_a_slash_leads_to_the_page(world):
    bare = Through(world.ports["documented"], tls=world.tls)
    for path in ("/heartfelt", "/heartfelt?lang=zh"):
        answer = bare.get(path)
        assert (answer.status, answer.headers["location"]) == (308, path.replace("heartfelt", "heartfelt/"))
        assert bare.get(answer.headers["location"]).status == 200
    assert Through(world.ports["stripped"], tls=world.tls).get("/heartfelt").headers["location"].endswith("/heartfelt/")


@BELOW
def test_beats_pings_and_changes_from_the_panel(world, how):
    monitor = world.through(how)
    monitor.beat("shop", f"web-{how}")
    assert monitor.get(f"/ping/job%20{how}").status == 200
    assert monitor.find(f"job {how}") is not None
    assert monitor.get("/ping", key=f"a/b {how}").status == 200  # nginx decodes %2F where it removes the prefix
    assert monitor.find(f"a/b {how}") is not None
    one = monitor.find(f"web-{how}")
    sent = {"by": "panel"}
    for headers in (origin(world.public), {"Sec-Fetch-Site": "same-origin", **origin(monitor.url)}):
        assert monitor.post(f"/api/v1/instances/{one['id']}/pause", sent, headers=headers).status == 200
    assert monitor.find(f"web-{how}")["state"] == "PAUSED"
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "same-site"}):
        answer = monitor.post(f"/api/v1/instances/{one['id']}/resume", sent, headers=headers)
        assert (answer.status, answer.json["code"]) == (403, "cross_site")


def test_the_documented_one_needs_no_public_url_of_its_own(world):
    """The stripped one has another port: its own origin is what X-Forwarded-Proto and Host say."""
    monitor = world.through("stripped")
    headers = origin(monitor.url)
    assert monitor.post("/api/v1/hold/release", {"by": "x"}, headers=headers).status == 200
    other = {"Origin": f"https://localhost:{world.ports['bare']}"}
    assert monitor.post("/api/v1/hold/release", {"by": "x"}, headers=other).status == 403


def test_the_clients_take_the_whole_url(world):
    ca = str(world.certificates.ca)
    world.through("documented").beat("cli", "cli-1")
    listed = run_command("ls", "--url", world.public, "--ca", ca, "--json")
    assert "cli-1" in listed.stdout, listed.stderr
    assert run_command("events", "--url", world.public, "--ca", ca).returncode == 0
    assert run_command("beat", "by-cli", "--url", world.public + "/", "--ca", ca).returncode == 0
    ran = run_command("run", "--key", "by-run", "--url", world.public, "--ca", ca, "--", "true")
    assert ran.returncode == 0, ran.stderr
    for key in ("by-cli", "by-run"):
        assert world.known.find(key) is not None


def test_an_agent_takes_the_whole_url(world):
    from heartfelt.agent import AgentConfig, HeartbeatService

    config = AgentConfig(url=world.public, service="agents", tls_ca=str(world.certificates.ca))
    with HeartbeatService(config):
        until(lambda: peers(world.known, "agents"), "the agent's beat")


# -- without any setting


def test_a_proxy_that_ends_tls_and_says_nothing_lets_the_panel_change_things(world):
    bare = world.through("bare", name=NAME)
    bare.beat("shop", "bare")
    for headers in ({"Origin": f"https://{NAME}"}, {"Origin": "https://x", "Sec-Fetch-Site": "same-origin"}):
        assert bare.post("/api/v1/hold/release", {"by": "x"}, headers=headers).status == 200
    for wrong in ("https://evil.example", f"https://{NAME}:8443", f"https://a.{NAME}", "null"):
        answer = bare.post("/api/v1/hold/release", {"by": "x"}, headers={"Origin": wrong})
        assert (answer.status, answer.json["code"]) == (403, "cross_site"), wrong
    plain = world.through("plain", name=f"{NAME}:81")
    assert plain.post("/api/v1/hold/release", {"by": "x"}, headers={"Origin": f"http://{NAME}:81"}).status == 200
    assert plain.post("/api/v1/hold/release", {"by": "x"}, headers={"Origin": f"http://{NAME}"}).status == 403


def test_a_name_that_is_not_allowed_is_refused_with_the_line_to_set(world):
    answer = world.through("bare", name="evil.example").get("/api/v1/instances")
    assert (answer.status, answer.json["code"]) == (421, "host_not_allowed")
    line = f'http.allowed_hosts = ["{NAME}", "evil.example"]'
    assert line in answer.json["detail"]
    until(lambda: line in world.unknown.log, "the line in the log")
    assert world.through("bare", name="evil.example").get("/healthz").status == 200
    forged = {"X-Forwarded-Host": "localhost", "Forwarded": "host=localhost"}
    assert world.through("bare", name="evil.example").get("/api/v1/instances", headers=forged).status == 421


# -- addresses


def peers(monitor, service):
    return {one["instance_id"]: one["peer"] for one in monitor.json("/api/v1/instances", service=service)["instances"]}


@pytest.mark.parametrize("how", ["documented", "stripped", "rfc"])
def test_instances_have_their_clients_addresses(world, how):
    service = f"addresses-{how}"
    for n in (7, 8):
        world.through(how, source=f"127.0.0.{n}").beat(service, f"{how}-{n}")
    forged = {"X-Forwarded-For": "6.6.6.6"} if how != "rfc" else {"Forwarded": "for=6.6.6.6"}
    world.through(how, source="127.0.0.9").post(
        "/api/v1/beats", {"service": service, "instanceId": f"{how}-9"}, headers=forged
    )
    assert peers(world.known, service) == {f"{how}-{n}": f"127.0.0.{n}" for n in (7, 8, 9)}


@pytest.mark.parametrize("how", ["documented", "rfc"])
def test_limits_are_those_of_each_client(world, how):
    body = [{"service": f"limits-{how}", "instanceId": f"{how}-{n}"} for n in range(MOST_INSTANCES + 2)]
    sent = [
        world.through(how, source="127.0.0.20" if how == "rfc" else "127.0.0.21").post("/api/v1/beats", some).json
        for some in (body[:800], body[800:])
    ]
    assert [one.get("refused_total", 0) for one in sent] == [0, 2]
    assert "127.0.0.2" in sent[1]["refused"][0]["detail"]
    assert world.through(how, source="127.0.0.22").post("/api/v1/beats", body[-1]).status == 200


def test_a_header_that_the_proxy_passes_on_and_does_not_write_names_nobody(world):
    body = {"service": "forged", "instanceId": "forged"}
    world.through("documented", source="127.0.0.10").post("/api/v1/beats", body, headers={"Forwarded": "for=6.6.6.6"})
    assert peers(world.known, "forged") == {"forged": "127.0.0.10"}  # the documented one removes it
    world.through("rfc", source="127.0.0.10").post("/api/v1/beats", body, headers={"X-Forwarded-For": "6.6.6.6"})
    assert peers(world.known, "forged") == {"forged": "127.0.0.1"}
    assert world.known.json("/api/v1/stats")["parts"]["proxies"]["contradictions"] >= 1


def test_a_proxy_that_is_not_trusted_is_told_of(world):
    told = world.through("told", name=NAME, source="127.0.0.11")
    told.beat("untrusted", "u-1")
    assert peers(world.unknown, "untrusted") == {"u-1": "127.0.0.1"}
    line = "a proxy at 127.0.0.1 sends X-Forwarded-"  # For, or Host, which another test sends
    until(lambda: line in world.unknown.log, "the warning")
    assert world.unknown.log.count(line) == 1


# -- streams, uploads, connections


def read_comment(stream):
    line = b""
    while not line.startswith(b":"):
        line = stream.readline()
        assert line, "the stream ended"


@pytest.mark.parametrize("how", ["documented", "stripped", "bare"])
def test_events_arrive_at_once_although_nginx_buffers(world, how):
    name = NAME if how == "bare" else None
    connection, stream = world.through(how, name=name).open_stream(topics=["change"])
    assert stream.status == 200
    assert stream.getheader("content-type").startswith("text/event-stream")
    assert stream_events(stream, 1)[0][1] == "resync"
    world.through(how, name=name).beat("live", f"live-{how}")
    while (found := stream_events(stream, 1)[0])[2]["instance_id"] != f"live-{how}":
        pass
    assert found[1] == "change"
    connection.close()


def test_a_silent_stream_outlives_the_proxys_time_limit(world):
    connection, stream = world.through("quick", name=NAME).open_stream(topics=["hold"])
    stream_events(stream, 1)
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < 4.0:  # nginx's limit is 3 s
        read_comment(stream)
    connection.close()


@pytest.mark.skipif("HEARTFELT_MINUTE" not in os.environ, reason="HEARTFELT_MINUTE=1 also runs a test of 75 s")
@pytest.mark.time_limit(120, reason="a stream that is silent for longer than nginx's 60 s")
def test_a_silent_stream_outlives_nginxs_own_time_limit(world):
    connection, stream = world.through("documented").open_stream(topics=["hold"])
    stream_events(stream, 1)
    begin_s = time.monotonic()
    while time.monotonic() - begin_s < 75.0:
        read_comment(stream)
    connection.close()


def test_uploads_and_those_that_are_too_large(world):
    monitor = world.through("documented", source="127.0.0.12")
    monitor.beats(1000, service="upload")
    assert len(monitor.json("/api/v1/instances/order", service="upload")["ids"]) == 1000
    for how in ("documented", "stripped", "rfc"):
        for size in (BODY_BYTES + 1, 4 * BODY_BYTES):
            answer = world.through(how).post("/api/v1/beats", b"[" + b" " * size + b"]")
            assert answer.status == 413, (how, size)
            assert "limits.body_bytes" in answer.body.decode() or b"body" in answer.body
    world.through("documented").beat("upload", "after")


def connections_to(port):
    """The clients' ports of all connections to a port, those that were closed a moment ago, too."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = [(row[1].split(":")[1], row[2].split(":")[1]) for row in rows]
    wanted = f"{port:04X}"
    return {other for one, other in ends if one == wanted} | {one for one, other in ends if other == wanted}


def test_connections_to_the_monitor_are_used_again(world):
    monitor = world.through("documented")
    before = connections_to(world.known.port)
    for n in range(20):
        assert monitor.get(f"/ping/kept-{n}").status == 200
    assert len(connections_to(world.known.port) - before) <= 3


# -- restarts


def test_a_restart_of_the_monitor_is_a_502_and_then_over(tmp_path):
    from tests.certificates import Certificates

    certificates = Certificates(tmp_path)
    port, monitor_port = free_ports(2)
    url = f"https://localhost:{port}/heartfelt"
    settings = {"http_port": monitor_port, "http_public_url": url, "http_trusted_proxies": "127.0.0.1"}
    monitor = Serving(data=tmp_path / "data", **settings)
    monitor.wait_ready()
    nginx = Nginx(tmp_path, documented(monitor=monitor_port, port=port, certificates=certificates), [port])
    through = Through(port, prefix="/heartfelt", tls=certificates.client_context())
    try:
        through.beat("shop", "one")
        assert monitor.stop() == 0
        assert through.get("/api/v1/instances").status == 502
        monitor = Serving(data=tmp_path / "data", **settings)
        monitor.wait_ready()
        assert [one["instance_id"] for one in json.loads(through.get("/api/v1/instances").body)["instances"]] == ["one"]
    finally:
        nginx.end()
        monitor.end()
