# SPDX-License-Identifier: MIT
"""The panel through a real nginx, which ends TLS and serves it below a path, with and without the prefix removed."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.fleet import SHORT_MS, Fleet
from tests.browser.pages import Visit
from tests.certificates import Certificates
from tests.monitor.proxy.nginx import NGINX, NO_NGINX, Nginx, documented, free_ports
from tests.monitor.serving import Serving

pytestmark = pytest.mark.skipif(NGINX is None, reason=NO_NGINX)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    certificates = Certificates(folder)
    ports = free_ports(2)
    monitor = Serving(
        data=folder / "data", http_public_url=f"https://localhost:{ports[0]}/heartfelt",
        http_trusted_proxies="127.0.0.1", hold_enable="false",
    )  # fmt: skip
    monitor.wait_ready()
    servers = [
        documented(monitor=monitor.port, port=port, certificates=certificates, name=f"up{port}", stripped=stripped)
        for port, stripped in zip(ports, (False, True), strict=True)
    ]
    nginx = Nginx(folder, "\n".join(servers), ports)
    yield monitor, dict(zip(("kept", "stripped"), ports, strict=True))
    nginx.end()
    monitor.end()


@pytest.mark.parametrize("how", ["kept", "stripped"])
def test_the_panel_works_below_a_path(world, chromium, how):
    monitor, ports = world
    fleet = Fleet(monitor)
    visit = None
    try:
        fleet.join(how, f"{how}-lost", timeoutMs=SHORT_MS)
        fleet.join(how, f"{how}-up")
        url = f"https://localhost:{ports[how]}/heartfelt"
        visit = Visit(chromium, url, "/", insecure=True)
        page = visit.page
        refused = []
        page.on("response", lambda answer: answer.status >= 400 and refused.append((answer.status, answer.url)))
        page.get_by_role("main").get_by_role("link", name=re.compile(r"instances\s*\d")).click()
        expect(page).to_have_url(f"{url}/instances")
        row = page.get_by_role("row").filter(has_text=f"{how}-lost")
        expect(row).to_contain_text("up")
        fleet.stop(how, f"{how}-lost")  # live: no reload
        expect(row).to_contain_text("lost")

        row.get_by_role("link", name=f"{how}-lost").click()
        expect(page).to_have_url(re.compile(rf"{re.escape(url)}/instances/\d+$"))
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(f"{how}-lost"))
        page.get_by_role("button", name="Acknowledge").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Your name").fill("ann")
        dialog.get_by_label("Reason").fill("a test")
        dialog.get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_role("main")).to_contain_text("Acknowledged by ann")
        assert monitor.find(f"{how}-lost")["ack"] is not None

        page.reload()
        expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(f"{how}-lost"))
        page.get_by_role("button", name=re.compile("^Pause")).click()
        page.get_by_role("dialog").get_by_role("button", name="Pause").click()
        expect(page.get_by_role("button", name="Resume")).to_be_visible()
        assert monitor.find(f"{how}-lost")["state"] == "PAUSED"

        page.go_back()
        expect(page).to_have_url(f"{url}/instances")
        page.get_by_role("link", name="heartfelt").first.click()
        expect(page).to_have_url(f"{url}/")
        assert refused == []
    finally:
        fleet.end()
        problems = visit.end() if visit else []
    assert problems == []
