"""Who may do what: SMART scopes, from a token's role or from the token endpoint; every access audited."""

import hashlib
import hmac
import logging
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from fastapi import Depends, Request, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from msgspec import DecodeError, Struct, json
from starlette.responses import Response

from hub.api.fhir.errors import FhirError, told
from hub.api.fhir.ledger import LedgerUnavailable
from hub.api.fhir.services import Fhir, FhirServices
from hub.fhir.audit import Access, Action
from hub.fhir.validate import Issue

log = logging.getLogger(__name__)

Permission = Literal["c", "r", "u", "d", "s"]

TOKEN_S: Final = 300
"""How long an access token of the token endpoint holds."""
_PREFIX: Final = "whf_"
_SCOPE: Final = re.compile(r"(?:system|user)/([A-Z][A-Za-z]+|\*)\.(c?r?u?d?s?|read|write|\*)")
_V1: Final = {"read": "rs", "write": "cud", "*": "cruds"}

CLINICAL: Final = (
    "Observation",
    "Patient",
    "Encounter",
    "Location",
    "Device",
    "DeviceMetric",
    "DetectedIssue",
    "Flag",
)
_READS: Final = tuple(f"system/{kind}.rs" for kind in CLINICAL)
_NAMELESS: Final = tuple(f"system/{kind}.rs" for kind in CLINICAL if kind != "Patient")
"""Patients by their surrogate ids: hub.api.access.NAMES says who is told more."""
ROLE_SCOPES: Final[dict[str, tuple[str, ...]]] = {
    "viewer": _NAMELESS,
    "nurse": _READS,
    "charge-nurse": (*_READS, "system/Patient.crus", "system/Encounter.crus", "system/Device.rus"),
    "biomed": (*_NAMELESS, "system/Device.crus", "system/Location.crus", "system/Subscription.cruds"),
    "it": ("system/*.cruds",),
}
"""What a token of a role may do."""

_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="A token from `hub token create`, or a short-lived one from /fhir/auth/token.",
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class Caller(Struct, frozen=True):
    """Who asks, and what they may do."""

    name: str
    role: str
    scopes: tuple[str, ...]

    def may(self, kind: str, permission: Permission) -> bool:
        """Tell whether a scope allows this on a kind of resource."""
        return _allows(self.scopes, kind, permission)


@lru_cache(maxsize=1_024)
def _allows(scopes: tuple[str, ...], kind: str, permission: Permission) -> bool:
    for scope in scopes:
        match = _SCOPE.fullmatch(scope)
        if match and match.group(1) in (kind, "*") and permission in _permissions(match.group(2)):
            return True
    return False


class _Claims(Struct, frozen=True):
    name: str
    role: str
    scopes: tuple[str, ...]
    expires_ns: int


def granted(asked: Iterable[str], owned: Iterable[str]) -> list[str]:
    """Return the scopes that were asked for as far as the owned ones allow them."""
    owner = Caller("", "", tuple(owned))
    scopes = []
    for scope in asked:
        match = _SCOPE.fullmatch(scope)
        if match is None:
            continue
        kind, wanted = match.group(1), _permissions(match.group(2))
        held = "".join(one for one in "cruds" if one in wanted and owner.may(kind, one))  # type: ignore[arg-type]
        if kind == "*" and not held:
            scopes += [own for own in owned if set(_permissions(own.rpartition(".")[2])) <= set(wanted)]
        elif held:
            scopes.append(f"system/{kind}.{held}")
    return list(dict.fromkeys(scopes))


def is_scope(text: str) -> bool:
    """Tell whether a text is a scope that something can be allowed by."""
    match = _SCOPE.fullmatch(text)
    return match is not None and bool(_permissions(match.group(2)))


def _permissions(text: str) -> str:
    return _V1.get(text, text)


def issue(services: FhirServices, name: str, role: str, scopes: Iterable[str]) -> str:
    """Return an access token that holds for TOKEN_S."""
    expires_ns = services.now_ns() + TOKEN_S * 1_000_000_000
    claims = json.encode(_Claims(name, role, tuple(scopes), expires_ns))
    return f"{_PREFIX}{_text(claims)}.{_text(_sign(services, claims))}"


async def caller(request: Request, fhir: Fhir, credentials: Credentials) -> Caller:
    """Return who asks, or refuse."""
    return known(request, fhir, "" if credentials is None else credentials.credentials)


