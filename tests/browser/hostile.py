# SPDX-License-Identifier: MIT
"""Hostile texts for every field that the panel shows, and ways to detect that one was taken for more than text."""

from __future__ import annotations

from urllib.parse import quote

SCRIPT = "<script>alert('script')</script>"
IMAGE = "<img class=planted src=x onerror=alert('image')>"
LINK = "javascript:alert('link')"
BREAKOUT = "\"'></a></td></select></textarea><svg class=planted onload=alert(1)>"
LONG = "W" * 10_000
WRONG_WAY = "\u202eesrever\u202c \u0000\u001b[31m {{constructor}} ${alert(1)} &lt;b&gt; %s \u2028"
TEXTS = (SCRIPT, IMAGE, LINK, BREAKOUT, LONG, WRONG_WAY)
MOST_KEY = 500  # a key may have 512 bytes


def key_of(number, text):
    """As much of it as a service's name may have: printable, not too long, and no blank at its end."""
    return "".join(one for one in f"{number} {text}" if one.isprintable())[:MOST_KEY].strip()


def beats():
    """A heartbeat for each text, which stands in all its fields; and one with names that JavaScript knows."""
    for number, text in enumerate(TEXTS):
        yield {
            "service": key_of(number, text),
            "instanceId": key_of(number, text),
            "appName": text, "hostName": text, "ip": [text, text], "version": text, "artifact": text, "processId": text,
            "appType": text,
            "pluginInfoMap": {text: {"name": text, "version": text, "extInfo": {text: text, "url": LINK}}},
            "externalAgentInfoMap": {text: {"name": text, "version": text}},
            "extInfoFailures": {text: text}, text[:100]: text, "timeoutMs": 600_000, "intervalMs": 1000,
        }  # fmt: skip
    yield {
        "service": "names", "instanceId": "names", "appName": "constructor", "version": "toString",
        "timeoutMs": 600_000,
        "pluginInfoMap": {"__proto__": {"name": "__proto__", "version": "1", "extInfo": {"__proto__": "1"}}},
        "__proto__": {"planted": True}, "constructor": IMAGE,
    }  # fmt: skip


def plant(monitor, target_url):
    """All of it: instances, events, a webhook and a token."""
    for beat in beats():
        for _ in range(2):
            answer = monitor.post("/api/v1/beats", beat)
            assert answer.status in (200, 202), answer.body
    for number, text in enumerate(TEXTS):
        key = quote(key_of(f"jobs-{number}/", text), safe="")
        for way in ("start", "fail"):
            answer = monitor.post(f"/ping/{key}/{way}", text.encode())
            assert answer.status == 200, answer.body
    hook = {"kind": "generic", "url": target_url, "allow_private": True, "filter": {"states": [], "event_types": ["*"]}}
    for text in (SCRIPT, IMAGE, BREAKOUT, LINK):
        assert monitor.post("/api/v1/webhooks", hook | {"name": text}).status == 201
        assert monitor.post("/api/v1/tokens", {"name": text[:100], "scopes": ["read"]}).status == 201


FOUND = """() => {
  const found = [];
  const planted = '.planted, script:not([src]), [onerror], [onload], iframe, object, embed';
  for (const one of document.querySelectorAll(planted)) {
    found.push(`an element of a stranger's making: ${one.outerHTML.slice(0, 200)}`);
  }
  for (const one of document.querySelectorAll('a[href], area[href], [src], [action], [formaction]')) {
    const to = one.getAttribute('href') ?? one.getAttribute('src') ?? one.getAttribute('action') ?? '';
    if (/^[\\s\\u0000-\\u0020]*(javascript|data|vbscript):/i.test(to))
      found.push(`a link that runs: ${to.slice(0, 200)}`);
  }
  if ({}.planted) found.push('the prototype of all objects was changed');
  return found;
}"""
"""For the browser: what would be more than text."""
