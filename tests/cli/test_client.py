# SPDX-License-Identifier: MIT
"""The commands' client beside a monitor that breaks off, and a list of tokens of which one is damaged."""

from __future__ import annotations

import socket
import sqlite3
import struct
import threading

import pytest

from heartfelt.cli import Failed
from heartfelt.cli._client import ApiClient
from heartfelt.monitor.config.build import FILE
from tests.monitor.serving import run_command

RESET = struct.pack("ii", 1, 0)


@pytest.mark.parametrize(
    ("status", "linger", "said"),
    [
        ("200 OK", None, "did not arrive completely"),
        ("200 OK", RESET, "did not arrive completely"),
        ("500 Fault", RESET, "the monitor answered 500"),
    ],
    ids=["ended", "reset", "reset within a problem"],
)
def test_an_answer_that_breaks_off_is_told_as_that(status, linger, said):
    read = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 %s\r\nContent-Length: 100\r\n\r\n{" % status.encode())
                if linger:
                    assert read.wait(60)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

        thread = threading.Thread(target=answer)
        thread.start()
        with ApiClient(f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
            request = client._http.request

            def requested(*args, **options):
                try:
                    return request(*args, **options)
                finally:
                    read.set()  # the head was read

            client._http.request = requested
            with pytest.raises(Failed, match=said):
                client.json("GET", "/api/v1/stats")
        thread.join()


def test_a_damaged_token_does_not_hide_the_others(tmp_path):
    data = tmp_path / "data"
    for name in ("one", "two"):
        assert run_command("token", "create", name, "--scope", "read", "--data", data).returncode == 0
    with sqlite3.connect(data / FILE) as connection:
        (damaged,) = connection.execute("SELECT name FROM documents WHERE value LIKE '%\"one\"%'").fetchone()
        connection.execute("UPDATE documents SET value = '{}' WHERE name = ?", (damaged,))
    connection.close()
    done = run_command("token", "list", "--data", data)
    assert done.returncode == 0, done.stderr
    assert [line.split()[-1] for line in done.stdout.splitlines()] == ["two"]
    assert damaged in done.stderr
    assert "Traceback" not in done.stderr
