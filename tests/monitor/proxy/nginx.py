# SPDX-License-Identifier: MIT
"""A real nginx in front of monitors, on loopback ports, with its files in a folder of a test's own."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.monitor.serving import PATIENCE_S, Serving, until

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
NO_NGINX = "nginx is not here (Debian: nginx-light)"
ROOT = Path(__file__).parents[3]
_MAIN = """
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""


def free_ports(count):
    """Ports that are free now; nginx cannot choose one itself."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def documented(*, monitor, port, certificates, name="heartfelt", stripped=False):
    """The configuration of docs/proxies.md with this test's addresses and files in it."""
    text = (ROOT / "docs" / "proxies.md").read_text("utf-8")
    (config,) = re.findall(r"```nginx\n(.*?)```", text, re.S)
    changes = {
        "127.0.0.1:8900": f"127.0.0.1:{monitor}",
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/monitor.pem": certificates.certificate,
        "/etc/ssl/monitor.key": certificates.key,
        "upstream heartfelt": f"upstream {name}",
        "proxy_pass http://heartfelt;": f"proxy_pass http://{name}{'/' if stripped else ''};",
        "location /heartfelt ": "location /heartfelt/ " if stripped else "location /heartfelt ",
    }
    for old, new in changes.items():
        assert old in config, f"docs/proxies.md has no {old!r} any more"
        config = config.replace(old, str(new))
    return config


class Nginx:
    """servers: the `server` blocks of its configuration. Ready when it returns."""

    def __init__(self, folder, servers, ports):
        self.config = folder / "nginx.conf"
        # Workers that are nobody could not enter the folder.
        user = "user root;" if hasattr(os, "geteuid") and os.geteuid() == 0 else ""
        self.config.write_text(_MAIN.format(folder=folder, servers=servers, user=user), "utf-8")
        self.log = folder / "nginx.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [NGINX, "-p", str(folder), "-c", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        for port in ports:
            until(lambda port=port: self._listens(port), "nginx")

    def _listens(self, port):
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", port)) == 0

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_S)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


class Through(Serving):
    """A monitor as it is reached through nginx: the requests of `Serving`, with `prefix` before their paths.

    name: in the Host header. source: the address that the client connects from.
    """

    def __init__(self, port, *, prefix="", tls=None, name=None, source="127.0.0.1"):
        self.host, self.port, self._tls = "127.0.0.1" if tls is None else "localhost", port, tls
        self.prefix, self.name, self.source = prefix, name, source
        self.url = f"{'http' if tls is None else 'https'}://{self.host}:{port}{prefix}"

    def connect(self):
        options = {"timeout": PATIENCE_S, "source_address": (self.source, 0)}
        if self._tls is not None:
            return http.client.HTTPSConnection(self.host, self.port, context=self._tls, **options)
        return http.client.HTTPConnection(self.host, self.port, **options)

    def request(self, method, path, body=None, *, headers=None, **options):
        named = {} if self.name is None else {"Host": self.name}
        return super().request(method, self.prefix + path, body, headers={**named, **(headers or {})}, **options)

    def open_stream(self, *, topics=()):
        connection = self.connect()
        query = "?" + "&".join(f"topic={one}" for one in topics) if topics else ""
        headers = {} if self.name is None else {"Host": self.name}
        connection.request("GET", f"{self.prefix}/api/v1/stream{query}", headers=headers)
        return connection, connection.getresponse()
