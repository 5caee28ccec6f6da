# SPDX-License-Identifier: MIT
"""All routes: who may call each, and that the description says what they do."""

from __future__ import annotations

import re

import msgspec
import pytest

from heartfelt.monitor.reasons import CODES
from heartfelt.monitor.web.api.endpoint import JSON
from heartfelt.monitor.web.api.openapi import plain_path
from heartfelt.monitor.web.api.routes import ENDPOINTS, INGEST_ENDPOINTS, starlette_routes
from tests.monitor.serving import run_command

# Written down once more, so that a route that opens itself is noticed. Whatever is not here is for administrators.
OPEN = {"/healthz", "/readyz", "/api/v1/openapi.json"}
READ = {
    "GET /api/v1/instances", "GET /api/v1/instances/order", "GET /api/v1/instances/{id}",
    "GET /api/v1/instances/{id}/changes", "GET /api/v1/instances/{id}/runs", "GET /api/v1/services",
    "GET /api/v1/changes", "GET /api/v1/events", "GET /api/v1/events/counts", "GET /api/v1/uptime", "GET /api/v1/heat",
    "GET /api/v1/stats", "GET /api/v1/hold", "GET /api/v1/stream", "GET /metrics", "GET /sermant/getPluginsInfo",
    "GET /sermant/event/events", "GET /sermant/event/events/page", "GET /api/v1/fleet",
}  # fmt: skip


def name_of(endpoint):
    return f"{endpoint.method} {plain_path(endpoint.path)}"


def expected_scope(endpoint):
    if endpoint.path in OPEN:
        return None
    if endpoint.external:
        return "ingest"
    return "read" if name_of(endpoint) in READ else "admin"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """A monitor that needs tokens, and a token of each scope."""
    from tests.monitor.serving import Serving

    data = tmp_path_factory.mktemp("guarded") / "data"
    tokens = {None: None}
    for scope in ("ingest", "read", "admin"):
        made = run_command("token", "create", scope, "--scope", scope, "--data", data)
        assert made.returncode == 0, made.stderr
        tokens[scope] = made.stdout.strip()
    serving = Serving(data=data, auth_require="always")
    serving.wait_ready()
    yield serving, tokens
    serving.end()


@pytest.fixture(scope="module")
def open_monitor(tmp_path_factory):
    from tests.monitor.serving import Serving

    serving = Serving(data=tmp_path_factory.mktemp("open") / "data")
    serving.wait_ready()
    for n in range(3):
        serving.beat(instance_id=f"i{n}", version="1.0", pluginInfoMap={"p": {"name": "p", "version": "2"}})
    yield serving
    serving.end()


def status_of(serving, endpoint, token):
    path = re.sub(r"\{\w+:\w+\}", "1", endpoint.path)
    path = re.sub(r"\{[^}]*\}", "nobody", path)
    if endpoint.path == "/api/v1/stream":
        connection, answer = serving.open_stream(token=token)
        connection.close()
        return answer.status
    body = b"{}" if endpoint.method in ("POST", "PUT") else None
    headers = {"Content-Type": "application/json"} if body else None
    return serving.request(endpoint.method, path, body, token=token, headers=headers).status


def test_the_scopes_are_those_that_are_written_down_here():
    for endpoint in (*ENDPOINTS, *INGEST_ENDPOINTS):
        scope = None if endpoint.scope is None else endpoint.scope.value
        assert scope == expected_scope(endpoint), name_of(endpoint)
    assert {name_of(one) for one in ENDPOINTS} >= READ


@pytest.mark.parametrize("endpoint", [*ENDPOINTS, *INGEST_ENDPOINTS], ids=name_of)
def test_each_route_asks_for_its_scope(guarded, endpoint):
    serving, tokens = guarded
    wanted = expected_scope(endpoint)
    for held, token in tokens.items():
        status = status_of(serving, endpoint, token)
        if wanted is None or held in (wanted, "admin"):
            assert status not in (401, 403), (held, status)
        else:
            assert status == 401 if held is None else status in (401, 403), (held, status)


