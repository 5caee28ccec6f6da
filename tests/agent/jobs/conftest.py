# SPDX-License-Identifier: MIT
"""What the tests of jobs and of `heartfelt beat` and `run` share."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for `import monitor`: importlib mode adds no directory itself

from monitor import LONG_S, Monitor


@pytest.fixture
def make_monitor():
    """make_monitor(context=None): a Monitor that ends with its test."""
    made = []

    def make(context=None):
        made.append(Monitor(context))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def monitor(make_monitor, monkeypatch):
    """A Monitor that the environment names."""
    one = make_monitor()
    monkeypatch.setenv("HEARTFELT_URL", one.url)
    monkeypatch.delenv("HEARTFELT_TOKEN", raising=False)
    return one


@pytest.fixture
def nobody():
    """The URL of a port where nobody listens, and which nobody else can take."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{held.getsockname()[1]}"


@pytest.fixture
def mute():
    """The URL of a listener that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """(certificate, key): files; the certificate is its own CA, good for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "certificate.pem", folder / "key.pem"
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test"
    words += f" -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {made}"
    subprocess.run(words.split(), check=True, capture_output=True, timeout=LONG_S)
    return made, key


@pytest.fixture
def https_monitor(make_monitor, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return make_monitor(context)


@pytest.fixture
def heartfelt():
    """heartfelt(*args, **options of subprocess.run): runs the command to its end."""

    def run(*args, **options):
        command = [sys.executable, "-m", "heartfelt", *args]
        options = {"text": True, **options}
        return subprocess.run(command, capture_output=True, timeout=LONG_S, check=False, **options)

    return run


@pytest.fixture
def start_heartfelt():
    """start_heartfelt(*args, **options of Popen): starts the command; killed at the end of the test."""
    started = []

    def start(*args, **options):
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen([sys.executable, "-m", "heartfelt", *args], **{**pipes, **options})
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=LONG_S)
