# SPDX-License-Identifier: MIT
"""The description and the monitor say the same: bodies, pings' queries, statuses, tokens. A client made of it works."""

from __future__ import annotations

import ast
import gzip
import importlib
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urljoin

import msgspec
import pytest

from heartfelt.monitor.ingest import decode, ping_words
from heartfelt.monitor.ingest.heartbeat import BOUNDS, Heartbeat, HeartbeatsTaken
from heartfelt.monitor.ingest.ping_query import DURATIONS, KNOWN
from heartfelt.monitor.web.api.ingest_routes import INGEST_ENDPOINTS
from heartfelt.monitor.web.api.openapi import document
from heartfelt.monitor.web.api.routes import ENDPOINTS
from heartfelt.monitor.web.api.webhook_shapes import NewWebhook, ShownWebhook
from heartfelt.wire import fields
from tests.monitor.serving import PATIENCE_S, Serving, until

BEAT = {"service": "shop", "instanceId": "one"}
MADE_OF = {"string": "text", "integer": 1, "boolean": True, "array": ["text"], "object": {}}


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    serving = Serving(data=tmp_path_factory.mktemp("described") / "data", webhooks_allow_private="true")
    try:
        serving.wait_ready()
        serving.beat()
        yield serving
    finally:
        serving.end()


@pytest.fixture(scope="module")
def described(serving):
    return serving.json("/api/v1/openapi.json")


@pytest.fixture(scope="module")
def heartbeat(described):
    return described["components"]["schemas"]["Heartbeat"]


def operations(described):
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def kinds_of(schema):
    return {one.get("type", "object") for one in schema.get("anyOf", [schema])}


# -- the document as a whole


def test_a_validator_finds_nothing_to_complain_of(described):
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(described)


def test_every_body_and_every_answer_has_a_schema(described):
    for name, operation in operations(described):
        contents = [operation["requestBody"]["content"]] if "requestBody" in operation else []
        contents += [answer["content"] for answer in operation["responses"].values() if "content" in answer]
        for content in contents:
            for media, one in content.items():
                free = one["schema"] in ({}, {"type": "object"}) or one["schema"].get("additionalProperties") == {}
                assert not free or name == "GET /api/v1/openapi.json", (name, media)
        if operation["x-heartfelt-scope"] and not name.startswith("HEAD") and "204" not in operation["responses"]:
            assert contents, name


def test_every_answer_of_the_monitor_is_described(described):
    """Each status has its problem document, and those that say when to try again have Retry-After."""
    answers = described["components"]["responses"]
    assert (
        set(answers["TooManyRequests"]["headers"]) == set(answers["ServiceUnavailable"]["headers"]) == {"Retry-After"}
    )
    assert set(answers["Unauthorized"]["headers"]) == {"WWW-Authenticate"}
    for name, operation in operations(described):
        assert {"400", "default"} <= set(operation["responses"]), name
        if operation["x-heartfelt-scope"]:
            assert {"401", "403"} <= set(operation["responses"]), name
        if "requestBody" in operation:
            assert {"413", "415"} <= set(operation["responses"]), name
    taken = described["paths"]["/api/v1/beats"]["post"]["responses"]
    assert {"200", "400", "401", "403", "408", "413", "415", "429", "503"} <= set(taken)
    for name, operation in operations(described):
        if name.split()[1].startswith("/ping"):
            assert {"200", "400", "401", "403", "404", "413", "415", "429", "503"} <= set(operation["responses"]), name


def test_tokens_are_needed_only_where_they_are(described):
    for name, operation in operations(described):
        wanted = [{}, {"bearer": []}, {"basic": []}] if operation["x-heartfelt-scope"] else []
        assert operation["security"] == wanted, name
    guarded = msgspec.json.decode(document((*ENDPOINTS, *INGEST_ENDPOINTS), needs_tokens=True))
    for name, operation in operations(guarded):
        assert operation["security"] == ([{"bearer": []}, {"basic": []}] if operation["x-heartfelt-scope"] else []), (
            name
        )
    assert {one["scheme"] for one in guarded["components"]["securitySchemes"].values()} == {"bearer", "basic"}


@pytest.mark.parametrize("base", ["http://127.0.0.1:8900", "https://example.com/watch/hearts"])
def test_the_server_is_where_the_description_is(described, base):
    (server,) = described["servers"]
    assert urljoin(f"{base}/api/v1/openapi.json", server["url"]).rstrip("/") == base


