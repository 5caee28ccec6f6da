# SPDX-License-Identifier: MIT
"""A Link to one server without any retry, for tests that decide themselves what is lost."""

from __future__ import annotations

import hashlib
import threading

from heartfelt.monitor.store.redis.link import Command, Script, Unreachable


class PlainLink:
    """`before` and `after`: called with the words of each command before it is sent, and after its reply has come. What
    they raise takes the place of the reply."""

    def __init__(self, port):
        self._port = port
        self._local = threading.local()
        self._made = []
        self.before = self.after = lambda words: None

    def _connection(self):
        from redis.connection import Connection

        if not hasattr(self._local, "connection"):
            self._local.connection = Connection(host="127.0.0.1", port=self._port, protocol=2, socket_timeout=30)
            self._local.loaded = set()
            self._made.append(self._local.connection)
        return self._local.connection

    def execute(self, commands):
        connection = self._connection()
        commands, replies = list(commands), []
        for command in commands:
            for script in (word for word in command.words[:1] if isinstance(word, Script)):
                if script.name not in self._local.loaded:
                    connection.send_command("SCRIPT", "LOAD", script.text)
                    connection.read_response()
                    self._local.loaded.add(script.name)
            self.before(command.words)
        if not commands:
            return []
        connection.send_packed_command(connection.pack_commands(map(_words, commands)))
        for command in commands:
            try:
                reply = connection.read_response()
                self.after(command.words)
            except Exception as error:
                reply = error
            is_lost = replies and isinstance(replies[-1], Unreachable)
            replies.append(replies[-1] if is_lost else reply)
        return replies

    def call(self, shard, *words, keys=()):
        (reply,) = self.execute([Command(shard, words, keys)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def close(self):
        for connection in self._made:
            connection.disconnect()


def _words(command):
    first, *rest = command.words
    if isinstance(first, Script):
        sha = hashlib.sha1(first.text.encode()).hexdigest()
        return ["EVALSHA", sha, len(command.keys), *command.keys, *rest]
    return command.words