def test_what_is_no_route_is_served_to_nobody(guarded):
    serving, tokens = guarded
    paths = ("/none", "/panel/", "/api/v1/none", "/api/v1/instances/", "/..%2f..%2fetc/passwd", "/sermant")
    for path in (*paths, "/api/v1/beats/"):
        answer = serving.get(path, token=tokens["admin"])
        assert (answer.status, answer.json["code"]) == (404, "no_such_path"), path
        page = serving.get(path, token=tokens["admin"], headers={"Accept": "text/html"})
        assert page.status == 404
        if page.headers["content-type"] != "application/problem+json":
            assert page.body == serving.get("/").body  # which anybody may have
    answer = serving.request("DELETE", "/api/v1/services", token=tokens["admin"])
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


def test_the_answers_to_wrong_tokens_say_what_to_do(guarded):
    serving, tokens = guarded
    none = serving.get("/api/v1/services")
    assert (none.status, none.json["code"]) == (401, "token_needed")
    assert none.headers["www-authenticate"] == "Bearer"
    wrong = serving.get("/api/v1/services", token="hf_" + "0" * 12 + "_" + "a" * 43)
    assert (wrong.status, wrong.json["code"]) == (401, "token_unknown")
    other = serving.get("/api/v1/services", token=tokens["ingest"])
    assert (other.status, other.json["code"]) == (403, "scope")
    digest = serving.get("/api/v1/services", headers={"Authorization": "Digest eDp5"})
    assert (digest.status, digest.json["code"]) == (401, "authorization")


def test_the_routes_that_are_served_are_those_of_the_table():
    served = {(path.path, method) for path in starlette_routes(None) for method in path.methods}
    table = {(one.path, one.method) for one in ENDPOINTS}
    assert len(table) == len(ENDPOINTS)
    table |= {(f"{path}/", method) for path, method in table if path.startswith("/sermant/")}  # as Spring Boot 2
    assert {(path, method) for path, method in served if method != "HEAD"} == table


def test_the_description_has_all_routes_and_their_parameters(open_monitor):
    document = open_monitor.json("/api/v1/openapi.json")
    described = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    assert described == {(plain_path(one.path), one.method) for one in (*ENDPOINTS, *INGEST_ENDPOINTS)}
    for one in ENDPOINTS:
        operation = document["paths"][plain_path(one.path)][one.method.lower()]
        query = {param["name"] for param in operation["parameters"] if param["in"] == "query"}
        assert query == {param.name for param in one.params}
        in_path = {param["name"] for param in operation["parameters"] if param["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", plain_path(one.path)))
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(names) == len(set(names))
    for reference in re.findall(r'"\$ref":\s*"#/components/schemas/([^"]+)"', msgspec.json.encode(document).decode()):
        assert reference in document["components"]["schemas"]


def test_the_description_has_the_meanings_of_parameters_and_fields(open_monitor):
    document = open_monitor.json("/api/v1/openapi.json")
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for param in operation["parameters"]:
                assert param.get("description") or path.startswith("/sermant/"), (path, param["name"])
    meanings = {
        (name, field): schema.get("description")
        for name, struct in document["components"]["schemas"].items()
        for field, schema in struct.get("properties", {}).items()
    }
    assert meanings["Acted", "matched"] == "Number of instances that match the filter."
    assert meanings["InstanceDetail", "held"] == meanings["InstanceView", "held"]
    assert meanings["InstanceView", "held"]
    assert meanings["Acknowledge", "why"] == meanings["Asked", "why"] == "The reason, for the record."
    assert meanings["Acknowledge", "by"] != meanings["Asked", "by"]
    assert meanings["Ack", "until_ms"] == "null: until the instance recovers."
    assert meanings["InstanceView", "reason_code"].startswith("A code of `x-heartfelt-reasons`")