def test_the_description_has_an_etag(serving):
    first = serving.get("/api/v1/openapi.json")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = serving.get("/api/v1/openapi.json", headers={"If-None-Match": known})
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    assert serving.get("/api/v1/openapi.json", headers={"If-None-Match": '"other"'}).status == 200


def test_the_examples_are_accepted(serving, described):
    for name, operation in operations(described):
        method, path = name.split()
        for media, content in operation.get("requestBody", {}).get("content", {}).items():
            for example in content.get("examples", {}).values():
                body = example["value"] if media == "application/json" else example["value"].encode()
                if isinstance(body, dict) and "url" in body:
                    body |= {"url": "http://127.0.0.1:1/x"}  # others would be called
                if path == "/api/v1/webhooks/{id}":
                    path = f"{path[:-4]}{serving.json('/api/v1/webhooks')['webhooks'][0]['id']}"
                answer = serving.request(method, path.replace("{key}", "job").replace("{status}", "0"), body, **(
                    {"key": "job"} if path == "/ping" else {}))  # fmt: skip
                assert answer.status in (200, 201), (name, answer.body)


# -- heartbeats


def test_the_decoder_reads_every_field_that_is_described(serving, heartbeat):
    for name, schema in heartbeat["properties"].items():
        kinds = kinds_of(schema)
        wrong = next(value for kind, value in MADE_OF.items() if kind not in kinds)
        answer = serving.post("/api/v1/beats", {**BEAT, name: wrong})
        assert (answer.status, answer.json["field"]) == (400, name), answer.json
        for kind in kinds - {"null"}:
            if name not in BEAT and name != "goodbye":
                assert serving.post("/api/v1/beats", {**BEAT, name: MADE_OF[kind]}).status == 200, (name, kind)


def test_every_field_that_the_decoder_reads_is_described(heartbeat):
    tree = ast.parse(inspect.getsource(decode.decode_beat))
    read = {
        node.attr for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "found"
    }  # fmt: skip
    assert read > {"service", "lagMs"}
    sent = {getattr(fields, name) for name in fields.__all__ if isinstance(getattr(fields, name), str)}
    assert read | (sent - {fields.NAME, fields.EXT_INFO}) <= set(heartbeat["properties"])
    assert {fields.NAME, fields.EXT_INFO} <= set(
        msgspec.json.schema_components([Heartbeat])[1]["HeartbeatPart"]["properties"]
    )


def test_what_a_heartbeat_needs_is_what_is_required(serving, heartbeat):
    assert heartbeat["required"] == ["service", "instanceId"]
    assert heartbeat["additionalProperties"] is True
    for name in heartbeat["required"]:
        assert heartbeat["properties"][name]["type"] == "string"
        for body in ({**BEAT, name: None}, {key: value for key, value in BEAT.items() if key != name}):
            assert serving.post("/api/v1/beats", body).json["field"] == name


def test_the_ranges_are_those_that_are_accepted(serving, heartbeat):
    assert len(BOUNDS) >= 10
    for name, least, most in BOUNDS:
        (schema,) = [one for one in heartbeat["properties"][name]["anyOf"] if one != {"type": "null"}]
        assert (schema["minimum"], schema["maximum"]) == (least, most), name
        for value, status in ((least, 200), (most, 200), (least - 1, 400), (most + 1, 400)):
            answer = serving.post("/api/v1/beats", {"service": "bounds", "instanceId": name, name: value})
            assert answer.status == status, (name, value, answer.body)
            if status == 400:
                assert f"{least} to {most}" in answer.json["detail"] and answer.json["field"] == name


def test_the_answer_to_heartbeats_is_what_is_described(serving):
    for body in ([BEAT, {"service": "shop"}, "none"], [BEAT], BEAT):
        answer = serving.post("/api/v1/beats", body)
        decoded = msgspec.json.decode(answer.body, type=HeartbeatsTaken)
        assert msgspec.json.decode(msgspec.json.encode(decoded)) == answer.json
    packed = serving.post(
        "/api/v1/beats", gzip.compress(msgspec.json.encode(BEAT)), headers={"Content-Encoding": "gzip"}
    )
    assert (packed.status, packed.json) == (200, {"taken": 1})


# -- pings


