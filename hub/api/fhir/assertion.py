"""Clients that prove who they are by signing: SMART's asymmetric authentication (private_key_jwt).

https://hl7.org/fhir/smart-app-launch/STU2/client-confidential-asymmetric.html, RFC 7523.
"""

import time
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Final, Protocol

from joserfc import jws, jwt
from joserfc.errors import JoseError
from msgspec import DecodeError, Struct, json

from hub.api.fhir.keys import ALGORITHMS, KeySets, KeysUnusable
from hub.clients import Client

KIND: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST_S: Final = 300
"""An assertion expires so soon after it is made, says SMART."""
LEEWAY_S: Final = 30
"""By so much a client's clock may be wrong."""
_LONGEST: Final = 8_192
"""Characters of an assertion."""
_UNKNOWN: Final = "no registered client has a key that made this signature: check iss, kid and the key set"

Spend = Callable[[str, int, int], Awaitable[bool]]
"""Take note of an assertion until a time (ns), as of now (ns); tells whether it is the first time."""


class ClientCheck(Protocol):
    """Knows the clients: hub.clients.Clients."""

    def find(self, client_id: str, now_ns: int) -> Client | None:
        """Return the client of this id; None for an unknown or expired one."""


class NotProven(Exception):  # noqa: N818 - what became of an assertion, told to who sent it
    """An assertion proves nothing; the message says what to change."""


class _Claims(Struct):
    iss: str


class Assertions:
    """Checks assertions; each is good for one time.

    `now_s` is real time, in which they expire, whatever the hub's clock shows.
    """

    def __init__(
        self,
        clients: ClientCheck,
        spend: Spend,
        now_s: Callable[[], float] = time.time,
        keys: KeySets | None = None,
    ) -> None:
        self._clients = clients
        self._spend = spend
        self._now_s = now_s
        self._keys = keys or KeySets()

    async def client(self, assertion: str, audience: str) -> Client:
        """Return whose assertion it is. `audience` is the token endpoint's address. Raises NotProven."""
        now_s = self._now_s()
        now_ns = round(now_s * 1e9)
        if len(assertion) > _LONGEST:
            raise NotProven(f"the assertion is longer than {_LONGEST} characters")
        client, kid = self._named(assertion, now_ns)
        try:
            token = jwt.decode(assertion, await self._keys.of(client, kid), ALGORITHMS)
        except KeysUnusable as error:
            raise NotProven(str(error)) from None
        except (JoseError, ValueError):
            raise NotProven(_UNKNOWN) from None
        if token.header.get("jku", client.jwks_url) != client.jwks_url:
            raise NotProven("jku: expected the address that the client is registered with, or none")
        expires_s = _checked(token.claims, client.id, audience, now_s)
        named = sha256(json.encode([client.id, token.claims["jti"]])).hexdigest()
        if not await self._spend(named, round((expires_s + LEEWAY_S) * 1e9), now_ns):
            raise NotProven("jti: this assertion was used already; sign a new one for each request")
        return client

    def _named(self, assertion: str, now_ns: int) -> tuple[Client, str]:
        """Return the client and the key that an assertion claims, before anything of it is believed."""
        try:
            parts = jws.extract_compact(assertion.encode())
            issuer = json.decode(parts.payload, type=_Claims).iss
        except (JoseError, DecodeError, ValueError, TypeError):
            raise NotProven("expected a signed JWT with a header, claims and a signature") from None
        if parts.protected.get("alg") not in ALGORITHMS:
            raise NotProven(f"alg: expected {' or '.join(ALGORITHMS)}")
        kid = parts.protected.get("kid")
        if not isinstance(kid, str) or not kid:
            raise NotProven("kid: expected the id of the key, as in the client's key set")
        client = self._clients.find(issuer, now_ns)
        if client is None:
            raise NotProven(_UNKNOWN)
        return client, kid


def _checked(claims: jwt.Claims, client_id: str, audience: str, now_s: float) -> float:
    """Return when an assertion expires. Raises NotProven where its claims aren't as SMART wants them."""
    wanted = jwt.JWTClaimsRegistry(
        int(now_s),
        LEEWAY_S,
        iss={"essential": True, "value": client_id},
        sub={"essential": True, "value": client_id},
        aud={"essential": True, "value": audience},
        exp={"essential": True},
        jti={"essential": True},
    )
    try:
        wanted.validate(claims)
    except JoseError as error:
        text = f"{error}; expected aud {audience}, iss and sub {client_id}, an exp to come and a jti"
        raise NotProven(text) from None
    if claims["exp"] > now_s + LONGEST_S + LEEWAY_S:
        raise NotProven(f"exp: expected at most {LONGEST_S} s from now")
    return float(claims["exp"])
