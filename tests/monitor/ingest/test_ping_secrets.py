# SPDX-License-Identifier: MIT
"""Secret ping URLs: what they stand for, and that a token is nowhere taken for a key."""

from __future__ import annotations

import pytest

from heartfelt.monitor.ingest.ping_secrets import masked_body, resolve
from heartfelt.monitor.problems import Problem, masked

ID = "0123456789ab"
SECRET = f"hf_{ID}_{'s' * 43}"
OTHER = f"hf_{'f' * 12}_{'s' * 43}"


class Tokens:
    def __init__(self, key="svc/1"):
        self.key = key

    def held(self, secret):
        return None

    def pinged_by(self, secret):
        return self.key if secret == SECRET else None

    def has(self, id):
        return id == ID


def ask(url, key="svc/1"):
    path, _, query = url.partition("?")
    return resolve(Tokens(key), path.encode(), path, query.encode())


@pytest.mark.parametrize(
    ("more", "query"),
    [
        ("", "key=svc%2F1"),
        ("/", "key=svc%2F1"),
        ("/start", "key=svc%2F1&event=start"),
        ("/FAIL/", "key=svc%2F1&event=fail"),
        ("/log", "key=svc%2F1&event=log"),
        ("/3?rid=a&every=5m", "key=svc%2F1&exit=3&rid=a&every=5m"),
        ("/-1", "key=svc%2F1&exit=-1"),
        ("/0?event=exit", "key=svc%2F1&exit=0"),
        ("?event=ok", "key=svc%2F1&event=ok"),
    ],
)
def test_a_secret_url_stands_for_a_ping_of_its_key(more, query):
    assert ask(f"/ping/{SECRET}{more}") == (b"/ping", query.encode())


def test_the_secret_may_be_percent_encoded_or_in_the_query():
    assert ask(f"/ping/{SECRET.replace('_', '%5F')}/ok") == (b"/ping", b"key=svc%2F1&event=ok")
    assert ask(f"/ping?event=ok&key={SECRET}") == (b"/ping", b"key=svc%2F1&event=ok")
    assert ask(f"/below/ping/{SECRET}") == (b"/ping", b"key=svc%2F1")
    assert resolve(Tokens("ü &="), None, f"/ping/{SECRET}", b"") == (b"/ping", b"key=%C3%BC+%26%3D")


@pytest.mark.parametrize(
    "url",
    ["/ping/hf_nightly", "/ping/hf_backup/start", "/ping/hf_0123456789ag_x", f"/ping/hf_{'a' * 12}_nightly/ok",
     "/ping/job?rid=hf_1", "/ping/50%25", "/ping?key=hf_x"],
)  # fmt: skip
def test_a_key_that_begins_like_a_token_is_a_key(url):
    assert ask(url) is None


@pytest.mark.parametrize(
    "url",
    [
        f"/ping/{OTHER}", f"/ping/{OTHER}/start", f"/ping?key={OTHER}", f"/ping/{SECRET}x", f"/ping/{SECRET[:-1]}",
        f"/ping//{SECRET}", f"/ping/job/{SECRET}", f"/ping/{SECRET}/{SECRET}", f"/ping/{SECRET}/start/{SECRET}",
        f"/ping/x{SECRET}", f"/ping/{SECRET}.", f"/ping/job?rid={SECRET}", f"/ping/{SECRET}?rid={SECRET}",
        f"/ping/{SECRET}?rid={SECRET.replace('_', '%5F')}", f"/ping/job?key={SECRET}",
        f"/ping?key={SECRET}&key=a&key=b",        f"/ping/{SECRET}/stop", f"/ping/{SECRET}/other/key",
    ],
)  # fmt: skip
def test_all_else_that_has_a_token_in_it_is_refused_without_showing_it(url):
    with pytest.raises(Problem) as refused:
        ask(url)
    assert refused.value.status == 404
    assert "s" * 10 not in refused.value.detail


def test_what_is_not_valid_is_answered_alike():
    details = set()
    for secret in (OTHER, f"hf_{ID}_{'t' * 43}", f"hf_{'e' * 12}_{'t' * 43}"):
        with pytest.raises(Problem) as refused:
            ask(f"/ping/{secret}")
        details.add(refused.value.body())
    assert len(details) == 1


def test_texts_are_masked():
    assert masked_body(Tokens(), b"curl https://m/ping/" + SECRET.encode() + b"/ok hf_x") == (
        f"curl https://m/ping/hf_{ID}_…/ok hf_x".encode()
    )
    assert masked_body(Tokens(), b"cut off: " + SECRET[:-20].encode()) == f"cut off: hf_{ID}_…".encode()
    assert masked(f"{SECRET} and {OTHER[:30]}") == f"hf_{ID}_… and hf_{'f' * 12}_…"
    assert SECRET not in str(Problem(404, "x", SECRET, field=SECRET).document())
