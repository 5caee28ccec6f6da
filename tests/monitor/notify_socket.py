# SPDX-License-Identifier: MIT
"""A service manager's end of sd_notify: a datagram socket."""

from __future__ import annotations

import socket

from tests.monitor.serving import PATIENCE_S


class NotifySocket:
    """address: a path, or "@" and a name that is abstract."""

    def __init__(self, address):
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address.replace("@", "\0", 1) if self.address.startswith("@") else self.address)
        self._socket.settimeout(PATIENCE_S)

    def take(self):
        """The next message, by names."""
        return dict(line.split("=", 1) for line in self._socket.recv(65536).decode().split("\n"))

    def until(self, name):
        """The next message that has this name, and those before it."""
        before = []
        while name not in (message := self.take()):
            before.append(message)
        return message, before

    def has_more(self):
        self._socket.setblocking(False)
        try:
            return bool(self._socket.recv(65536, socket.MSG_PEEK))
        except BlockingIOError:
            return False
        finally:
            self._socket.settimeout(PATIENCE_S)

    def close(self):
        self._socket.close()