def test_pings_are_described_with_all_methods_and_parameters(described):
    pings = {path: methods for path, methods in described["paths"].items() if path.startswith("/ping")}
    words = {f"/ping/{{key}}/{word}" for word in ("start", "ok", "fail", "log", "{status}")}
    assert set(pings) == {"/ping", "/ping/{key}", *words}
    for path, methods in pings.items():
        assert set(methods) == {"get", "head", "post"}, path
        bodies = {method for method, one in methods.items() if "requestBody" in one}
        assert bodies == {"post"}
    query = [param["name"] for param in pings["/ping"]["get"]["parameters"]]
    assert tuple(query) == KNOWN
    assert set(query) >= {"key", "event", "exit", "rid", "duration", "timeout", "every", "grace", "max_duration"}
    assert not set(ping_words._asked("&".join(f"{name}=1" for name in KNOWN[:19]).encode())) - set(query)


def test_the_words_of_a_ping_are_those_that_are_accepted(serving, described):
    params = {one["name"]: one["schema"] for one in described["paths"]["/ping/{key}"]["get"]["parameters"]}
    assert params["event"]["enum"] == ["start", "ok", "fail", "log", "exit"]
    for word in params["event"]["enum"]:
        path = "/ping/words/3" if word == "exit" else "/ping/words"
        assert serving.get(path, event=word).status == 200, word
    wrong = serving.get("/ping/words", event="other")
    assert (wrong.status, wrong.json["field"]) == (400, "event")
    assert "fail, log, ok, start, exit" in wrong.json["detail"]
    for name in DURATIONS:
        for spelled, value in ((name, "1m"), (f"{name}_ms", "60000")):
            assert serving.get("/ping/lengths/ok", **{spelled: value}).status == 200, spelled
        both = serving.get("/ping/lengths/ok", **{name: "1m", f"{name}_ms": "60000"})
        assert (both.status, both.json["field"]) == (400, name)


def test_a_duration_is_taken_in_both_spellings(serving):
    for n, (spelled, value) in enumerate([("duration", "90"), ("duration", "0"), ("duration_ms", "90000")]):
        assert serving.post("/ping/took/ok", "text", rid=f"r{n}", **{spelled: value}).status == 200
    id_ = serving.find("took")["id"]
    until(lambda: len(serving.json(f"/api/v1/instances/{id_}/runs")["runs"]) == 3, "the runs")
    runs = serving.json(f"/api/v1/instances/{id_}/runs")["runs"]
    assert {one["rid"]: one["duration_ms"] for one in runs} == {"r0": 90000, "r1": 0, "r2": 90000}


# -- webhooks


def test_webhooks_are_described_by_the_fields_that_they_have(serving):
    wanted = {"kind": "generic", "url": "http://127.0.0.1:1/x"}
    made = serving.post("/api/v1/webhooks", wanted)
    assert made.status == 201, made.body
    decoded = msgspec.json.decode(made.body, type=ShownWebhook)
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == made.json
    names = {field.name for field in msgspec.structs.fields(NewWebhook)}
    wrong = serving.post("/api/v1/webhooks", {**wanted, "nothing": 1})
    assert (wrong.status, wrong.json["field"]) == (400, "nothing")
    assert set(re.findall(r"\w+", wrong.json["detail"].split("known are")[1])) == names
    for name in names:
        assert serving.post("/api/v1/webhooks", {**wanted, name: [7]}).json["field"] == name
    tried = serving.post(f"/api/v1/webhooks/{made.json['id']}/test")
    assert set(tried.json) == {"ok", "status", "error", "remedy", "excerpt", "duration_ms"}
    assert serving.request("DELETE", f"/api/v1/webhooks/{made.json['id']}").status == 204


# -- a client that is generated from it


@pytest.fixture(scope="module")
def client(serving, tmp_path_factory):
    """The package that openapi-python-client makes of this monitor's description."""
    pytest.importorskip("openapi_python_client")
    folder = tmp_path_factory.mktemp("generated")
    (folder / "openapi.json").write_bytes(serving.get("/api/v1/openapi.json").body)
    (folder / "options.yml").write_text("post_hooks: []\n")
    done = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json", "--meta", "none",
         "--output-path", "made_client", "--config", "options.yml"],
        cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    # It sends a ping's text as the other type that is offered.
    assert set(re.findall(r"Unsupported content type (\S+)", said)) <= {"text/plain"}
    assert said.count("WARNING parsing") == said.count("Unsupported content type text/plain")
    spec = importlib.util.spec_from_file_location("made_client", folder / "made_client" / "__init__.py")
    package = importlib.util.module_from_spec(spec)
    sys.modules["made_client"] = package  # the package imports its modules by this name
    spec.loader.exec_module(package)
    yield package
    for name in [name for name in sys.modules if name.partition(".")[0] == "made_client"]:
        del sys.modules[name]


