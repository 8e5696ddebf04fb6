"""Public keys of clients that sign: read from a JSON Web Key Set, or fetched from where a client keeps it."""

import time
from collections.abc import Callable
from typing import Final

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey
from msgspec import DecodeError, Struct, json

from hub.clients import Client

ALGORITHMS: Final = ("RS384", "ES384")
"""What SMART wants every server to take; clients use one of them."""
SHORTEST_RSA_BITS: Final = 2048
MOST_BYTES: Final = 64 << 10
FRESH_S: Final = 300.0
"""How long a fetched set is used without asking again: a key that is taken out of it ends as soon."""
PAUSE_S: Final = 10.0
"""Between two fetches for one client: made-up key ids must not make the hub a flood of its own."""
_TIMEOUT_S: Final = 5.0
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class KeysUnusable(Exception):  # noqa: N818 - a state of the set, told to who registers or signs
    """A key set can't be fetched or used; the message says what to change."""


class _Document(Struct):
    keys: list[dict[str, object]]


class _Fetched(Struct):
    at_s: float
    keys: KeySet | None
    fault: str = ""


def read_keys(text: str | bytes) -> KeySet:
    """Return the keys of a set that can verify; others are left out. Raises KeysUnusable where none can."""
    try:
        document = json.decode(text, type=_Document)
    except DecodeError as error:
        raise KeysUnusable(f"expected a JSON Web Key Set, {{'keys': […]}}: {error}") from None
    found: list[RSAKey | ECKey] = []
    faults: list[str] = []
    for index, one in enumerate(document.keys):
        try:
            found.append(_key(one))
        except (KeysUnusable, JoseError, ValueError, TypeError) as error:
            faults.append(f"keys[{index}]: {error}")
    if not found:
        raise KeysUnusable("; ".join(faults) or "the set has no key")
    return KeySet(list(found))


def _key(one: dict[str, object]) -> RSAKey | ECKey:
    if _PRIVATE.intersection(one):
        raise KeysUnusable("this is a private key: give the public part alone, and make a new pair")
    if not isinstance(one.get("kid"), str) or not one["kid"]:
        raise KeysUnusable("expected a kid, by which assertions name the key")
    if one.get("kty") == "RSA":
        key = RSAKey.import_key(one)  # type: ignore[arg-type]
        if key.raw_value.key_size < SHORTEST_RSA_BITS:
            raise KeysUnusable(f"expected at least {SHORTEST_RSA_BITS} bits")
        return key
    if (one.get("kty"), one.get("crv")) == ("EC", "P-384"):
        return ECKey.import_key(one)  # type: ignore[arg-type]
    raise KeysUnusable("expected an RSA key (RS384) or an EC key on P-384 (ES384)")


class KeySets:
    """The key sets of clients. What is fetched is kept for FRESH_S; an unknown key id fetches sooner."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._fetched: dict[str, _Fetched] = {}
        """By address."""

    async def of(self, client: Client, kid: str) -> KeySet:
        """Return the keys of a client, this one among them if there is such. Raises KeysUnusable."""
        if client.jwks is not None:
            return read_keys(client.jwks)
        url = client.jwks_url or ""
        kept = self._fetched.get(url)
        age_s = float("inf") if kept is None else self._now_s() - kept.at_s
        known = kept is not None and kept.keys is not None and any(one.kid == kid for one in kept.keys)
        if kept is None or age_s >= (FRESH_S if known else PAUSE_S):
            # Noted before it is fetched: who asks meanwhile goes on with what there is.
            self._fetched[url] = _Fetched(self._now_s(), kept.keys if kept else None, "it is being fetched")
            try:
                kept = _Fetched(self._now_s(), read_keys(await _fetch(url)))
            except KeysUnusable as error:
                kept = _Fetched(self._now_s(), None, str(error))
            self._fetched[url] = kept
        if kept.keys is None:
            raise KeysUnusable(f"the key set of this client: {kept.fault}")
        return kept.keys


async def _fetch(url: str) -> bytes:
    from aiohttp import ClientError, ClientSession, ClientTimeout  # 10 MB: only who uses it pays for it

    try:
        async with (
            ClientSession(timeout=ClientTimeout(total=_TIMEOUT_S)) as session,
            session.get(url, headers={"Accept": "application/json"}, allow_redirects=False) as answer,
        ):
            content = await answer.content.read(MOST_BYTES + 1)
            if answer.status != 200:
                raise KeysUnusable(f"its address answers {answer.status}")
    except (ClientError, OSError, TimeoutError, ValueError) as error:
        raise KeysUnusable(f"its address can't be reached ({type(error).__name__})") from None
    if len(content) > MOST_BYTES:
        raise KeysUnusable(f"it is larger than {MOST_BYTES} bytes")
    return content
