# SPDX-License-Identifier: MIT
"""Words after the key of a ping, as curl sends them: none makes a healthy instance of another name."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest

pytest.importorskip("msgspec")
from tests.monitor.serving import run_command, until


@pytest.fixture
def serving(serve):
    return serve()


@pytest.mark.parametrize("word", ["fail/", "FAIL", "Fail/", "1/", "?event=Fail", "?exit=1"])
def test_a_failure_is_one_however_it_is_written(serving, word):
    serving.get("/ping/K/ok")
    assert serving.post(f"/ping/K{'' if word.startswith('?') else '/'}{word}").status == 200
    assert serving.states() == {"K": "FAILED"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/ping/K%20/ok", 400), ("/ping/K/ok%20", 400), ("/ping/K/failed", 404), ("/ping/K/failure", 404),
        ("/ping/K//fail", 400), ("/ping//fail", 400), ("/ping/fail", 400), ("/ping/K/fail/now", 400), ("/ping", 400),
        ("/ping?key=K&event=failed", 400), ("/ping?key=K&exit=", 400), ("/ping/K/%00", 400), ("/ping/K/+1", 404),
    ],
)  # fmt: skip
def test_what_is_no_word_is_refused_with_what_to_write(serving, path, status):
    serving.get("/ping/K/ok")
    answer = serving.post(path, "text")
    assert answer.status == status and len(answer.json["detail"]) > 20
    assert serving.states() == {"K": "NEW"}
    assert serving.find("K")["beats"] == 1
    assert f'reason="{answer.json["code"]}"' in serving.get("/metrics").body.decode()


def test_log_keeps_a_text_and_nothing_else(serving):
    serving.post("/ping/new/log", "a text")
    assert serving.states() == {}
    event = until(lambda: serving.json("/api/v1/events", type="PING")["events"], "the event")[0]
    assert (event["info"], event["instance_id"]) == ({"name": "logged", "text": "a text"}, "new")


def test_a_key_that_beats_by_udp_is_not_an_exit_status(serving):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"svc/1", tuple(serving.ready["udp"]))
        until(lambda: serving.find("svc/1"), "the beat")
    serving.get("/ping/svc/1")
    assert serving.states() == {"svc/1": "UP"}
    answer = serving.get("/ping/svc/2")  # one more key, or an exit status
    assert answer.status == 400 and "svc%2F2" in answer.json["detail"] and "exit=2" in answer.json["detail"]
    assert serving.states() == {"svc/1": "UP"}
    serving.get("/ping/svc/fail")
    answer = serving.get("/ping/svc/1")  # can mean either now
    assert answer.status == 400 and "svc%2F1" in answer.json["detail"] and "exit=1" in answer.json["detail"]


def test_the_query_survives_a_proxy_that_decodes_slashes(serving):
    for query in ("key=web/db/ok", "key=web%2Fdb%2Fok&event=ok", "key=web/db/ok&exit=2"):
        assert serving.get(f"/ping?{query}").status == 200
    assert serving.states() == {"web/db/ok": "FAILED"}


def test_this_programs_own_beats_survive_such_a_proxy(serving):
    class Proxy(BaseHTTPRequestHandler):
        def do_POST(self):
            path, _, query = self.path.partition("?")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = serving.post(f"{unquote(path)}?{query}".rstrip("?"), body)
            self.send_response(answer.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments):
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
    thread.start()
    try:
        url = f"http://127.0.0.1:{proxy.server_port}"
        for more in (["beat", "svc/1"], ["beat", "svc/fail"], ["run", "--key", "svc/2", "--", "true"]):
            assert run_command(*more, HEARTFELT_URL=url).returncode == 0
        assert run_command("beat", "--status", "3", "svc/2", HEARTFELT_URL=url).returncode == 0
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
    assert serving.states() == {"svc/1": "NEW", "svc/fail": "NEW", "svc/2": "FAILED"}


def test_another_sites_page_may_not_ping_by_the_query_either(serving):
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert serving.get("/ping?key=K", headers=headers).status == 403
    assert serving.states() == {}
