# SPDX-License-Identifier: MIT
"""TLS between monitors, as a user sets it: cluster.cert, cluster.key, cluster.ca, cluster.server_name."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl

import pytest

pytest.importorskip("redis")
pytest.importorskip("cryptography")

from heartfelt.errors import ConfigError
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.config.channel_tls import make_channel_tls
from tests.certificates import Certificates
from tests.monitor.cluster.channels import B, channels, until
from tests.monitor.cluster.whole import WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import run_command
from tests.monitor.serving import until as until_true

needs_redis = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


def settings(made, ca=None, **more):
    return {
        "cluster_cert": str(made.certificate),
        "cluster_key": str(made.key),
        "cluster_ca": str(ca or made.ca),
        **more,
    }


def files(folder):
    folder.mkdir()
    return Certificates(folder)


def error_of(peers):
    return peers.states()[0].error


def test_a_wrong_certificate_is_refused_and_named(run, tmp_path):
    made = Certificates(tmp_path)
    right = make_channel_tls(MonitorConfig(**settings(made)))
    wrong = make_channel_tls(MonitorConfig(**settings(made, ca=made.other_ca)))
    ends = []

    async def main():
        options = {"server_tls": right.server, "client_tls": right.client}
        async with channels("a", "b", **options, connected=False) as (a, b):
            a.set_tls(right.server, wrong.client)
            a.peers.set_peers({B: f"127.0.0.1:{b.port}"})
            await until(lambda: "its certificate is refused" in error_of(a.peers))
            assert "cluster.ca" in error_of(a.peers)
            await until(lambda: b.counts["refused_tls"])
            a.set_tls(right.server, right.client)  # as a reload does
            await until(lambda: b.counts["accepted"])
        async with channels("a", "b", **options, server_name="other.example", connected=False) as (a, b):
            a.peers.set_peers({B: f"127.0.0.1:{b.port}"})
            await until(lambda: "cluster.server_name" in error_of(a.peers))
            ends.append(error_of(a.peers))
        async with channels("a", "b", connected=False) as (a, b):
            a.set_tls(right.server, right.client)  # only one of the two has TLS
            a.peers.set_peers({B: f"127.0.0.1:{b.port}"})
            await until(lambda: error_of(a.peers))
            ends.append(error_of(a.peers))

    run(main())
    assert "certificate" in ends[0]
    assert ends[1]


def test_a_new_certificate_is_used_for_the_next_connection(run, tmp_path):
    first, second = files(tmp_path / "first"), files(tmp_path / "second")

    async def main():
        one, two = (make_channel_tls(MonitorConfig(**settings(made))) for made in (first, second))
        async with channels("a", "b", server_tls=one.server, client_tls=one.client) as (a, b):
            for channel in (a, b):
                channel.set_tls(two.server, two.client)
            a.peers.set_peers({})
            a.peers.set_peers({B: f"127.0.0.1:{b.port}"})
            await until(lambda: a.peers.states()[0].connected)

    run(main())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"cluster_cert": None}, "cluster.key is set but cluster.cert is not"),
        ({"cluster_cert": "/none.pem"}, "cluster.cert /none.pem cannot be read"),
        ({"cluster_ca": "/none.pem"}, "cluster.ca /none.pem cannot be read"),
        ({"cluster_key": "CA"}, "cannot be used: "),
        ({"cluster_ca": "KEY"}, "cannot be used: "),
    ],
)
def test_files_that_cannot_be_used_are_named(tmp_path, change, why):
    made = Certificates(tmp_path)
    given = {name: {"CA": str(made.ca), "KEY": str(made.key)}.get(value, value) for name, value in change.items()}
    with pytest.raises(ConfigError, match=why):
        make_channel_tls(MonitorConfig(**{**settings(made), **given}))


@needs_redis
@pytest.mark.time_limit(120, reason="three monitors start")
def test_a_fleet_with_tls_whose_certificates_are_renewed(tmp_path):
    made = Certificates(tmp_path)
    given = settings(made, cluster_host="127.0.0.1")
    fleet = WholeFleet(tmp_path, n=2, **given)
    try:
        a, b = fleet.monitors
        a.beat("shop", "one", timeoutMs=60_000)
        until_true(lambda: b.json("/api/v1/instances", service="shop")["instances"], "what the other one has")
        host, port = b.json("/api/v1/stats")["monitors"][0]["address"].rsplit(":", 1)
        trusting = ssl.create_default_context(cafile=str(made.ca))
        with socket.create_connection((host, int(port)), timeout=30) as plain:
            trusting.wrap_socket(plain, server_hostname="localhost").close()
        renewed = files(tmp_path / "renewed")
        for name in ("certificate", "key", "ca"):
            shutil.copy(getattr(renewed, name), getattr(made, name))
        for one in fleet.monitors:
            one.process.send_signal(signal.SIGHUP)
        until_true(lambda: all("reloaded" in one.log for one in fleet.monitors), "a reload")
        trusting = ssl.create_default_context(cafile=str(renewed.ca))
        with socket.create_connection((host, int(port)), timeout=30) as plain:
            trusting.wrap_socket(plain, server_hostname="localhost").close()
        assert fleet.is_whole()
    finally:
        fleet.end()


def test_the_check_reads_the_files(tmp_path):
    made = Certificates(tmp_path)
    files_of = {"cluster.cert": made.certificate, "cluster.key": made.key}
    flags = [part for name, path in files_of.items() for part in ("--set", f"{name}={path}")]
    assert run_command("serve", "--check", *flags).returncode == 0
    done = run_command("serve", "--check", *flags, "--set", f"cluster.ca={made.key}")
    assert done.returncode == 1
    assert "cluster.ca" in done.stderr
