# SPDX-License-Identifier: MIT
"""The commands beside `heartfelt serve`, if several monitors share a Redis."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.__main__ import main
from heartfelt.monitor.store.redis.address import parse_address
from heartfelt.monitor.store.redis.opening import make_link
from tests.monitor.redis.storing import a_prefix, make_store, run


def test_tokens_are_in_redis_where_all_monitors_find_them(redis_server, tmp_path, capsys):
    prefix = a_prefix()
    where = ["--set", f"store={redis_server.url}", "--set", f"redis.prefix={prefix}", "--data", str(tmp_path / "no")]
    assert main(["token", "create", "shop's", "--scope", "read", *where]) == 0
    secret = capsys.readouterr().out.strip()
    assert main(["token", "list", *where]) == 0
    listed = capsys.readouterr().out
    assert "shop's" in listed
    assert secret not in listed
    (id,) = listed.split()[:1]
    store = make_store(make_link(parse_address(redis_server.url)), prefix)
    store.open()
    try:
        assert list(run(store.documents("token"))) == [id]
        assert main(["token", "revoke", id, *where]) == 0
        assert run(store.documents("token")) == {}
        assert main(["token", "revoke", id, *where]) == 1
        assert "in Redis" in capsys.readouterr().err
    finally:
        store.close()
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("command", [["doctor"], ["doctor", "--repair"], ["backup", "b.db"], ["restore", "b.db"]])
def test_what_is_for_a_file_says_that_there_is_none(command, tmp_path, capsys):
    where = ["--set", "store=redis://:secret@127.0.0.1:1", "--data", str(tmp_path)]
    assert main([*command, *where]) == 1
    error = capsys.readouterr().err
    assert "there is no database" in error
    assert "redis://127.0.0.1:1" in error
    assert "secret" not in error


@pytest.mark.parametrize("url", ["", " "])
def test_an_empty_url_does_not_mean_sqlite(url, tmp_path, capsys):
    """A script whose variable is not set would start a monitor that is alone, and nobody would notice."""
    assert main(["serve", "--check", "--store", url, "--data", str(tmp_path / "no")]) == 1
    assert "--store is empty" in capsys.readouterr().err
