# SPDX-License-Identifier: MIT
"""Clients that offer HTTP/2 by themselves: curl --http2, and Java's HttpClient as it comes."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.monitor.serving import PATIENCE_S


def output(*command, given=None):
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def curl_has_http2():
    return shutil.which("curl") is not None and "HTTP2" in output("curl", "-V").stdout


needs_curl = pytest.mark.skipif(not curl_has_http2(), reason="there is no curl with HTTP/2")


@pytest.fixture(scope="module")
def serving(tmp_path_factory):
    from tests.monitor.serving import Serving

    serving = Serving(data=tmp_path_factory.mktemp("clients") / "data")
    serving.wait_ready()
    yield serving
    serving.end()


@needs_curl
@pytest.mark.parametrize("how", [(), ("-H", "Transfer-Encoding: chunked"), ("-H", "Expect: 100-continue")])
def test_curl_that_offers_http2_can_post(serving, how):
    key = f"curl-{len(how)}-{how[-1][:1] if how else ''}"
    body = f'{{"service":"curl","instanceId":"{key}"}}'
    url = f"{serving.url}/api/v1/beats"
    first = ("--http2", *how, "--data-binary", "@-", url)
    done = output("curl", "-sS", *first, "--next", "-sS", "--http2", f"{serving.url}/healthz", given=body)
    assert done.stdout == '{"taken":1}{"ok":true}', done
    assert serving.find(key) is not None


@needs_curl
def test_curl_that_speaks_http2_at_once_is_refused_and_does_not_hang(serving):
    done = output("curl", "-sS", "--http2-prior-knowledge", f"{serving.url}/healthz")
    assert done.returncode != 0
    assert serving.json("/api/v1/stats")["parts"]["requests"]["bad_requests"] > 0


JAVA = """
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublisher;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;

public class Client {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        String body = "{\\"service\\":\\"java\\",\\"instanceId\\":\\"%s\\"}";
        post(client, arguments[0], BodyPublishers.ofString(String.format(body, "length")));
        byte[] chunked = String.format(body, "chunked").getBytes();
        post(client, arguments[0], BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(chunked)));
        post(client, arguments[0], BodyPublishers.ofString(String.format(body, "again")));
    }

    static void post(HttpClient client, String url, BodyPublisher body) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url)).POST(body).build();
        var answer = client.send(request, BodyHandlers.ofString());
        System.out.println(answer.version() + " " + answer.statusCode() + " " + answer.body());
    }
}
"""


def java_runs_sources():
    return shutil.which("java") is not None and "jdk.compiler" in output("java", "--list-modules").stdout


@pytest.mark.skipif(not java_runs_sources(), reason="there is no java that runs a source file")
def test_javas_client_as_it_comes_can_post(serving, tmp_path):
    source = tmp_path / "Client.java"
    source.write_text(JAVA)
    done = output("java", "-XX:TieredStopAtLevel=1", str(source), f"{serving.url}/api/v1/beats")
    assert done.stdout.splitlines() == ['HTTP_1_1 200 {"taken":1}'] * 3, done
    for key in ("length", "chunked", "again"):
        assert serving.find(key) is not None
