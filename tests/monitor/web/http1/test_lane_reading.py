# SPDX-License-Identifier: MIT
"""The lane reads requests as the general server does, or leaves them to it; and names a client as it does."""

from __future__ import annotations

import asyncio
import email.utils
import socket
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there is no lane elsewhere")


def test_no_request_has_two_readings():
    from tests.fuzz.fuzz_request import run

    taken = run(60_000, 1)
    assert 2_000 < taken < 30_000  # both kinds occur


def test_dates_are_those_of_the_standard_library():
    from heartfelt._door import date_line

    for at in (
        0,
        68169600,
        951782399,
        1_709_164_800,
        1_767_225_599,
        4_102_444_800,
        *range(10**9, 2 * 10**9, 123_456_789),
    ):
        assert date_line(at) == f"date: {email.utils.formatdate(at, usegmt=True)}\r\n".encode()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6")
@pytest.mark.parametrize(("host", "peer"), [("127.0.0.1", "127.0.0.1"), ("::1", "::1")])
def test_a_client_has_one_name_whichever_way_it_takes(host, peer):
    from tests.monitor.web.http1.lane_world import closed, ping, serving

    async def main():
        listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        async with serving(sock=listening) as world:
            for path, line in ((b"/ping/lane", b"Accept: */*"), (b"/ping/general", b"X-Unknown: 1")):
                reader, writer = await asyncio.open_connection(host, world.port)
                writer.write(ping(path, line, close=True))
                assert (await reader.read()).endswith(b"OK")
                await closed(writer)
            assert world.lane.stats()["handed_over"] == 1
            assert [world.world.find(key, key).peer for key in ("lane", "general")] == [peer, peer]

    asyncio.run(main())