def made(name):
    return importlib.import_module(f"made_client.{name}")


def test_a_generated_client_has_every_operation(client, described):
    folder = Path(client.__file__).parent / "api"
    found = {path.stem.replace("_", "") for path in folder.glob("*/*.py")} - {"init"}
    assert found == {operation["operationId"].replace("_", "").lower() for _, operation in operations(described)}


def test_a_generated_client_sends_beats_and_reads_instances(serving, client):
    heartbeat = made("models").Heartbeat
    send = made("api.beats.post_api_v1_beats").sync
    with client.Client(base_url=serving.url) as http:
        one = send(client=http, body=heartbeat(service="made", instance_id="m1", interval_ms=5000, lag_ms=3))
        assert one.taken == 1
        many = send(client=http, body=[heartbeat(service="made", instance_id=f"m{n}") for n in range(3)])
        assert many.taken == 3
        refused = send(client=http, body=[heartbeat(service="made", instance_id="m0"), heartbeat("", "x")])
        assert (refused.taken, refused.refused_total, refused.refused[0].field) == (1, 1, "service")
        problem = send(client=http, body=heartbeat(service="made", instance_id="m0", every_ms=0))
        assert (problem.status, problem.field) == (400, "everyMs")
        page = made("api.instances.get_api_v1_instances").sync(client=http, service=["made"])
        assert sorted(instance.instance_id for instance in page.instances) == ["m0", "m1", "m2"]
        assert page.instances[0].state == "NEW" or page.instances[0].state == "UP"
        history = made("api.instances.get_api_v1_instances_id").sync(page.instances[0].id, client=http)
        assert history.instance.id == page.instances[0].id
        gone = made("api.instances.get_api_v1_instances_id").sync(10**9, client=http)
        assert (gone.status, gone.code) == (404, "not_found")


def test_a_generated_client_pings_with_a_text(serving, client):
    from io import BytesIO

    with client.Client(base_url=serving.url) as http:
        failed = made("api.ping.post_ping_key_status").sync_detailed(
            "made/job", 3, client=http, rid="r1", duration="5m", body=made("types").File(payload=BytesIO(b"disk full"))
        )
        assert failed.status_code == 200 and failed.content == b"OK"
        assert made("api.ping.head_ping_key").sync_detailed("made/other", client=http).status_code == 200
        event = made("models").GetPingEvent.FAIL
        assert made("api.ping.get_ping").sync_detailed(client=http, key="made/third", event=event).status_code == 200
    instance = serving.find("made/job")
    (run,) = until(lambda: serving.json(f"/api/v1/instances/{instance['id']}/runs")["runs"], "the run")
    assert (run["rid"], run["status"], run["duration_ms"], run["text"]) == ("r1", 3, 300_000, "disk full")
    assert serving.find("made/other")["via"] == "ping"
    assert serving.find("made/third")["state"] == "FAILED"


def test_a_generated_client_manages_webhooks_and_tokens(serving, client):
    models = made("models")
    with client.Client(base_url=serving.url) as http:
        wanted = models.NewWebhook(
            kind=models.Kind.GENERIC, url="http://127.0.0.1:1/x", filter_=models.Filter(services=["made-*"])
        )
        hook = made("api.webhooks.post_api_v1_webhooks").sync(client=http, body=wanted)
        assert (hook.kind, hook.filter_.services, hook.breaker) == ("generic", ["made-*"], "closed")
        change = models.ChangedWebhook(enabled=False)
        assert made("api.webhooks.put_api_v1_webhooks_id").sync(hook.id, client=http, body=change).enabled is False
        assert hook.id in {one.id for one in made("api.webhooks.get_api_v1_webhooks").sync(client=http).webhooks}
        removed = made("api.webhooks.delete_api_v1_webhooks_id").sync_detailed(hook.id, client=http)
        assert removed.status_code == 204
        token = made("api.tokens.post_api_v1_tokens").sync(
            client=http, body=models.NewToken(name="made", scopes=[models.Scope.READ])
        )
        assert token.token.startswith("hf_")
        assert made("api.metrics.get_metrics").sync_detailed(client=http).status_code == 200