def known(request: Request, fhir: FhirServices, secret: str) -> Caller:
    """Return whose secret or access token this is, or refuse; empty for none."""
    if not secret:
        raise _unauthorized("send a bearer token: Authorization: Bearer …", "")
    found = identify(fhir, secret)
    if found is None:
        raise _unauthorized("this token is unknown, expired or revoked", ', error="invalid_token"')
    request.state.caller = found
    return found


Known = Annotated[Caller, Depends(caller)]


def authenticated(request: Request, fhir: FhirServices) -> Caller:
    """Return who asks, or refuse: `caller` without FastAPI."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return known(request, fhir, secret.strip() if scheme.lower() == "bearer" else "")


def identify(fhir: FhirServices, secret: str) -> Caller | None:
    """Return whose secret or access token this is; None for an unknown, expired or revoked one."""
    if secret.startswith(_PREFIX):
        claims = _verified(fhir, secret.removeprefix(_PREFIX))
        return None if claims is None else Caller(claims.name, claims.role, claims.scopes)
    token = fhir.tokens.verify(secret, fhir.now_ns())
    return None if token is None else Caller(token.name, token.role, ROLE_SCOPES.get(token.role, ()))


def allow(who: Caller, kind: str, permission: Permission) -> None:
    """Refuse what no scope of the caller allows."""
    if not who.may(kind, permission):
        needed = f"system/{kind}.{permission}"
        text = f"this needs the scope {needed}; yours are {' '.join(who.scopes) or 'none'}"
        raise FhirError(403, [Issue("forbidden", text, "")])


class AuditedRoute(APIRoute):
    """A route whose every access is kept: who, what, when, whose, with which result.

    `openapi_extra["x-interaction"]` names the interaction. A handler that knows the patient says so in
    `request.state.patient`. The answer waits for the record, but is given where the record fails: care goes
    before the book.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        interaction = str((self.openapi_extra or {}).get("x-interaction", "operation"))
        return audited(super().get_route_handler(), interaction)


def audited(
    handle: Callable[[Request], Awaitable[Response]], interaction: str, what: str = ""
) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Return a handler whose every access is kept; `what` as in Access, of the path where it isn't given."""

    async def recorded(request: Request) -> Response:
        try:
            response = await handle(request)
        except Exception as error:
            await _record(request, interaction, what, _status(error))
            raise
        await _record(request, interaction, what, response.status_code)
        return response

    return recorded


def _status(error: Exception) -> int:
    try:
        return told(error)[0]
    except Exception:  # noqa: BLE001 - whatever it is, it is told as a failure and raised again by the caller
        return 500


_ACTIONS: Final[dict[str, Action]] = {
    "read": "R",
    "vread": "R",
    "search-type": "R",
    "create": "C",
    "update": "U",
    "delete": "D",
}


async def _record(request: Request, interaction: str, what: str, status: int) -> None:
    services: FhirServices = request.app.state.fhir
    who: Caller | None = getattr(request.state, "caller", None)
    access = Access(
        id=0,
        time_ns=services.now_ns(),
        action=_ACTIONS.get(interaction, "E"),
        interaction=interaction,
        what=what or request.url.path.partition("/fhir/")[2][:128] or "/",
        client=who.name if who else "",
        role=who.role if who else "",
        address=request.client.host if request.client else "",
        status=status,
        patient=getattr(request.state, "patient", None),
    )
    try:
        await services.ledger.record(access)
    except LedgerUnavailable as error:
        log.error("an access could not be recorded: %s", error)  # noqa: TRY400 - the cause is the disk


def _verified(fhir: FhirServices, token: str) -> _Claims | None:
    content, _, signature = token.partition(".")
    try:
        claims = urlsafe_b64decode(content + "=" * (-len(content) % 4))
        given = urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
        if not hmac.compare_digest(_sign(fhir, claims), given):
            return None
        found = json.decode(claims, type=_Claims)
    except (ValueError, DecodeError):
        return None
    return found if fhir.now_ns() < found.expires_ns else None


def _sign(fhir: FhirServices, content: bytes) -> bytes:
    return hmac.new(fhir.key, content, hashlib.sha256).digest()


def _text(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _unauthorized(text: str, error: str) -> FhirError:
    headers = {"WWW-Authenticate": f'Bearer realm="wardhub"{error}'}
    return FhirError(401, [Issue("login", text, "")], headers)
