"""Who may ask: bearer tokens and roles."""

from ipaddress import ip_address
from typing import Annotated, Final

from fastapi import Depends, Security
from fastapi.dependencies.models import Dependant
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from hub.api.problems import Problem
from hub.api.services import Hub, Token

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")

NAMES: Final = ("nurse", "charge-nurse", "it")
"""Who is told patients' names, numbers and dates of birth: who cares for them, and who keeps the registry."""
PAYLOADS: Final = ("biomed", "it")
"""Who is shown what devices sent, which may hold anything about a patient: who mends that."""

bearer = HTTPBearer(
    auto_error=False, scheme_name="token", description="A token from `hub token create`. Never in a URL."
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]


async def known(hub: Hub, credentials: Credentials) -> Token:
    """Return whose token came with the request, or refuse."""
    if credentials is None:
        raise _unauthorized("send a bearer token: Authorization: Bearer wh_…", "")
    token = hub.tokens.verify(credentials.credentials, hub.now_ns())
    if token is None:
        raise _unauthorized("this token is unknown, expired or revoked", ', error="invalid_token"')
    return token


Known = Annotated[Token, Depends(known)]


class HasRole:
    """A dependency that lets some roles pass; `roles` tells which, for whoever lists what a role may do."""

    def __init__(self, *roles: str) -> None:
        self.roles = roles

    async def __call__(self, token: Known) -> Token:
        """Return who asks, or refuse."""
        if token.role not in self.roles:
            needed = " or ".join(self.roles)
            raise Problem(
                403, "forbidden", f"this needs a token of the role {needed}; yours has {token.role}"
            )
        return token


def has_role(*roles: str) -> HasRole:
    """Return a dependency that lets these roles pass."""
    return HasRole(*roles)


def roles_of(route: Dependant) -> list[tuple[str, ...]]:
    """Return the roles that each check of a route lets pass; none: every role may."""
    return [one.call.roles for one in route.dependencies if isinstance(one.call, HasRole)]


async def scraper(connection: HTTPConnection, hub: Hub, credentials: Credentials) -> None:
    """Let a scraper on this machine pass without a token, any other with one.

    Numbers only, no patient data; a Prometheus on the machine needs no secret on disk. A proxy on the machine
    speaks for others: what it forwards needs a token.
    """
    host = connection.client.host if connection.client else ""
    forwarded = any(name in connection.headers for name in _FORWARDED)
    try:
        local = not forwarded and ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local:
        await known(hub, credentials)


def _unauthorized(detail: str, error: str) -> Problem:
    headers = {"WWW-Authenticate": f'Bearer realm="wardhub"{error}'}
    return Problem(401, "unauthorized", detail, headers=headers)