def test_the_description_asks_for_tokens_where_they_are_needed(guarded, open_monitor):
    serving, _ = guarded
    for monitor, needs in ((serving, True), (open_monitor, False)):
        for methods in monitor.json("/api/v1/openapi.json")["paths"].values():
            for operation in methods.values():
                optional = {} in operation["security"]
                assert optional is (operation["x-heartfelt-scope"] is not None and not needs)


def test_the_description_has_each_reason(open_monitor):
    document = open_monitor.json("/api/v1/openapi.json")
    reasons = document["x-heartfelt-reasons"]
    assert set(reasons) == set(CODES)
    assert reasons["stalled"]["args"] == {"stall_ms": {"kind": "duration", "optional": False}}
    assert reasons["stalled"]["text"]["en"] == "the monitor itself was stalled for {stall_ms}"
    schemas = document["components"]["schemas"]
    for name in ("InstanceView", "InstanceDetail", "ChangeView", "HoldView"):
        assert {"reason", "reason_code", "reason_args"} <= set(schemas[name]["properties"]), name
    assert "field" in schemas["ProblemDocument"]["required"]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("GET", "/api/v1/instances?limit=0", None, "limit"),
        ("GET", "/api/v1/instances?nothing=1", None, "nothing"),
        ("GET", "/api/v1/instances?state=DEAD", None, "state"),
        ("GET", "/api/v1/instances?sort=id&sort=id", None, "sort"),
        ("GET", "/api/v1/instances?cursor=x", None, "cursor"),
        ("GET", "/api/v1/events?start_ms=5&end_ms=1", None, "start_ms"),
        ("GET", "/api/v1/events?before=-5", None, "before"),
        ("GET", "/api/v1/events?before=5-", None, "before"),
        ("GET", f"/api/v1/events?before={1 << 63}", None, "before"),
        ("GET", f"/api/v1/events?before={1 << 63}-1", None, "before"),
        ("GET", f"/api/v1/events?before={10**30}", None, "before"),
        ("GET", f"/api/v1/changes?before={(1 << 62) + 1}", None, "before"),
        ("GET", f"/api/v1/instances?id={1 << 63}", None, "id"),
        ("GET", "/api/v1/instances/999", None, None),
        ("POST", "/api/v1/instances/{id}/pause", {"for_s": "long"}, "for_s"),
        ("POST", "/api/v1/instances/{id}/pause", {"for_s": -1}, "for_s"),
        ("POST", "/api/v1/instances/{id}/pause", {"until": 1}, "until"),
        ("POST", "/api/v1/instances/{id}/pause", [], None),
        ("POST", "/api/v1/hold/release", {"by": 7}, "by"),
        ("POST", "/api/v1/tokens", {"name": "x"}, "scopes"),
        ("POST", "/api/v1/tokens", {"name": "", "scopes": ["read"]}, "name"),
        ("POST", "/api/v1/tokens", {"name": "x", "scopes": []}, "scopes"),
        ("POST", "/api/v1/webhooks", {"kind": "slack"}, "url"),
        ("POST", "/api/v1/webhooks", {"kind": "generic", "url": "https://a.example/", "filter": {"states": ["X"]}},
         "filter.states"),
        ("POST", "/api/v1/webhooks", {"kind": "generic", "url": "https://a.example/", "template": "{"}, "template"),
        ("POST", "/api/v1/beats", {"service": "a"}, "instanceId"),
        ("POST", "/api/v1/beats", {"service": "a", "instanceId": "b", "lagMs": -1}, "lagMs"),
        ("POST", "/api/v1/beats", {"service": "a", "instanceId": "b", "ip": "one"}, "ip"),
        ("POST", "/api/v1/beats", {"service": "a" * 600, "instanceId": "b"}, "service"),
        ("GET", "/ping/job?timeout=long", None, "timeout"),
        ("GET", "/ping/job?rid=" + "x" * 200, None, "rid"),
        ("GET", "/ping/job?nothing=1", None, "nothing"),
    ],
)  # fmt: skip
def test_a_problem_names_the_field_at_fault(open_monitor, method, path, body, field):
    path = path.replace("{id}", str(open_monitor.find("i1")["id"]))
    answer = open_monitor.request(method, path, body)
    assert answer.status in (400, 404), answer.body
    assert answer.json["field"] == field, answer.json


