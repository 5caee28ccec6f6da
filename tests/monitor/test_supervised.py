# SPDX-License-Identifier: MIT
"""`heartfelt serve` under a service manager: ready, pulses, reloads, and stops at any time."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.server import Process
from tests.monitor.notify_socket import NotifySocket
from tests.monitor.serving import Serving, until

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
TOML = """
log.level = "{level}"
lease.timeout = "{timeout}"
limits.connections = {connections}
tls.cert = "{certificate}"
tls.key = "{key}"
auth.require = "always"
service.shop.timeout = "{shop}"
"""


@pytest.fixture
def manager(tmp_path):
    made = NotifySocket(tmp_path / "notify")
    yield made
    made.close()


def serial_of(port, certificates):
    """The serial number of the certificate at a port."""
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        certificates.client_context().wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        return connection.getpeercert()["serialNumber"]


def reload(serving, manager):
    serving.process.send_signal(signal.SIGHUP)
    begun, _ = manager.until("RELOADING")
    assert int(begun["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    manager.until("READY")


def test_ready_pulses_reloads_and_the_stop(tmp_path, manager, certificates):
    from tests.certificates import Certificates

    folder = tmp_path / "other"
    folder.mkdir()
    other = Certificates(folder, days=(-1, 0.5))
    file = tmp_path / "heartfelt.toml"

    def write(certificates, **values):
        defaults = {"level": "info", "timeout": "60 s", "connections": 1000, "shop": "90 s"}
        text = TOML.format(**{**defaults, **values}, certificate=certificates.certificate, key=certificates.key)
        file.write_text(text, "utf-8")

    write(certificates)
    from tests.monitor.serving import run_command

    token = run_command("token", "create", "x", "--scope", "admin", "--data", tmp_path / "data").stdout.split()[-1]
    serving = Serving(
        "--config", file, data=tmp_path / "data", tls=certificates.client_context(),
        environ={"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "400000"},
    )  # fmt: skip
    try:
        ready, before = manager.until("READY")
        assert ready["STATUS"] == "watching 0 instances"
        assert all(set(one) == {"STATUS"} for one in before)
        serving.wait_ready()
        for name in ("http", "tcp"):
            socket.create_connection(("127.0.0.1", serving.ready[name][1]), 10).close()
        for _ in range(3):
            manager.until("WATCHDOG")

        def settings():
            rows = serving.json("/api/v1/settings", token=token)["settings"]
            return {one["name"]: one["value"] for one in rows}

        def stats():
            return serving.json("/api/v1/stats", token=token)["parts"]["reload"]

        serving.beat("cart", token=token)
        serving.beat("shop", token=token)
        first = serial_of(serving.port, certificates)
        assert serial_of(serving.ready["tcp"][1], certificates) == first

        # a reload of another certificate and other settings; one of them needs a restart
        write(other, level="warning", timeout="100 s", connections=2000, shop="120 s")
        reload(serving, manager)
        serving._tls = other.client_context()
        assert serial_of(serving.port, other) == serial_of(serving.ready["tcp"][1], other) != first
        now = settings()
        assert (now["lease.timeout"], now["service.shop.timeout"], now["log.level"]) == (100, 120, "warning")
        assert now["limits.connections"] == 1000
        rows = serving.json("/api/v1/instances", token=token)["instances"]
        assert {one["service"]: one["lease_ms"] for one in rows} == {"cart": 100_000, "shop": 120_000}
        report = stats()
        assert (report["reloads"], report["failures"], report["error"]) == (1, 0, None)
        assert report["need_restart"] == ["limits.connections"]
        assert report["last_ms"] > 0
        until(lambda: serving.log.count("need a restart of the monitor: limits.connections") == 1)
        assert serving.log.count("expires in 11 hours") == 1
        assert "expires in 11 hours" in serving.get("/readyz").json["certificate"]
        assert serving.get("/readyz").status == 200

        # an invalid file is refused as a whole
        write(certificates, timeout="never", connections=1)
        reload(serving, manager)
        until(lambda: "the reload was refused" in serving.log)
        assert settings() == now
        report = stats()
        assert (report["reloads"], report["failures"]) == (1, 1)
        assert "lease.timeout" in report["error"]
        assert serial_of(serving.port, other) != first
        metrics = serving.get("/metrics", token=token).body.decode()
        assert "heartfelt_reloads_total 1.0" in metrics
        assert "heartfelt_reload_failures_total 1.0" in metrics
        assert "heartfelt_reload_failed 1.0" in metrics
        assert "heartfelt_tls_certificate_expiry_timestamp_seconds" in metrics

        # the stop, with a request that is not complete and handshakes that were not begun or not ended
        silent = [socket.create_connection(("127.0.0.1", serving.ready[name][1]), 10) for name in ("http", "tcp")]
        plain = socket.create_connection(("127.0.0.1", serving.port), 10)
        half = other.client_context().wrap_socket(plain, server_hostname="localhost")
        half.sendall(
            b"POST /api/v1/beats HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer " + token.encode()
            + b"\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n[{"
        )  # fmt: skip
        serving.get("/healthz")  # so that the half was read
        serving.process.send_signal(signal.SIGTERM)
        stopping, _ = manager.until("STOPPING")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 10_000_000
        assert half.recv(4096).startswith(b"HTTP/1.1 503 ")
        assert serving.wait() == 0
        assert "exceeded" not in serving.log  # the time that requests may take to end
        assert "did not" not in serving.log
        for one in (half, plain, *silent):
            one.close()
    finally:
        serving.end()
    assert "Traceback" not in serving.log, serving.log


@pytest.mark.parametrize("ignored", [False, True])
def test_without_a_file_a_hangup_reloads_the_rest_and_nohup_keeps_it_ignored(serve, manager, ignored):
    before = signal.getsignal(signal.SIGHUP)
    if ignored:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # inherited
    try:
        serving = serve(environ={"NOTIFY_SOCKET": manager.address})
    finally:
        signal.signal(signal.SIGHUP, before)
    serving.process.send_signal(signal.SIGHUP)

    def reloads():
        return serving.json("/api/v1/stats")["parts"]["reload"]["reloads"]

    if ignored:
        assert reloads() == 0
    else:
        until(lambda: reloads() == 1)
    with socket.create_connection((serving.host, serving.port), 10) as half:
        half.sendall(b"POST /ping/x/fail HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\nhalf")
        serving.get("/healthz")  # so that the half was read
        serving.process.send_signal(signal.SIGTERM)
        manager.until("STOPPING")
        assert serving.stop(signal.SIGINT) == 0, serving.log  # the second signal
        assert half.recv(4096).startswith(b"HTTP/1.1 503 ")
    assert serving.log.count("a second signal: the stop is cut short") == 1
    assert "Traceback" not in serving.log


def test_signals_while_the_monitor_is_imported_end_it_in_order():
    code = (
        "import time; from heartfelt.cli._early import handle_early_signals; handle_early_signals();"
        "print('ready', flush=True); time.sleep(60); print('slept on')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0
        assert process.stdout.read() == ""


def run_process(tmp_path, monkeypatch, kept_port, at_start):
    """A process in this one; `at_start` is called before its TCP port is opened."""
    from heartfelt.monitor.ingest import SermantServer

    start = SermantServer.start

    async def started(server):
        await at_start()
        await start(server)

    monkeypatch.setattr(SermantServer, "start", started)
    config = MonitorConfig(data=str(tmp_path), http_port=kept_port, tcp_port=0, udp_port=0)
    asyncio.run(Process(config).run())


def test_http_is_the_last_port_to_open_and_a_stop_during_the_start_ends_it(tmp_path, monkeypatch, kept_port, capsys):
    refused = []

    async def at_start():
        try:
            socket.create_connection(("127.0.0.1", kept_port), 10).close()
        except ConnectionRefusedError as error:
            refused.append(error)
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGTERM)

    run_process(tmp_path, monkeypatch, kept_port, at_start)
    assert len(refused) == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_second_signal_cuts_off_a_start_that_hangs(tmp_path, monkeypatch, kept_port):
    async def at_start():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    run_process(tmp_path, monkeypatch, kept_port, at_start)


def test_hangups_until_the_end_of_the_process_change_nothing(serve):
    process = serve().process
    process.send_signal(signal.SIGTERM)
    end = time.monotonic() + 40
    while process.poll() is None:
        assert time.monotonic() < end
        process.send_signal(signal.SIGHUP)
        time.sleep(0.001)
    assert process.returncode == 0
