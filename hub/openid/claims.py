"""What an ID token must hold to be believed, and who it says that somebody is. Pure: time is an argument."""

from collections.abc import Collection, Mapping
from typing import Any, Final

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry
from msgspec import Struct

from hub.openid.errors import SignInRefused
from hub.openid.settings import OpenIdSettings

ALGORITHMS: Final = frozenset(
    ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
)
"""Signatures by a key that only the provider has: not HS256, which the hub could make itself, nor none."""
LEEWAY_S: Final = 120
"""How far the provider's clock may be off."""
_NAME_LENGTH: Final = 128
_SHOWN: Final = 20


class Person(Struct, frozen=True):
    """Somebody as the provider told."""

    name: str
    """As audit and alarm histories name them."""
    full_name: str
    role: str
    subject: str
    """The provider's own id."""
    id_token: str
    """Shown to the provider when they sign out."""


def verified(
    id_token: str,
    keys: KeySet,
    *,
    settings: OpenIdSettings,
    algorithms: Collection[str],
    nonce: str,
    access_token: str,
    begun_s: float,
    now_s: float,
) -> dict[str, Any]:
    """Return the claims of an ID token (OpenID Connect Core 1.0, 3.1.3.7). Raises SignInRefused.

    InvalidKeyIdError leaves as it is: the provider may have new keys.
    """
    expected = {
        "iss": {"essential": True, "value": settings.issuer},
        "aud": {"essential": True, "value": settings.client_id},
        "nonce": {"essential": True, "value": nonce},
    }
    about = {"client_id": settings.client_id, "nonce": nonce, "access_token": access_token}
    registry = JWSRegistry(algorithms=algorithms, strict_check_header=False)
    try:
        token = jwt.decode(id_token, keys, registry=registry)
        claims = CodeIDToken(token.claims, token.header, expected, about)
        claims.validate(now=int(now_s), leeway=LEEWAY_S)
    except InvalidKeyIdError:
        raise
    except (JoseError, ValueError, TypeError) as error:
        raise SignInRefused("failed", f"the ID token is not one for this sign-in: {error}") from error
    asked_s = claims.get("auth_time")
    # Negated, so that what is no number at all is refused too.
    if settings.fresh_login and asked_s is not None and not asked_s >= begun_s - LEEWAY_S:
        raise SignInRefused(
            "failed",
            "the provider did not ask for the password again: let it heed prompt=login, or set"
            " oidc.fresh_login = false where no screen is shared",
        )
    return dict(claims)


def person_of(claims: Mapping[str, Any], settings: OpenIdSettings, id_token: str) -> Person:
    """Return who signed in, and in which role. Raises SignInRefused."""
    name = _found(claims, settings.user_claim)
    if not isinstance(name, str) or not 0 < len(name.strip()) <= _NAME_LENGTH or not name.isprintable():
        known = ", ".join(sorted(claims))
        raise SignInRefused(
            "failed",
            f"the claim {settings.user_claim} names nobody; set oidc.user_claim to one that does, or add what"
            f" it needs to oidc.scopes. The provider sent {known}",
        )
    name = name.strip().lower()
    full_name = claims.get("name")
    if not isinstance(full_name, str) or not full_name.strip():
        full_name = name
    groups = _groups(claims, settings.role_claim)
    role = next((role for group, role in settings.role_map.items() if group in groups), None)
    if role is None:
        held = ", ".join(sorted(groups)[:_SHOWN]) or "nothing"
        raise SignInRefused(
            "no-role",
            f"a person has no role here: the claim {settings.role_claim} holds {held}; oidc.role_map knows"
            f" {', '.join(settings.role_map)}",
            name,
        )
    return Person(name, full_name.strip()[:_NAME_LENGTH], role, claims["sub"], id_token)


def has_everything(claims: Mapping[str, Any], settings: OpenIdSettings) -> bool:
    """Tell whether these claims answer all that is asked of them, so that no others are needed."""
    return all(_found(claims, name) is not None for name in (settings.user_claim, settings.role_claim))


def _groups(claims: Mapping[str, Any], name: str) -> frozenset[str]:
    value = _found(claims, name)
    if isinstance(value, str):
        return frozenset((value,))
    return frozenset(one for one in value if isinstance(one, str)) if isinstance(value, list) else frozenset()


def _found(claims: Mapping[str, Any], name: str) -> object:
    """Return a claim by its name, which may be an address with dots, or by a path of names."""
    if name in claims:
        return claims[name]
    value: object = claims
    for part in name.split("."):
        if not isinstance(value, Mapping):
            return None
        value = value.get(part)
    return value
