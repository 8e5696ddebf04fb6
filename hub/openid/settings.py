"""Which OpenID provider people sign in at, and which of its groups has which role here."""

from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath, SecretStr, model_validator

from hub.tokens import Role

CALLBACK: Final = "/api/v1/session/oidc/callback"
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_protected(url: str) -> bool:
    """Tell whether what goes to this address is out of others' reach: https, or http on this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    )


def _issuer(url: str) -> str:
    if not is_protected(url):
        raise ValueError("expected an https address; http is for a provider on this machine alone")
    if ".well-known" in url or urlsplit(url).query or urlsplit(url).fragment:
        raise ValueError("give what the provider calls its issuer, without /.well-known/… and parameters")
    return url


def _origin(url: str) -> str:
    parts = urlsplit(url)
    if not is_protected(url) or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(
            "expected https://NAME or https://NAME:PORT, as browsers show it; over plain http they keep no"
            " session, other than on this machine"
        )
    return f"{parts.scheme}://{parts.netloc}"


class OpenIdSettings(BaseModel):
    """The OpenID provider that people sign in at. Give it the hub's callback address, see `hub_url`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    issuer: Annotated[str, AfterValidator(_issuer)]
    """What the provider calls itself, letter by letter; its `/.well-known/openid-configuration` is read."""
    client_id: str = Field(min_length=1, max_length=256)
    """As the provider knows this hub."""
    client_secret: SecretStr | None = None
    client_secret_file: FilePath | None = None
    """In place of `client_secret`. Neither: a public client, proven by PKCE alone."""
    client_auth: Literal["basic", "post"] | None = None
    """How the provider is shown the secret. Absent: as it offers, in the header (`basic`) first."""
    hub_url: Annotated[str, AfterValidator(_origin)]
    """Where browsers find this hub. Register `{hub_url}/api/v1/session/oidc/callback` at the provider as
    redirect address, and `{hub_url}/` as address after signing out."""
    scopes: tuple[str, ...] = ("openid", "profile")
    """Some providers tell groups only to who asks for the scope `groups`."""
    user_claim: str = Field(default="preferred_username", min_length=1)
    """Names people in alarm histories and audit records: unique, and not of their own choosing."""
    role_claim: str = Field(default="groups", min_length=1)
    """Holds a person's groups or roles; `realm_access.roles` for one within another."""
    role_map: dict[str, Role] = Field(min_length=1)
    """The hub's role for each group that may come in. Of several that a person has, the first here counts."""
    button: str = Field(default="", max_length=64)
    """Text of the button; the page's own words where empty."""
    fresh_login: bool = True
    """Ask for the password each time (`prompt=login`). A ward's screen is shared: without this, the next
    nurse would come in as the last one, whom the provider still remembers."""
    local_users: bool = True
    """Whether users of `hub user` may sign in as well: someone should while the provider is out of reach."""
    ca_file: FilePath | None = None
    """Who signed the provider's certificate; the system's authorities where absent."""
    timeout_s: float = Field(default=10, gt=0, le=60)

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.client_secret is not None and self.client_secret_file is not None:
            raise ValueError("give client_secret or client_secret_file, not both")
        if "openid" not in self.scopes:
            raise ValueError('scopes: "openid" must be among them')
        return self

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to."""
        return f"{self.hub_url}{CALLBACK}"

    @property
    def signed_out_uri(self) -> str:
        """Where the provider may send people after they signed out there."""
        return f"{self.hub_url}/"

    def secret(self) -> str | None:
        """Return the client's secret; None for a public client. Raises OSError where its file is gone."""
        if self.client_secret is not None:
            return self.client_secret.get_secret_value()
        if self.client_secret_file is not None:
            return Path(self.client_secret_file).read_text(encoding="utf-8").strip()
        return None
