# SPDX-License-Identifier: MIT
"""The certificate of the ports: its validity, the warnings, and its replacement."""

from __future__ import annotations

import asyncio
import logging
import ssl

import pytest

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.tls import DAY_S, ServerTls, load_tls

pytest.importorskip("cryptography", reason="nothing here makes certificates")
from tests.certificates import Certificates


def config_of(certificates, **options):
    return MonitorConfig(tls_cert=str(certificates.certificate), tls_key=str(certificates.key), **options)


def subject_seen(context, certificates):
    """The serial number that a client sees, by a handshake in memory; the client sends no name."""
    trusting = certificates.client_context()
    trusting.check_hostname = False
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(6):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return client.getpeercert()["serialNumber"]


def test_the_validity_is_read_from_the_file(certificates):
    from cryptography import x509

    expected = x509.load_pem_x509_certificate(certificates.certificate.read_bytes())
    read = load_tls(config_of(certificates)).certificate
    assert read.not_after_s == expected.not_valid_after_utc.timestamp()
    assert read.not_before_s == expected.not_valid_before_utc.timestamp()
    assert load_tls(MonitorConfig()) is None


@pytest.mark.parametrize(
    ("days", "says"),
    [
        ((-1, 400), None), ((-1, 22), None), ((-1, 20), "expires in 19 days"), ((-1, 1.5), "expires in 35 hours"),
        ((-3, -1), "expired at 2"), ((1, 3), "is not valid before 2"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_the_remedy(tmp_path, days, says):
    made = Certificates(tmp_path, days=days)
    tls = ServerTls(load_tls(config_of(made)))
    warning = tls.warning()
    if says is None:
        assert warning is None
    else:
        assert warning.startswith(says)
        assert "SIGHUP" in warning


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://localhost:8900", True), ("https://127.0.0.1/heartfelt", True), (None, True),
        ("https://monitor.example", False), ("https://10.0.0.1", False),
    ],
)  # fmt: skip
def test_the_host_of_the_public_url_must_fit(certificates, url, fits):
    certificate = load_tls(config_of(certificates, http_public_url=url)).certificate
    assert (certificate.unfit_name is None) is fits
    assert load_tls(config_of(certificates, http_public_url=url, http_tls=False)).certificate.unfit_name is None


def test_a_warning_comes_at_the_start_and_once_a_day(certificates, caplog):
    now_s = [load_tls(config_of(certificates)).certificate.not_after_s - 2.5 * DAY_S]
    tls = ServerTls(load_tls(config_of(certificates)), wall_s=lambda: now_s[0])

    async def scenario():
        tls.start()
        tls.stop()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
        for _ in range(60):  # hours
            now_s[0] += 3600
            tls.look()
    texts = [one.getMessage() for one in caplog.records]
    assert len(texts) == 3
    assert "expires in 2 days" in texts[0]
    assert str(certificates.certificate) in texts[0]
    assert "expires in 36 hours" in texts[1]
    (metric, samples), *_ = tls.readings()
    assert metric.name == "heartfelt_tls_certificate_expiry_timestamp_seconds"
    assert samples[()] > now_s[0] - DAY_S


def test_another_certificate_is_used_by_the_next_handshake(certificates, tmp_path):
    tls = ServerTls(load_tls(config_of(certificates)))
    first = subject_seen(tls.context, certificates)
    assert subject_seen(tls.context, certificates) == first
    other = Certificates(tmp_path)
    tls.use(load_tls(config_of(other)))
    assert subject_seen(tls.context, other) != first
    with pytest.raises(ssl.SSLCertVerificationError):
        subject_seen(tls.context, certificates)
