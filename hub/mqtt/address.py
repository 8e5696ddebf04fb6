"""Where a broker is and who we are there, and the two ways in which it can't be had."""

import logging
import ssl
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, FilePath, SecretStr, field_validator, model_validator

log = logging.getLogger(__name__)


class BrokerUnreachable(Exception):  # noqa: N818 - a state of the broker, not a fault of the caller
    """There is no MQTT to be had at the address just now. Try again; the text says what to check."""


class BrokerRefused(Exception):  # noqa: N818
    """The broker answered and said no. It stays so until someone changes what the text names."""


class BrokerAddress(BaseModel):
    """One broker: `mqtt://[user@]host[:port]`, or `mqtts://` for TLS 1.2 or newer."""

    # A rejected url may hold a password.
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    url: str
    password: SecretStr | None = None
    password_file: FilePath | None = None
    """A file of mode 600 that holds the password alone; read at each connect."""
    ca_file: FilePath | None = None
    """Certificates (PEM) of who may sign the broker's; the system's where absent."""
    cert_file: FilePath | None = None
    """Our certificate (PEM), for a broker that asks for one."""
    key_file: FilePath | None = None
    keepalive_s: int = Field(default=30, ge=2, le=3600)

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("mqtt", "mqtts"):
            raise ValueError("start the url with mqtt:// or mqtts:// (TLS)")
        if parts.password is not None:
            raise ValueError("take the password out of the url: use password_file or password")
        if not parts.hostname:
            raise ValueError("name the host in the url, as in mqtt://broker.example:1883")
        if port == 0:
            raise ValueError("give a port from 1 to 65535 in the url")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError("end the url after the port: mqtt:// has no path, query or fragment")
        return url

    @model_validator(mode="after")
    def _check_together(self) -> "BrokerAddress":
        if self.password and self.password_file:
            raise ValueError("give password or password_file, not both")
        if (self.password or self.password_file) and self.user is None:
            raise ValueError("a password needs a user: put it into the url, as in mqtt://hub@broker.example")
        if not self.tls and (self.ca_file or self.cert_file or self.key_file):
            raise ValueError("ca_file, cert_file and key_file need TLS: start the url with mqtts://")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: give both or none")
        if self.password_file and self.password_file.stat().st_mode & 0o077:
            log.warning("%s can be read by others: chmod 600 it", self.password_file)
        return self

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self._parts.scheme == "mqtts"

    @property
    def host(self) -> str:
        """Host name or address."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """The port; 1883, or 8883 for TLS, where the url names none."""
        return self._parts.port or (8883 if self.tls else 1883)

    @property
    def user(self) -> str | None:
        """The user name of the url."""
        user = self._parts.username
        return unquote(user) if user else None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._parts.scheme}://{host}:{self.port}"

    def password_bytes(self) -> bytes | None:
        """Return the password. Raises BrokerRefused where its file can't be read."""
        if self.password is not None:
            return self.password.get_secret_value().encode()
        if self.password_file is None:
            return None
        try:
            return self.password_file.read_bytes().rstrip(b"\r\n")
        except OSError as error:
            raise BrokerRefused(f"password_file {self.password_file}: {error.strerror}") from None

    def ssl_context(self) -> ssl.SSLContext | None:
        """Return what TLS needs, None without it. Raises BrokerRefused naming the file that is no good."""
        if not self.tls:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if self.ca_file else ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            if self.ca_file:
                context.load_verify_locations(self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise BrokerRefused(f"ca_file {self.ca_file} holds no certificate (PEM): {error}") from None
        try:
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file, password=_no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise BrokerRefused(
                f"cert_file {self.cert_file} and key_file {self.key_file} aren't a certificate (PEM) and"
                f" its key without a passphrase: {error}"
            ) from None
        return context


def _no_passphrase() -> str:
    # Without this OpenSSL would ask on the terminal, and wait.
    raise ValueError("the key has a passphrase")
