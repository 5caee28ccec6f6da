# SPDX-License-Identifier: MIT
"""A webhook's target on this machine: keeps what it is sent, and answers as it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Target:
    def __init__(self):
        self.status, self.answer = 200, b"thanks"
        self.received = []
        """(headers with small letters, the body's JSON)"""
        target = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target.received.append(({k.lower(): v for k, v in self.headers.items()}, json.loads(body)))
                self.send_response(target.status)
                self.send_header("Content-Length", str(len(target.answer)))
                self.end_headers()
                self.wfile.write(target.answer)

            def log_message(self, *arguments):
                pass  # what came is in `received`

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook/very-secret-path"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
