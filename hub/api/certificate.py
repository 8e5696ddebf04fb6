"""The certificate that the API is served with: whether it can be used, for which names, how long still."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from msgspec import Struct

SOON_DAYS: Final = 30
"""Time enough to get another one."""


class CertificateUnusable(Exception):  # noqa: N818 - a state, told to whoever starts the hub
    """Certificate or key can't be used; the message says what to change."""


class Certificate(Struct, frozen=True):
    """What a browser sees of it."""

    file: Path
    names: tuple[str, ...]
    """Hosts and addresses that it is good for."""
    until: datetime

    def remark(self, now: datetime) -> str | None:
        """Return what to do about it at this time; None where nothing is to do."""
        days = (self.until - now).days
        if now >= self.until:
            return f"http.cert_file {self.file} is over since {self.until:%Y-%m-%d}: browsers refuse this hub"
        if days < SOON_DAYS:
            return f"http.cert_file {self.file} is over in {days} days, on {self.until:%Y-%m-%d}: renew it"
        return None


def examine(cert_file: Path, key_file: Path) -> Certificate:
    """Read certificate and key, and hold that they belong together. Raises CertificateUnusable."""
    try:
        certificate, *_ = x509.load_pem_x509_certificates(_read("http.cert_file", cert_file))
    except ValueError as error:
        raise CertificateUnusable(
            f"http.cert_file {cert_file} holds no certificate in PEM ({error}): it begins with"
            " -----BEGIN CERTIFICATE-----, the hub's own first, those of who signed it after it"
        ) from error
    try:
        key = load_pem_private_key(_read("http.key_file", key_file), None)
    except TypeError as error:
        raise CertificateUnusable(
            f"http.key_file {key_file} is encrypted: give the key without a passphrase, in a file that"
            " the hub's user alone can read"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateUnusable(f"http.key_file {key_file} holds no private key in PEM") from error
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        raise CertificateUnusable(
            f"http.key_file {key_file} is not the key of http.cert_file {cert_file}; the hub's own"
            " certificate must be the first in it"
        )
    return Certificate(cert_file, _names(certificate), certificate.not_valid_after_utc)


def server_context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    """Return what the server speaks: TLS 1.2 or newer. Raises CertificateUnusable."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        raise CertificateUnusable(f"http.cert_file {cert_file} can't be used: {error}") from error
    return context


def now() -> datetime:
    """Return the time that certificates are judged by: real time, whatever the hub's clock shows."""
    return datetime.now(UTC)


def _read(setting: str, file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CertificateUnusable(f"{setting} {file} can't be read: {error.strerror}") from error


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*hosts, *map(str, addresses))
