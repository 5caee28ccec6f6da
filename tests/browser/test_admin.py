# SPDX-License-Identifier: MIT
"""The views of tokens and settings, and what a monitor that asks for tokens shows."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from heartfelt.monitor.config.settings import SETTINGS
from tests.monitor.serving import run_command


def test_a_token_is_made_shown_once_used_and_revoked(serve, visit):
    monitor = serve()
    page = visit(monitor, "/tokens").page
    expect(page.get_by_text("No tokens yet")).to_be_visible()
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("alert").filter(has_text="Enter a name")).to_be_visible()
    page.get_by_label("Name").fill("agents")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("alert").filter(has_text="at least one")).to_be_visible()
    page.get_by_label("Ingest").check()
    page.get_by_role("button", name="Create token").click()
    secret = page.get_by_label("Token", exact=True).get_by_role("textbox").input_value()
    assert re.fullmatch(r"hf_[0-9a-f]{12}_[\w-]{43}", secret)
    row = page.get_by_role("row").filter(has_text="agents")
    expect(row).to_contain_text("Ingest")

    page.reload()
    expect(row).to_be_visible()
    assert secret not in page.content()

    row.get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("No tokens yet")).to_be_visible()
    assert monitor.json("/api/v1/tokens")["tokens"] == []


def test_settings_tell_where_each_value_comes_from(serve, visit):
    monitor = serve(lease_timeout="90s")
    page = visit(monitor, "/settings").page
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="lease.timeout", exact=True))
    expect(row).to_contain_text("90 s")
    expect(row).to_contain_text("flag lease.timeout")
    expect(row).to_contain_text("60 s")
    page.get_by_role("searchbox").fill("lease.")
    expect(page.get_by_role("row")).to_have_count(1 + sum(one.name.startswith("lease.") for one in SETTINGS))
    page.get_by_label("Only changed from the default").check()
    expect(page.get_by_role("row")).to_have_count(2)
    assert "text=lease.&changed=1" in page.url
    page.reload()
    expect(page.get_by_role("row")).to_have_count(2)
    page.get_by_role("searchbox").fill("nothing like it")
    page.get_by_role("button", name="Show all").click()
    expect(page.get_by_role("rowheader", name="log.level")).to_be_visible()


@pytest.fixture
def guarded(serve, tmp_path):
    """A monitor that asks for tokens, and an administrator's."""
    data = tmp_path / "guarded"
    made = run_command("token", "create", "--data", data, "--scope", "admin", "boss")
    assert made.returncode == 0, made.stderr
    return serve(data=data, auth_require="always"), re.search(r"hf_\S+", made.stdout)[0]


def test_a_token_is_asked_for_and_kept(guarded, visit):
    monitor, secret = guarded
    page = visit(monitor, "/settings", failing=True).page
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label("Token")
    field.fill("hf_000000000000_" + "x" * 43)
    dialog.get_by_role("button", name="Use token").click()
    expect(dialog).to_contain_text("unknown")
    field.fill(secret)
    dialog.get_by_role("button", name="Use token").click()
    expect(page.get_by_role("rowheader", name="auth.require")).to_be_visible()
    expect(dialog).to_be_hidden()
    page.reload()
    expect(page.get_by_role("rowheader", name="auth.require")).to_be_visible()
    assert secret not in page.content() and secret not in page.url
    page.get_by_role("link", name="Tokens").click()
    page.get_by_role("button", name="Forget it in this browser").click()
    assert page.evaluate("sessionStorage.length") == 0
