# SPDX-License-Identifier: MIT
"""Links to the panel in messages: below the public URL, and nowhere else whatever instances are called."""

from __future__ import annotations

import json
from urllib.parse import parse_qs, urlsplit

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from heartfelt.monitor.model import MONITOR_SERVICE
from heartfelt.monitor.webhooks.notices import of_change, of_entry
from heartfelt.monitor.webhooks.payloads import make_request
from heartfelt.monitor.webhooks.targets import make_target
from tests.monitor.webhooks.parts import START_MS, make_change

PUBLIC = "https://monitor.example/heartfelt"
NASTY = "a b&c=d)(<x>|[y](http://evil) #"


def target(kind, **fields):
    url = {"dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=tok"}.get(kind, "https://example.com/h")
    return make_target({"kind": kind, "url": url, **fields}, now_ms=0, id="t1")


def message(kind, public_url=PUBLIC, *, template=None, **change):
    notice = of_entry(of_change(make_change(1, **change), recovery=False))
    more = {} if template is None else {"template": template}
    return json.loads(make_request(target(kind, **more), notice, START_MS, public_url=public_url).body)


def link_in(kind, made):
    if kind == "generic":
        return made["url"]
    if kind == "dingtalk":
        return made["markdown"]["text"].rpartition("- [heartfelt](")[2].removesuffix(")")
    if kind == "feishu":
        (only,) = made["content"]["post"]["en_us"]["content"][-1]
        assert only["tag"] == "a"
        return only["href"]
    return made["blocks"][-1]["text"]["text"].removeprefix("<").removesuffix("|heartfelt>").replace("&amp;", "&")


KINDS = pytest.mark.parametrize("kind", ["generic", "dingtalk", "feishu", "slack"])


@KINDS
def test_a_message_links_to_its_instance(kind):
    link = link_in(kind, message(kind, service="shop & co", instance=NASTY))
    assert link.startswith(f"{PUBLIC}/instances?")
    assert parse_qs(urlsplit(link).query) == {"service": ["shop & co"], "text": [NASTY]}
    assert not set(link) & set("()<>|[] ")


@KINDS
def test_what_is_about_no_service_or_too_long_links_to_the_panel(kind):
    assert link_in(kind, message(kind, service=MONITOR_SERVICE)) == f"{PUBLIC}/"
    assert link_in(kind, message(kind, instance="x" * 2000)) == f"{PUBLIC}/"


@KINDS
def test_without_a_public_url_there_is_no_link(kind):
    made = json.dumps(message(kind, None))
    assert "instances?" not in made
    assert "](" not in made
    assert '"url"' not in made


def test_a_template_may_have_it():
    made = message("generic", template='{"where": "$url"}', service="shop", instance="one")
    assert made == {"where": f"{PUBLIC}/instances?service=shop&text=one"}
    assert message("generic", None, template='{"where": "$url"}') == {"where": ""}
