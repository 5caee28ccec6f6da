# SPDX-License-Identifier: MIT
"""The agent in a process that gevent or eventlet has patched, with a backend that is another greenlet of it."""

import importlib.util

import pytest

PATCH = {
    "gevent": "import gevent as green; from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet as green; green.monkey_patch()",
}
BACKEND = """
import socket
from heartfelt.agent import AgentConfig, HeartbeatService, job

listening = socket.create_server(("127.0.0.1", 0))
port = listening.getsockname()[1]
received, turns = [], []

def answer(connection):
    while data := connection.recv(1 << 16):
        received.append(data)
        connection.sendall(b"HTTP/1.1 204 No Content\\r\\nContent-Length: 0\\r\\n\\r\\n" * data.count(b"POST "))

def serve():
    while True:
        green.spawn(answer, listening.accept()[0])

def take_turns():
    while True:
        turns.append(1)
        green.sleep(0.001)

def eventually(holds):
    for _ in range(4000):
        if holds():
            return
        green.sleep(0.01)
    raise SystemExit("it did not come about")

green.spawn(serve)
green.spawn(take_turns)
"""

if not any(map(importlib.util.find_spec, PATCH)):
    pytest.skip("neither gevent nor eventlet for this Python", allow_module_level=True)


@pytest.fixture(params=PATCH)
def script(request, run_python):
    if not importlib.util.find_spec(request.param):
        pytest.skip(f"no {request.param} for this Python")
    return lambda code: run_python("\n".join([PATCH[request.param], BACKEND, code]), "-W", "ignore").splitlines()


@pytest.mark.parametrize("scheme", ["http", "sermant"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_service_beats_while_greenlets_run(script, scheme, host):
    """If the host is a name, a thread waits for the lookup."""
    told = script(f"""
service = HeartbeatService(AgentConfig(url=f"{scheme}://{host}:{{port}}", service="orders", interval=1))
service.start()
eventually(lambda: received)
before = len(turns)
eventually(lambda: len(turns) > before + 3)
service.stop()
print("stopped")
""")
    assert told[-1] == "stopped"


def test_a_job_reports_its_run(script):
    told = script("""
with job("nightly", url=f"http://localhost:{port}") as run:
    run.beat()
eventually(lambda: b"nightly" in b"".join(received))
print("reported")
""")
    assert told[-1] == "reported"
