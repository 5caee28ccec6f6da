# SPDX-License-Identifier: MIT
"""`heartfelt serve` as a process: its start, its end, and what it does in between."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys

import pytest

from heartfelt.monitor.reasons import english, read
from tests.monitor.serving import PATIENCE_S, Serving, run_command, stream_events, until

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def state(serving, instance_id="one"):
    found = serving.find(instance_id)
    return found and found["state"]


def test_an_instance_from_its_first_beat_to_its_end(serve):
    serving = serve(lease_timeout="2 s", lease_cache="3 s")
    serving.beat(instance_id="another", timeoutMs=86_400_000)  # so that the other one is not the last of its service
    connection, stream = serving.open_stream(topics=["change"])
    serving.beat(intervalMs=1200)
    assert state(serving) == "NEW"
    id_ = serving.find("one")["id"]
    serving.beat(intervalMs=1200)
    assert state(serving) == "UP"
    until(lambda: state(serving) is None, "the removal")
    resync, *changes = stream_events(stream, 6)
    connection.close()
    assert resync[1] == "resync"
    assert [(one[2]["old"], one[2]["new"]) for one in changes] == [
        (None, "NEW"), ("NEW", "UP"), ("UP", "LATE"), ("LATE", "LOST"), ("LOST", "REMOVED"),
    ]  # fmt: skip
    assert [int(one[0].split("-")[1]) for one in changes] == sorted(int(one[0].split("-")[1]) for one in changes)
    history = until(lambda: (found := serving.json(f"/api/v1/instances/{id_}/changes"))["changes"][4:] and found)
    assert [one["new"] for one in history["changes"]] == ["REMOVED", "LOST", "LATE", "UP", "NEW"]
    events = serving.json("/api/v1/events", instance="one", type="STATE")["events"]
    assert [one["info"]["name"] for one in events] == [
        "INSTANCE_REMOVED", "INSTANCE_LOST", "INSTANCE_LATE", "INSTANCE_UP", "INSTANCE_NEW",
    ]  # fmt: skip
    assert serving.json("/api/v1/events/counts", service="shop")["EMERGENCY"] == 1
    codes = ["first_heartbeat", "second_heartbeat", "late", "lost", "expired_lost"]
    shown = [one[2] for one in changes], history["changes"][::-1], [one["info"] for one in events[::-1]]
    for some in shown:  # by the stream, the history and the events alike
        assert [one["reason_code"] for one in some] == codes
        for one in some:
            reason = read(one["reason_code"], one["reason_args"])
            assert english(reason) == one.get("reason", one.get("description"))
    assert "(timeout 2 s)" in events[1]["info"]["description"]
    metrics = serving.get("/metrics").body.decode()
    assert "heartfelt_detection_lateness_seconds_count 1.0" in metrics
    assert '="one"' not in metrics  # no label is an instance


def test_pause_resume_remove_and_goodbye(serve):
    serving = serve()
    serving.beat()
    path = f"/api/v1/instances/{serving.find('one')['id']}"
    paused = serving.post(f"{path}/pause", {"for_s": 60})
    assert (paused.status, paused.json["state"]) == (200, "PAUSED")
    until_ms = paused.json["paused_until_ms"]
    assert (paused.json["reason_code"], paused.json["reason_args"]) == ("paused_until", {"until_ms": until_ms})
    assert paused.json["reason"].startswith("paused until 2")
    assert paused.json["paused_until_ms"] > paused.json["since_ms"]
    assert serving.post(f"{path}/resume").json["state"] in ("NEW", "UP")
    serving.beat(goodbye=True)
    assert state(serving) == "LEFT"
    assert serving.request("DELETE", path, reason="by test").status == 204
    removed = until(lambda: [one for one in serving.json("/api/v1/changes")["changes"] if one["new"] == "REMOVED"])[0]
    assert (removed["reason"], removed["reason_args"]) == ("removed by hand: by test", {"text": "by test"})
    assert serving.request("DELETE", path).status == 404
    assert state(serving) is None
    for body in ({"for_s": -1}, {"for_s": "x"}, {"until": 5}, {"for_s": 1e300}):
        serving.beat(instance_id="two")
        answer = serving.post(f"/api/v1/instances/{serving.find('two')['id']}/pause", body)
        assert answer.status == 400, body


def test_counts_come_over_the_stream_and_by_the_list_of_services(serve):
    serving = serve()
    connection, stream = serving.open_stream(topics=["counts"])
    serving.beats(30, "shop")
    serving.beats(20, "cart")
    seen = []
    while not seen or seen[-1][2]["all"]["total"] < 50:
        seen += [one for one in stream_events(stream, 1) if one[1] == "counts"]
    connection.close()
    services = serving.json("/api/v1/services")
    assert {name: one["total"] for name, one in services["services"].items()} == {"shop": 30, "cart": 20}
    assert services["all"]["total"] == 50 == services["all"]["up"]


def test_a_viewer_who_comes_back_goes_on_where_it_was(serve):
    serving = serve()
    connection, stream = serving.open_stream(topics=["change"])
    serving.beat(instance_id="one")
    first = stream_events(stream, 2)[-1]
    connection.close()
    serving.beat(instance_id="two")
    connection, stream = serving.open_stream(topics=["change"], last_id=first[0])
    (missed,) = stream_events(stream, 1)
    connection.close()
    assert (first[2]["instance_id"], missed[2]["instance_id"]) == ("one", "two")


@posix_only
def test_sigterm_ends_it_cleanly_with_a_stream_open_and_nothing_is_forgotten(serve):
    serving = serve()
    serving.beats(50)
    connection, stream = serving.open_stream()
    stream_events(stream, 1)
    assert serving.stop() == 0, serving.log
    assert stream.read() is not None  # it ends
    connection.close()
    again = serve()
    assert again.json("/api/v1/services")["all"]["total"] == 50
    assert again.stop(signal.SIGINT) == 0
    assert "Traceback" not in serving.log + again.log


@posix_only
def test_when_the_store_cannot_be_written_it_is_not_ready_and_goes_on(serve, tmp_path):
    serving = serve()
    assert serving.get("/readyz").status == 200
    for path in (tmp_path / "data").iterdir():
        path.unlink()
    serving.beat()
    ready = until(lambda: (answer := serving.get("/readyz")).status == 503 and answer, "the store's fault")
    assert "heartfelt.db" in ready.json["store"]
    assert serving.get("/healthz").json == {"ok": True}
    assert state(serving) == "NEW"
    assert "heartfelt_store_ok 0.0" in serving.get("/metrics").body.decode()


def test_a_port_that_is_taken_is_named_with_the_remedy(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for name in ("http", "tcp"):
            ports = {"http": 0, "tcp": 0, "udp": 0} | {name: port}
            flags = [part for one, number in ports.items() for part in (f"--{one}-port", number)]
            done = run_command("serve", "--data", tmp_path, *flags)
            assert done.returncode == 1
            assert f"{name}: cannot listen on 127.0.0.1, port {port}" in done.stderr
            assert f"{name}.port" in done.stderr
            assert "Traceback" not in done.stderr


def test_a_second_monitor_on_the_same_data_is_refused(serve):
    serving = serve()
    done = run_command("serve", "--data", serving.data, "--http-port", 0, "--tcp-port", 0, "--udp-port", 0)
    assert done.returncode == 1
    assert "in use by process" in done.stderr
    assert serving.get("/healthz").status == 200


def test_beyond_loopback_it_does_not_start_without_a_token(tmp_path):
    where = ["--data", tmp_path, "--host", "0.0.0.0", "--http-port", 0, "--tcp-port", 0, "--udp-port", 0]
    done = run_command("serve", *where)
    assert done.returncode == 1
    assert "heartfelt token create" in done.stderr
    assert run_command("token", "create", "x", "--scope", "admin", "--data", tmp_path).returncode == 0
    serving = Serving("--host", "0.0.0.0", data=tmp_path)
    try:
        serving.wait_ready()
        serving.host = "127.0.0.1"
        assert serving.get("/api/v1/services").status == 401
    finally:
        serving.end()


def test_tokens_made_and_revoked_beside_it_hold_within_seconds(serve, tmp_path):
    data = tmp_path / "data"
    admin = run_command("token", "create", "first", "--scope", "admin", "--data", data).stdout.strip()
    serving = serve(auth_require="always")
    assert serving.get("/api/v1/services", token=admin).status == 200
    made = run_command("token", "create", "a reader", "--scope", "read", "--data", data)
    secret = made.stdout.strip()
    until(lambda: serving.get("/api/v1/services", token=secret).status == 200, "the new token")
    listed = run_command("token", "list", "--data", data).stdout
    assert "a reader" in listed
    assert secret not in listed + serving.log
    id_ = secret.split("_")[1]
    assert run_command("token", "revoke", id_, "--data", data).returncode == 0
    until(lambda: serving.get("/api/v1/services", token=secret).status == 401, "its end")
    again = run_command("token", "revoke", id_, "--data", data)
    assert (again.returncode, id_ in again.stderr) == (1, True)


def test_tokens_by_the_interface(serve, tmp_path):
    data = tmp_path / "data"
    admin = run_command("token", "create", "first", "--scope", "admin", "--data", data).stdout.strip()
    serving = serve(auth_require="always")
    made = serving.post("/api/v1/tokens", {"name": "agents", "scopes": ["ingest"]}, token=admin)
    assert made.status == 201
    serving.beat(token=made.json["token"])
    listed = serving.json("/api/v1/tokens", token=admin)
    assert [one["name"] for one in listed["tokens"]] == ["first", "agents"]
    assert made.json["token"] not in json.dumps(listed)
    assert serving.request("DELETE", f"/api/v1/tokens/{made.json['id']}", token=admin).status == 204
    assert serving.post("/api/v1/beats", {"service": "a", "instanceId": "b"}, token=made.json["token"]).status == 401
    for body in ({"name": "", "scopes": ["read"]}, {"name": "x", "scopes": []}, {"name": "x", "scopes": ["all"]}):
        assert serving.post("/api/v1/tokens", body, token=admin).status == 400


def test_https(serve, tmp_path):
    from tests.certificates import Certificates

    made = Certificates(tmp_path)
    context = made.client_context()
    context.check_hostname = False
    serving = serve("--cert", made.certificate, "--key", made.key, tls=context)
    assert serving.url.startswith("https://")
    assert serving.get("/healthz").json == {"ok": True}
    with pytest.raises((ConnectionError, OSError)):
        plain = socket.create_connection((serving.host, serving.port), timeout=PATIENCE_S)
        with plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if b"HTTP/1.1 200" not in plain.recv(1000):
                raise ConnectionError
    bad = run_command("serve", "--check", "--cert", tmp_path / "none.pem")
    assert bad.returncode == 1
    assert "none.pem" in bad.stderr


def test_check_prints_every_setting_and_its_source(tmp_path):
    path = tmp_path / "monitor.toml"
    path.write_text("[lease]\ntimeout = 30\n")
    done = run_command("serve", "--check", "--config", path, "--set", "http.port=1234")
    assert done.returncode == 0, done.stderr
    assert f"lease.timeout = 30.0   # {path}:2" in done.stdout
    assert "http.port = 1234   # flag http.port" in done.stdout
    found = json.loads(run_command("serve", "--check", "--json", "--config", path).stdout)
    assert {"name", "value", "unit", "source", "default", "meaning"} == set(found["settings"][0])
    path.write_text("[lease]\ntimeout = -1\n")
    bad = run_command("serve", "--check", "--config", path)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert f"{path}:2" in bad.stderr


def test_without_the_extra_it_says_what_to_install():
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "from heartfelt.__main__ import main; sys.exit(main(['serve', '--check']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 1
    assert "pip install 'heartfelt[monitor]'" in done.stderr
    assert "Traceback" not in done.stderr
