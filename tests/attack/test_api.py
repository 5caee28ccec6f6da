# SPDX-License-Identifier: MIT
"""Sends, by schemathesis, what the description allows and much that it does not: no fault, no undescribed answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from tests.monitor.serving import Serving

pytest.importorskip("msgspec")
pytest.importorskip("schemathesis")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "negative_data_rejection",
)
LIMIT_S = 50
KNOWN_METHODS = """[phases.coverage]
unexpected-methods = ["get", "put", "post", "delete", "options", "patch", "trace"]
"""
"""Methods that a server knows, and answers with 405. An unknown one, such as QUERY, is a 501 (RFC 9110, 15.6.2)."""
INGEST = "^/ping|^/api/v1/beats"


def of_loopback_only(description):
    """The same description without examples of webhooks elsewhere: what is created is called."""
    schemas = description["components"]["schemas"]
    for name in ("NewWebhook", "ChangedWebhook", "WebhookChange"):
        schemas[name]["properties"]["url"] = {"type": "string", "enum": ["http://127.0.0.1:1/x"]}
    for path in ("/api/v1/webhooks", "/api/v1/webhooks/{id}"):
        for operation in description["paths"][path].values():
            operation.get("requestBody", {"content": {"application/json": {}}})["content"]["application/json"].pop(
                "examples", None
            )
    return description


# Heartbeats and pings are tried with POST alone: GET takes the same words and is read by the same code.
GROUPS = {
    "ingest": ("--include-path-regex", INGEST, "--exclude-method", "HEAD", "--exclude-method", "GET"),
    "rest": ("--exclude-path-regex", f"{INGEST}|^/api/v1/stream"),
}


@pytest.mark.parametrize("group", GROUPS)
def test_no_request_is_answered_by_a_fault_and_each_answer_is_described(tmp_path, group):
    serving = Serving(data=tmp_path / "data", webhooks_allow_private="true", limits_beats_of_client_per_s="1000000")
    try:
        serving.wait_ready()
        serving.beats(3)
        description = of_loopback_only(serving.json("/api/v1/openapi.json"))
        (tmp_path / "openapi.json").write_text(json.dumps(description))
        (tmp_path / "schemathesis.toml").write_text(KNOWN_METHODS)
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run", "openapi.json", "--url", serving.url.rstrip("/"),
                *GROUPS[group], "--phases", "coverage,fuzzing", "--checks", ",".join(CHECKS), "--max-examples", "2",
                "--workers", "1", "--seed", "1", "--no-shrink", "--no-color", "--generation-database", "none",
                "--request-timeout", "20", "--warnings", "off",
            ],
            cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-8000:] + done.stderr
        wanted = sum(
            path != "/api/v1/stream" and (group == "rest") is not bool(re.search(INGEST, path)) and
            (group == "rest" or method == "post")
            for path, methods in description["paths"].items() for method in methods
        )  # fmt: skip
        assert f"{wanted} selected" in done.stdout
        assert serving.json("/healthz") == {"ok": True}
        assert serving.json("/api/v1/stats")["parts"]["upkeep"]["faults"] == 0
        assert "Traceback" not in serving.log
    finally:
        serving.end()
