# SPDX-License-Identifier: MIT
"""The monitor's own key: one that is encrypted is refused, not asked about on the terminal."""

from __future__ import annotations

import ssl

import pytest

from heartfelt import ConfigError
from heartfelt.monitor import MonitorConfig
from heartfelt.monitor.config.build import make_tls

pytest.importorskip("cryptography")


@pytest.fixture
def certificates(tmp_path):
    from tests.certificates import Certificates

    return Certificates(tmp_path)


def test_a_key_is_loaded_and_an_encrypted_one_is_refused(certificates):
    from cryptography.hazmat.primitives import serialization

    config = MonitorConfig(tls_cert=str(certificates.certificate), tls_key=str(certificates.key))
    assert isinstance(make_tls(config), ssl.SSLContext)
    key = serialization.load_pem_private_key(certificates.key.read_bytes(), None)
    encryption = serialization.BestAvailableEncryption(b"a password")
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    certificates.key.write_bytes(text)
    with pytest.raises(ConfigError, match=r"tls\.key .*encrypted"):
        make_tls(config)
