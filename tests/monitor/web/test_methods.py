# SPDX-License-Identifier: MIT
"""Methods and parameters of all paths: HEAD is GET without a body, others are refused with Allow, ranges hold."""

from __future__ import annotations

import re

import pytest

from heartfelt.monitor.web.api.routes import ENDPOINTS, INGEST_ENDPOINTS
from tests.monitor.serving import Serving

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
CHANGING = ("date", "content-length", "etag", "set-cookie")
OF_PATH = {"id": "1", "key": "job", "status": "3"}


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = Serving(data=tmp_path_factory.mktemp("methods") / "data")
    try:
        serving.wait_ready()
        serving.beats(2)
        yield serving
    finally:
        serving.end()


def path_of(endpoint):
    return re.sub(r"\{(\w+)[^}]*\}", lambda found: OF_PATH[found[1]], endpoint.path)


PATHS = sorted({path_of(one) for one in (*ENDPOINTS, *INGEST_ENDPOINTS)})
GETS = sorted({path_of(one) for one in (*ENDPOINTS, *INGEST_ENDPOINTS) if one.method == "GET"})


def methods_of(path):
    """Those of the path as it is, before those of a path with a parameter in this place."""
    fixed = {one.method for one in (*ENDPOINTS, *INGEST_ENDPOINTS) if one.path == path}
    found = fixed or {one.method for one in (*ENDPOINTS, *INGEST_ENDPOINTS) if path_of(one) == path}
    return found | ({"HEAD"} if "GET" in found else set())


def test_head_is_answered_as_get_is_without_the_body(serving):
    for path in GETS:
        head = serving.request("HEAD", path)
        if path == "/api/v1/stream":
            connection, get = serving.open_stream()
            got = {name.lower(): value for name, value in get.getheaders()}
            connection.close()
        else:
            get = serving.get(path)
            got = get.headers
        assert (head.status, head.body) == (get.status, b""), path
        for headers in (head.headers, got):
            headers.pop("connection", None)
            if path in ("/api/v1/stream", "/sermant/getPluginsInfo"):
                headers.pop("transfer-encoding", None)  # HEAD may leave it out
        assert set(head.headers) == set(got), path
        for name in set(got) - set(CHANGING):
            assert head.headers[name] == got[name], (path, name)


def test_other_methods_are_refused_and_told_which_there_are(serving):
    for path in PATHS:
        allowed = methods_of(path)
        for method in METHODS:
            if method in allowed:
                continue
            answer = serving.request(method, path)
            assert answer.status == 405, (method, path)
            assert set(answer.headers["allow"].split(", ")) == allowed, (method, path)
            if method != "HEAD":
                assert (answer.json["code"], answer.json["status"]) == ("method", 405)
                assert method in answer.json["detail"]


def test_unknown_paths_are_problem_documents_for_every_method(serving):
    for path in ("/none", "/api/v1/none", "/api/v2/beats", "/sermant/none", "/healthz/"):
        for method in METHODS:
            answer = serving.request(method, path)
            assert answer.status == 404, (method, path)
            assert answer.headers["content-type"] == "application/problem+json"
            if method != "HEAD":
                assert (answer.json["code"], repr(path) in answer.json["detail"]) == ("no_such_path", True)


def test_an_unknown_parameter_is_named_on_every_path(serving):
    for endpoint in (*ENDPOINTS, *INGEST_ENDPOINTS):
        if endpoint.path.startswith("/sermant/"):  # Sermant's backend ignores them
            continue
        answer = serving.request(endpoint.method, path_of(endpoint), nothing="1")
        assert answer.status == 400, endpoint
        if endpoint.method != "HEAD":
            assert answer.json["field"] == "nothing" and "nothing" in answer.json["detail"], endpoint


RANGES = sorted(
    {(path_of(one), param.name) for one in ENDPOINTS if one.method == "GET" for param in one.params
     if "minimum" in param.schema}
)  # fmt: skip


@pytest.mark.parametrize(("path", "name"), RANGES)
def test_a_whole_number_is_taken_in_the_range_that_is_described(serving, path, name):
    (param,) = [
        param
        for one in ENDPOINTS
        if one.method == "GET" and path_of(one) == path
        for param in one.params
        if param.name == name
    ]
    least, most = param.schema["minimum"], param.schema["maximum"]
    for value in (least, most, f"00{least}"):
        answer = serving.get(path, **{name: value})
        refused = answer.status == 400 and answer.json["field"] == name and "whole number" in answer.json["detail"]
        assert not refused and answer.status < 500, (value, answer.body)
    for value in (least - 1, most + 1, "9" * 19, "9" * 40, "9" * 5000, "x", "", "1.0", "²", "٣", "+1", " 1", "1_0"):
        if str(value).isdigit() and str(value).isascii() and least <= int(str(value)[:4000]) <= most:
            continue
        answer = serving.get(path, **{name: value})
        assert (answer.status, answer.json["field"]) == (400, name), (value, answer.body)
        assert f"from {least} to {most}" in answer.json["detail"]


def test_a_number_in_a_path_may_have_any_length(serving):
    for endpoint in ENDPOINTS:
        if "{id:number}" not in endpoint.path:
            continue
        for number in ("9" * 18, "9223372036854775807", "9223372036854775808", "9" * 40, "9" * 5000):
            path = endpoint.path.replace("{id:number}", number)
            body = "{}" if endpoint.method in ("POST", "PUT") else None
            query = {"reason": "x"} if endpoint.method == "DELETE" and not path.endswith("ack") else {}
            answer = serving.request(endpoint.method, path, body, **query)
            assert answer.status in (200, 404), (endpoint, number[:50], answer.body)
            assert len(answer.body) < 1000
    for value in ("99999999999", "100000000000", "9" * 40, "-1", "x"):
        answer = serving.get("/ping/long", timeout_ms=value)
        assert answer.status == (200 if value == "99999999999" else 400), value
        if answer.status == 400:
            assert "from 1 to 99999999999" in answer.json["detail"]
