# SPDX-License-Identifier: MIT
"""A page of the panel in the browser, and what must never happen in one."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

PATIENCE_MS = 20_000
DESK, PHONE = (1280, 800), (360, 740)

# A page that asks for what the monitor refuses, or a monitor that ends: chromium writes a line, and the panel tells it.
_OF_THE_NETWORK = re.compile(r"Failed to load resource|net::ERR_")

_PROBE = """
window.__violations = [];
document.addEventListener('securitypolicyviolation', (event) => {
  window.__violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
});
"""


class Visit:
    """A browser context of its own with one page in it. `page` is Playwright's."""

    def __init__(
        self, browser, url, path="/", *, size=DESK, scheme="light", locale="en-US", failing=False, token=None,
        motion="reduce", insecure=False,
    ):  # fmt: skip
        """failing: requests may fail, since the test makes them. insecure: the certificate is a test's own."""
        self._url = url
        self._host = urlsplit(url).netloc
        self._failing = failing
        self.problems = []
        self.dialogs = []
        width, height = size
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, locale=locale, reduced_motion=motion,
            timezone_id="UTC", ignore_https_errors=insecure,
        )  # fmt: skip
        self.context.set_default_timeout(PATIENCE_MS)
        self.context.add_init_script(_PROBE)
        self.page = self.context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.problems.append(f"an error in the page: {error}"))
        self.page.on("dialog", self._on_dialog)
        self.page.on("request", self._on_request)
        self.go(path)

    def go(self, path):
        self.page.goto(self._url + path, wait_until="domcontentloaded")
        self.page.wait_for_selector("main", state="visible")

    def _on_console(self, message):
        if message.type in ("error", "warning") and not (self._failing and _OF_THE_NETWORK.search(message.text)):
            self.problems.append(f"the console has {message.type}: {message.text} ({message.location})")

    def _on_dialog(self, dialog):
        self.dialogs.append(dialog.message)
        dialog.dismiss()

    def _on_request(self, request):
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != self._host:
            self.problems.append(f"a request to another host: {request.url}")

    # -- what can be asked of it

    def violations(self):
        return self.page.evaluate("window.__violations")

    def overflow(self):
        """By how many pixels the page is wider than the window: a phone would scroll sideways."""
        return self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")

    def end(self):
        """Closes the page and returns the problems found."""
        if not self.page.is_closed():
            self.problems += [f"the content security policy was violated: {one}" for one in self.violations()]
        self.problems += [f"a dialog was opened: {message}" for message in self.dialogs]
        self.context.close()
        return list(dict.fromkeys(self.problems))
