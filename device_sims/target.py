"""The broker that simulated devices connect to."""

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from device_sims.errors import InputError

_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class Target:
    """Address and login of one broker."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    username: str | None = None
    password: str | None = None

    @property
    def address(self) -> str:
        """Name the broker in messages: no login in it."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_target(
    url: str,
    username: str | None = None,
    password_file: Path | None = None,
    ca_file: Path | None = None,
    cert_file: Path | None = None,
    key_file: Path | None = None,
) -> Target:
    """Read a broker URL such as mqtt://127.0.0.1:1883 or mqtts://broker.example:8883.

    Raises InputError where the URL or one of the files can't be used.
    """
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    if parts.scheme not in _PORTS:
        raise InputError(f"--broker {url}: the scheme is {parts.scheme}; give mqtt:// or mqtts://")
    try:
        port = parts.port
    except ValueError as error:
        raise InputError(f"--broker {url}: {error}; give mqtt://HOST:PORT") from None
    if not parts.hostname:
        raise InputError(f"--broker {url}: it names no host; give mqtt://HOST:PORT")
    if parts.path.strip("/") or parts.query:
        raise InputError(f"--broker {url}: nothing may follow the port; give mqtt://HOST:PORT")
    tls = _tls(ca_file, cert_file, key_file) if parts.scheme == "mqtts" else None
    if tls is None and (ca_file or cert_file or key_file):
        raise InputError("--ca-file, --cert-file and --key-file are for TLS: give --broker mqtts://HOST:PORT")
    password = unquote(parts.password) if parts.password else None
    if password_file:
        try:
            password = password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--password-file {password_file} can't be read: {error}") from None
    user = username or (unquote(parts.username) if parts.username else None)
    if password is not None and user is None:
        raise InputError("a password without a user name: give --username too")
    return Target(parts.hostname, port or _PORTS[parts.scheme], tls, user, password)


def _tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    if key_file and not cert_file:
        raise InputError("--key-file goes with --cert-file: give both")
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:  # ssl.SSLError is one
        raise InputError(
            f"--ca-file {ca_file} can't be used: {error}; give a file of PEM certificates"
        ) from None
    if cert_file:
        try:
            context.load_cert_chain(cert_file, key_file, password="")
        except OSError as error:
            raise InputError(
                f"--cert-file {cert_file} can't be used: {error}; give a PEM certificate and its --key-file"
            ) from None
    return context