def test_each_of_many_beats_that_are_refused_names_its_field(open_monitor):
    beats = [{"service": "a", "instanceId": "b"}, {"service": "a", "instanceId": 7}, {"service": "a"}, "no beat"]
    refused = open_monitor.post("/api/v1/beats", beats).json["refused"]
    assert [(one["index"], one["field"]) for one in refused] == [(1, "instanceId"), (2, "instanceId"), (3, None)]


@pytest.mark.parametrize(
    "endpoint",
    [one for one in ENDPOINTS if (one.method, one.media) == ("GET", JSON) and one.answer and "{" not in one.path],
    ids=name_of,
)
def test_answers_are_what_the_description_says(open_monitor, endpoint):
    answer = open_monitor.get(endpoint.path)
    if endpoint.path == "/sermant/event/events/page":
        assert answer.status == 400  # there is no query yet
        return
    assert answer.status == 200, answer.body
    decoded = msgspec.json.decode(answer.body, type=endpoint.answer)
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == answer.json  # nothing is there that is not described


def test_one_instance_is_what_the_description_says(open_monitor):
    endpoint = next(one for one in ENDPOINTS if one.path == "/api/v1/instances/{id:number}" and one.method == "GET")
    id_ = open_monitor.find("i1")["id"]
    answer = open_monitor.get(f"/api/v1/instances/{id_}")
    decoded = msgspec.json.decode(answer.body, type=endpoint.answer)
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == answer.json
    assert decoded.instance.instance_id == "i1"


@pytest.mark.parametrize("endpoint", [one for one in ENDPOINTS if one.path != "/api/v1/stream"], ids=name_of)
def test_every_answer_has_the_headers_that_keep_browsers_out(open_monitor, endpoint):
    if endpoint.method not in ("GET", "POST"):
        return
    path = re.sub(r"\{[^}]*\}", "999", endpoint.path)
    answer = open_monitor.request(endpoint.method, path, b"{" if endpoint.method == "POST" else None)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert not [name for name in answer.headers if name.startswith("access-control")]
    if answer.status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json) == {"type", "title", "status", "detail", "code", "field"}
        assert answer.json["status"] == answer.status


def test_a_slash_at_the_end_of_sermants_paths_means_nothing(open_monitor):
    for path in ("getPluginsInfo", "event/events", "event/webhooks"):
        plain, slash = open_monitor.get(f"/sermant/{path}"), open_monitor.get(f"/sermant/{path}/")
        assert (plain.status, slash.status) == (200, 200), path
    wrong = [open_monitor.request("PUT", f"/sermant/event/webhooks/1{end}", {"x": 1}).body for end in ("", "/")]
    assert wrong[0] == wrong[1] and b"url: is missing" in wrong[0]
    assert open_monitor.get("/sermant/event/events//").status == 404
    assert open_monitor.get("/api/v1/services/").status == 404


@pytest.mark.parametrize(
    "query",
    [f"changes?before={(1 << 62) - 1}", f"changes?before={1 << 62}", f"instances?id={(1 << 63) - 1}",
     f"events?before={(1 << 63) - 1}", f"events?before={1 << 53}-{(1 << 63) - 1}"],
)  # fmt: skip
def test_the_largest_numbers_of_a_range_are_in_it(open_monitor, query):
    assert open_monitor.get(f"/api/v1/{query}").status == 200
