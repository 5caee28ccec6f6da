# SPDX-License-Identifier: MIT
"""A TCP proxy that can be told to lose everything: a network between one client and one server."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import Any


class Partition:
    """Listens on `port`, and connects what comes with a server's port.

    `cut`: nothing is forwarded any more, but all connections stay open, and new ones are taken and never answered: as
    if the cable were pulled. `answers=True`: only what the server says is lost. `heal` undoes both, but what was sent
    meanwhile is lost, so the connections are closed. `reset` closes all connections at once. `hold`: everything is
    late until `release`; what was sent arrives then, unless the sender has taken it back.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so what is held stays with the sender
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port = self._listener.getsockname()[1]
        self._cut = self._deaf = self._held = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._pairs: dict[Any, tuple[socket.socket, bool]] = {}
        self._lock = threading.Lock()
        self._ends = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def cut(self, *, answers: bool = False) -> None:
        with self._lock:
            self._cut, self._deaf = not answers, answers

    def heal(self) -> None:
        with self._lock:
            self._cut = self._deaf = False
            self._close_all()

    def hold(self) -> None:
        with self._lock:
            self._held = True
            for sock in self._pairs:
                self._selector.unregister(sock)

    def release(self) -> None:
        with self._lock:
            self._held = False
            for sock in self._pairs:
                self._selector.register(sock, selectors.EVENT_READ)
        self._wake.send(b".")

    @property
    def connections(self) -> int:
        return len(self._pairs) // 2

    def reset(self) -> None:
        with self._lock:
            self._close_all()

    def end(self) -> None:
        self._ends = True
        self._wake.send(b".")
        self._thread.join()
        with self._lock:
            self._close_all()
        self._selector.close()
        for sock in (self._listener, self._wake, self._woken):
            sock.close()

    def _run(self) -> None:
        while not self._ends:
            for key, _ in self._selector.select():
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._woken:
                        self._woken.recv(100)
                    else:
                        self._forward(key.fileobj)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        try:
            server = socket.create_connection(("127.0.0.1", self._server))
        except OSError:
            client.close()
            return
        self._pairs[client], self._pairs[server] = (server, False), (client, True)
        for sock in () if self._held else (client, server):
            self._selector.register(sock, selectors.EVENT_READ)

    def _forward(self, sock: Any) -> None:
        if sock not in self._pairs:  # closed meanwhile
            return
        other, is_answer = self._pairs[sock]
        try:
            data = sock.recv(65536)
            if self._cut or (self._deaf and is_answer):
                if not data:
                    self._selector.unregister(sock)
                return
            if data:
                other.sendall(data)
                return
        except OSError:
            pass
        self._close(sock)

    def _close(self, sock: Any) -> None:
        if sock in self._pairs:
            other, _ = self._pairs.pop(sock)
            self._pairs.pop(other, None)
            for one in (sock, other):
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(one)
                one.close()

    def _close_all(self) -> None:
        for sock in [*self._pairs]:
            self._close(sock)
