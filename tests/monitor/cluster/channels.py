# SPDX-License-Identifier: MIT
"""Channels for tests: several in one loop; or one of a program, `python -m tests.monitor.cluster.channels`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time

from heartfelt.monitor.cluster.channel import Channel, Timing
from heartfelt.monitor.cluster.channel.frames import FRAME_BYTES, FrameReader

SECRET = b"a secret of the fleet, for tests"
LONG_S = 40  # a wait that ends at once if nothing is wrong
QUICK = Timing(batch_s=0.005, ping_s=0.1, silent_s=30.0, handshake_s=20.0, retry_s=0.005, most_retry_s=0.02)


def monitor_id(letter):
    return letter * 32


A, B, C = map(monitor_id, "abc")


async def until(condition, what="the condition", seconds=LONG_S):
    """Waits until condition() is true, and returns what it says."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, f"waited in vain for {what}"
        await asyncio.sleep(0.002)
    return found


class Heard:
    """What a channel has received, in order."""

    def __init__(self, channel):
        self.beats, self.inputs, self.order, self.notices = [], [], [], []
        channel.on_beats(self.take_beats)
        channel.on_inputs(self.take_inputs)
        channel.on_notice("moved", lambda peer, message: self.notices.append((peer, message)))

    def take_beats(self, peer, batch):
        heard = [(peer, id, batch.at_ms - age) for id, age in zip(batch.ids, batch.ages, strict=True)]
        self.beats += heard
        self.order += heard

    def take_inputs(self, peer, inputs):
        self.inputs += [(peer, one) for one in inputs]
        self.order += [(peer, one.data, one.heard_ms) for one in inputs]


def serve_samples(channel):
    """Handlers that many tests ask."""

    async def numbers(peer, count):
        for n in range(count):
            yield n

    async def never(peer, message):
        await asyncio.Event().wait()

    channel.on("echo", lambda peer, message: [peer, message])
    channel.on("numbers", numbers, int)
    channel.on("never", never)


@contextlib.asynccontextmanager
async def channels(*letters, connected=True, **options):
    """Channels with these ids; each connected to all others."""
    options.setdefault("timing", QUICK)
    secret = options.pop("secret", SECRET)
    made = [Channel(monitor_id(letter), secret, "127.0.0.1", 0, **options) for letter in letters]
    try:
        for channel in made:
            channel.heard = Heard(channel)
            serve_samples(channel)
            await channel.start()
        if connected:
            await connect(*made)
        yield made
    finally:
        for channel in made:
            await channel.stop()
            assert channel.counts["left_running"] == 0
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "channel" in task.get_name()]


async def connect(*made):
    addresses = {channel.own: f"127.0.0.1:{channel.port}" for channel in made}
    for channel in made:
        channel.peers.set_peers(addresses)
    await until(lambda: all(len(channel.peers.connected) == len(made) - 1 for channel in made), "all connections")


class Raw:
    """A client that speaks frames, and nothing else."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self._frames = FrameReader(FRAME_BYTES)

    @classmethod
    async def open(cls, port):
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def take(self):
        """The next frame; None at the end."""
        while (found := self._frames.take()) is None:
            try:
                data = await asyncio.wait_for(self.reader.read(65536), LONG_S)
            except ConnectionError:
                return None
            if not data:
                return None
            self._frames.feed(data)
        return found

    def send(self, data):
        self.writer.write(data)

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    async def greet(self, own, other, secret=SECRET):
        """Does the handshake of the side that connects; returns what was sent."""
        from heartfelt.monitor.cluster.channel.handshake import Dialing

        dialing = Dialing(secret, own, other)
        sent = [dialing.first()]
        self.send(sent[0])
        while True:
            kind, _, body = await self.take()
            answer = dialing.receive(kind, body)
            if answer is None:
                return sent
            sent.append(answer)
            self.send(answer)


async def serve(letter):
    """Serves one channel until stdin ends; says its port on stdout, and at each line of stdin what it has heard."""
    channel = Channel(monitor_id(letter), SECRET, "127.0.0.1", 0, timing=Timing(batch_s=0.01, retry_s=0.01))
    heard = Heard(channel)
    serve_samples(channel)
    await channel.start()
    print(channel.port, flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        if line.startswith("{"):
            channel.peers.set_peers(json.loads(line))
        ids = {id for _, id, _ in heard.beats}
        print(json.dumps([len(heard.beats), len(ids), len(heard.inputs), channel.peers.connected]), flush=True)
    await channel.stop()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        import uvloop

        uvloop.install()
    asyncio.run(serve(sys.argv[1]))
