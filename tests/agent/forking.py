# SPDX-License-Identifier: MIT
"""A WSGI application as its author writes it: the agent is started where the module is imported."""

from __future__ import annotations

import os

from heartfelt.agent import ServiceManager

ServiceManager.start(service="gunicorn", url=os.environ["TEST_URL"], interval=0.1, backend="heartfelt")


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
