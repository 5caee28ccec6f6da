# SPDX-License-Identifier: MIT
"""The channel over TLS."""

from __future__ import annotations

import pytest

from tests.monitor.cluster.channels import LONG_S, B, Raw, channels, until


def test_it_works_with_tls(run, tmp_path):
    pytest.importorskip("cryptography")
    import ssl

    from tests.certificates import Certificates

    certificates = Certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificates.certificate, certificates.key)
    client = ssl.create_default_context(cafile=str(certificates.ca))

    async def main():
        async with channels("a", "b", server_tls=server, client_tls=client) as (a, b):
            for id in range(10_000):
                a.peers.forward(B, {id: 0})
            assert await a.peers.drain(LONG_S)
            assert len(b.heard.beats) == 10_000
            assert [n async for n in a.peers.stream(B, "numbers", 100, seconds=LONG_S)] == list(range(100))
            raw = await Raw.open(b.port)
            raw.send(b"not TLS at all, and more of it")
            await until(lambda: b.counts["refused_tls"])
            await raw.close()
        other = ssl.create_default_context(cafile=str(certificates.other_ca))
        async with channels("a", "b", server_tls=server, client_tls=other, connected=False) as (a, b):
            a.peers.set_peers({B: f"127.0.0.1:{b.port}"})
            await until(lambda: "certificate" in a.peers.states()[0].error.lower())

    run(main())
