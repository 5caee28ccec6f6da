# SPDX-License-Identifier: MIT
"""A throw-away CA, and a server's certificate from it, good for localhost and 127.0.0.1."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Certificates:
    """In PEM files: `ca` (to be trusted), `other_ca` (which has signed nothing), `certificate` and `key`."""

    def __init__(self, folder: Path, *, days: tuple[float, float] = (-1, 2)) -> None:
        """days: from when to when they are valid, from now."""
        self._days = days
        self.ca = folder / "ca.pem"
        self.other_ca = folder / "other_ca.pem"
        self.certificate = folder / "server.pem"
        self.key = folder / "server.key"
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca_name = _name("heartfelt test CA")
        self._write(self.ca, ca_name, ca_name, ca_key, ca_key, is_ca=True)
        other_key = ec.generate_private_key(ec.SECP256R1())
        other_name = _name("another CA")
        self._write(self.other_ca, other_name, other_name, other_key, other_key, is_ca=True)
        key = ec.generate_private_key(ec.SECP256R1())
        self._write(self.certificate, _name("localhost"), ca_name, key, ca_key, is_ca=False)
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def server_context(self) -> ssl.SSLContext:
        """For the server's side."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self, ca: Path | None = None) -> ssl.SSLContext:
        """For an agent that trusts `ca`, or the right one."""
        return ssl.create_default_context(cafile=str(ca or self.ca))

    def _write(self, path, subject, issuer, key, issuer_key, *, is_ca):  # type: ignore[no-untyped-def]
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + datetime.timedelta(days=self._days[0]))
            .not_valid_after(now + datetime.timedelta(days=self._days[1]))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
            .add_extension(_usage(is_ca), critical=True)
        )
        if not is_ca:
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        path.write_bytes(builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
