# SPDX-License-Identifier: MIT
"""Clients that have only a URL: Basic credentials and secret ping URLs, by a real monitor with TLS, curl and wget."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess

import pytest

from tests.certificates import Certificates
from tests.monitor.serving import PATIENCE_S, Serving, run_command, until

INGEST = ("POST", "/api/v1/beats", {"service": "shop", "instanceId": "one"})
PING = ("GET", "/ping/job", None)
REST = ("GET", "/api/v1/services", None)
METRICS = ("GET", "/metrics", None)
STREAM = ("HEAD", "/api/v1/stream", None)


class Guarded(Serving):
    """Needs tokens, and serves TLS."""

    admin = url_of_cli = ""

    def ask(self, request, **options):
        method, path, body = request
        return self.request(method, path, body, **options)

    def make(self, **fields):
        made = self.post("/api/v1/tokens", fields, token=self.admin)
        assert made.status == 201, made.body
        return made.json

    def path_of(self, url):
        return url[url.index("/ping/") :]

    @property
    def everything(self):
        """All that it shows to an administrator, and its log."""
        paths = ("instances", "services", "changes", "events", "tokens", "stats", "settings", "openapi.json")
        shown = [self.get(f"/api/v1/{path}", token=self.admin).body.decode() for path in paths]
        return "".join([*shown, self.get("/metrics", token=self.admin).body.decode(), self.log])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("callers")
    certificates = Certificates(folder)
    data = folder / "data"
    admin = run_command("token", "create", "admin", "--scope", "admin", "--data", data)
    made = run_command("token", "create", "a camera", "--ping", "cam/1", "--data", data)
    assert (admin.returncode, made.returncode) == (0, 0), made.stderr
    serving = Guarded(
        "--set", f"tls.cert={certificates.certificate}", "--set", f"tls.key={certificates.key}",
        data=data, tls=certificates.client_context(), auth_require="always",
    )  # fmt: skip
    serving.wait_ready()
    serving.ca = str(certificates.ca)
    serving.admin, serving.url_of_cli = admin.stdout.strip(), made.stdout.strip()
    yield serving
    serving.end()


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize("request_", [INGEST, PING, REST, METRICS, STREAM], ids=lambda one: one[1])
def test_the_password_is_a_token(guarded, request_):
    for user, password in (("anybody", guarded.admin), ("", guarded.admin), ("ünï:", ""), (guarded.admin, "")):
        status = guarded.ask(request_, headers=basic(user, password)).status
        assert status == (401 if user == "ünï:" else 200), (user, status)
    for wrong in (
        "Basic",
        "Basic ?",
        "Basic eA==",
        "Basic /w==",
        "Basic " + base64.b64encode(b":").decode(),
        "Digest x",
    ):
        answer = guarded.ask(request_, headers={"Authorization": wrong})
        assert answer.status == 401, wrong
        assert request_ is STREAM or answer.json["code"] == "authorization"


@pytest.mark.parametrize(
    ("request_", "asks"), [(INGEST, True), (PING, True), (METRICS, True), (REST, False), (STREAM, False)]
)
def test_a_password_is_asked_for_where_no_page_of_the_panel_asks(guarded, request_, asks):
    for headers in (None, {"Authorization": "Bearer hf_x"}, {"Authorization": "Basic ?"}):
        answer = guarded.ask(request_, headers=headers)
        assert answer.status == 401
        assert ("Basic " in answer.headers["www-authenticate"]) is asks
        assert "Bearer" in answer.headers["www-authenticate"]


@pytest.mark.parametrize("request_", [INGEST, PING, REST, METRICS], ids=lambda one: one[1])
def test_a_valid_token_without_the_scope_is_403_with_the_remedy(guarded, request_):
    held = guarded.make(name="t", scopes=["read"] if request_ in (INGEST, PING) else ["ingest"])
    answer = guarded.ask(request_, token=held["token"])
    assert (answer.status, answer.json["code"]) == (403, "scope")
    assert f"allows scope {held['scopes'][0]}" in answer.json["detail"]
    assert "heartfelt token create NAME --scope" in answer.json["detail"]
    gone = guarded.request("DELETE", f"/api/v1/tokens/{held['id']}", token=guarded.admin)
    assert gone.status == 204
    answer = guarded.ask(request_, token=held["token"])
    assert (answer.status, answer.json["code"]) == (401, "token_unknown")


@pytest.mark.parametrize("request_", [INGEST, PING, REST], ids=lambda one: one[1])
def test_two_authorization_headers_are_refused(guarded, request_):
    method, path, body = request_
    for second in (f"Bearer {guarded.admin}", basic("x", guarded.admin)["Authorization"]):
        connection = guarded.connect()
        connection.putrequest(method, path)
        connection.putheader("Authorization", f"Bearer {guarded.admin}")
        connection.putheader("Authorization", second)
        text = json.dumps(body).encode() if body else b""
        connection.putheader("Content-Length", str(len(text)))
        connection.endheaders(text)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (400, "authorization")
        connection.close()


def test_each_answer_says_nosniff_and_keep_to_tls(guarded):
    requests = [INGEST, PING, REST, METRICS, *(("GET", path, None) for path in ("/healthz", "/", "/nothing"))]
    requests += [("PUT", "/ping/x", None), ("GET", "/api/v1/beats", None), ("POST", "/api/v1/beats", [1])]
    asked = [
        guarded.ask(one, token=token, headers={"Host": host})
        for one in requests
        for token in (guarded.admin, None)
        for host in ("localhost", "elsewhere.example")
    ]
    for answer in asked:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["strict-transport-security"].startswith("max-age=")
    connection = guarded.connect()
    connection.putrequest("GET", "/healthz")
    connection.putheader("Content-Length", "x")  # refused before there is a request
    connection.endheaders()
    bad = connection.getresponse()
    assert (bad.status, bad.getheader("x-content-type-options")) == (400, "nosniff")
    connection.close()


def test_a_secret_url_pings_its_key_and_nothing_else(guarded):
    made = guarded.make(name="backup", key="nas/backup")
    url = guarded.path_of(made["url"])
    assert url == f"/ping/{made['token']}"
    assert made["url"].startswith(guarded.url)
    for method in ("GET", "POST", "HEAD"):
        assert guarded.request(method, url).status == 200
    assert guarded.find("nas/backup", token=guarded.admin)["state"] in ("NEW", "UP")
    assert guarded.get(f"{url}/start", rid="r1").status == 200
    assert guarded.post(f"{url}/3?rid=r1", b"see " + made["url"].encode()).status == 200
    assert guarded.find("nas/backup", token=guarded.admin)["state"] == "FAILED"
    assert guarded.get(url, headers={"Authorization": "Basic ?"}).status == 200  # is not looked at

    for request_ in (INGEST, ("GET", "/ping/nas/backup", None), REST, METRICS, ("GET", "/api/v1/tokens", None)):
        for options in ({"token": made["token"]}, {"headers": basic("x", made["token"])}):
            assert guarded.ask(request_, **options).status == 403
    assert guarded.get(url, key="other").status == 400
    assert guarded.get(f"{url}/other").status == 404
    assert guarded.get(f"/ping/other/{made['token']}").status == 404
    evil = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
    assert guarded.get(url, headers=evil).status == 403

    listed = {one["id"]: one for one in guarded.json("/api/v1/tokens", token=guarded.admin)["tokens"]}
    assert (listed[made["id"]]["key"], listed[made["id"]]["scopes"]) == ("nas/backup", [])
    keys = {one["instance_id"] for one in guarded.json("/api/v1/instances", token=guarded.admin)["instances"]}
    assert not any(key.startswith(("hf_", "other")) for key in keys)

    assert guarded.request("DELETE", f"/api/v1/tokens/{made['id']}", token=guarded.admin).status == 204
    revoked = guarded.get(url)
    unknown = guarded.get(f"/ping/hf_{'0' * 12}_{'x' * 43}")
    assert (revoked.status, revoked.body) == (unknown.status, unknown.body) == (404, unknown.body)
    figures = guarded.get("/metrics", token=guarded.admin).body.decode()
    assert int(re.search(r'{.*reason="ping_secret".*} (\d+)', figures)[1]) >= 2

    for wrong in ("/pings", "/api/v1/ping", "/ping/", "/PING"):  # typing errors
        assert made["token"][20:] not in guarded.get(f"{wrong}/{made['token']}").body.decode()
    assert made["token"][20:] not in guarded.everything


def test_bad_requests_for_secret_urls_are_refused(guarded):
    for fields in (
        {"key": "x", "scopes": ["read"]}, {"key": ""}, {"key": " x"}, {"key": "a\nb"}, {"key": "k" * 513}, {},
        {"key": guarded.admin},
    ):  # fmt: skip
        answer = guarded.post("/api/v1/tokens", {"name": "x", **fields}, token=guarded.admin)
        assert answer.status == 400, fields
        assert answer.json["field"] in ("key", "scopes")
        assert guarded.admin not in answer.body.decode()


def test_curl_and_wget_need_nothing_but_the_url(guarded):
    where = f"{guarded.host}:{guarded.port}"
    token = guarded.make(name="t", scopes=["ingest"])["token"]
    urls = [f"https://nas:{token}@{where}/ping/by-password", f"https://{where}{guarded.path_of(guarded.url_of_cli)}"]
    programs = [["curl", "-fsS", "--cacert", guarded.ca]]
    programs += [["wget", "-q", "-O", "-", "--ca-certificate", guarded.ca]] if shutil.which("wget") else []
    for program in programs:
        for url in urls:
            done = subprocess.run([*program, url], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert (done.returncode, done.stdout) == (0, "OK"), (program, done.stderr)
    for key in ("by-password", "cam/1"):
        assert guarded.find(key, token=guarded.admin) is not None


def test_the_command_lists_and_revokes_a_secret_url(guarded):
    listed = run_command("token", "list", "--data", guarded.data).stdout
    id_ = guarded.url_of_cli.rsplit("/", 1)[1].split("_")[1]
    line = next(line for line in listed.splitlines() if line.startswith(id_))
    assert "ping cam/1" in line and "a camera" in line
    assert guarded.url_of_cli.startswith("https://") or "/ping/hf_" in guarded.url_of_cli
    assert run_command("token", "revoke", id_, "--data", guarded.data).returncode == 0
    until(lambda: guarded.get(guarded.path_of(guarded.url_of_cli)).status == 404, "the end of the URL")
