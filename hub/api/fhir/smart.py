"""SMART: where the token endpoint is, what scopes there are, and short-lived tokens for programs."""

import logging
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response

from hub.api.fhir.access import CLINICAL, TOKEN_S, AuditedRoute, Caller, granted, identify, issue
from hub.api.fhir.http import base_of
from hub.api.fhir.ledger import LedgerUnavailable
from hub.api.fhir.services import Fhir, FhirServices

log = logging.getLogger(__name__)

router = APIRouter(route_class=AuditedRoute)

_ERROR = {
    "content": {
        "application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}
    }
}


_SECRETS = ("client_secret_basic", "client_secret_post")
_CAPABILITIES = ("client-confidential-symmetric", "permission-v1", "permission-v2")


@router.get(
    "/.well-known/smart-configuration",
    summary="Get the SMART configuration",
    response_model=None,
    responses={200: {"description": "SMART configuration", "content": {"application/json": {}}}},
)
async def smart_configuration(request: Request, fhir: Fhir) -> Response:
    """Where tokens are to be had, and for what."""
    scopes = [f"system/{kind}.rs" for kind in CLINICAL]
    scopes += [f"system/{kind}.crus" for kind in ("Patient", "Encounter", "Device", "Location")]
    content: dict[str, object] = {
        "token_endpoint": _endpoint(request),
        "token_endpoint_auth_methods_supported": [*_SECRETS],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": [*scopes, "system/Subscription.cruds", "system/AuditEvent.rs", "system/*.rs"],
        "capabilities": [*_CAPABILITIES],
    }
    if fhir.public_url is not None:
        content["token_endpoint_auth_methods_supported"] = ["private_key_jwt", *_SECRETS]
        content["token_endpoint_auth_signing_alg_values_supported"] = ["RS384", "ES384"]
        content["capabilities"] = ["client-confidential-asymmetric", *_CAPABILITIES]
    return Response(json.encode(content), media_type="application/json")


@router.post(
    "/auth/token",
    summary="Get an access token",
    response_model=None,
    responses={
        200: {"description": "An access token", "content": {"application/json": {}}},
        400: {"description": "What is wrong, as OAuth 2 tells it", **_ERROR},
        401: {"description": "Unknown client", **_ERROR},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            name: {"type": "string"}
                            for name in (
                                "grant_type",
                                "scope",
                                "client_id",
                                "client_secret",
                                "client_assertion_type",
                                "client_assertion",
                            )
                        },
                        "required": ["grant_type"],
                    }
                }
            },
        }
    },
)
async def token(request: Request, fhir: Fhir) -> Response:
    """Client credentials, for five minutes: by an assertion that the client signed, or by a secret.

    A secret is that of a token of `hub token create`, whose name is the client's id. An assertion
    (private_key_jwt) is of a client of `hub client add`. The scopes that were asked for, as far as the client
    has them; all of these where none was.
    """
    try:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    except ValueError:
        return _error(400, "invalid_request", "expected a form in UTF-8")
    if form.get("grant_type") != "client_credentials":
        return _error(400, "unsupported_grant_type", "expected client_credentials")
    signed = "client_assertion" in form or "client_assertion_type" in form
    if signed and ("client_secret" in form or "authorization" in request.headers):
        return _error(400, "invalid_request", "prove who you are in one way: an assertion or a secret")
    try:
        who = await _signer(request, fhir, form) if signed else _holder(request, fhir, form)
    except _Unknown as error:
        return _error(401, "invalid_client", str(error))
    request.state.caller = who
    asked = form.get("scope", "").split()
    scopes = granted(asked, who.scopes) if asked else list(who.scopes)
    if not scopes:
        return _error(400, "invalid_scope", "none of these scopes is open to this client")
    content = {
        "access_token": issue(fhir, who.name, who.role, scopes),
        "token_type": "bearer",
        "expires_in": TOKEN_S,
        "scope": " ".join(scopes),
    }
    return Response(json.encode(content), media_type="application/json", headers={"Pragma": "no-cache"})


class _Unknown(Exception):  # noqa: N818 - OAuth calls it invalid_client; the message says what to change
    """It isn't proven who asks."""


async def _signer(request: Request, fhir: FhirServices, form: Mapping[str, str]) -> Caller:
    """Return whose assertion was sent. Raises _Unknown."""
    from hub.api.fhir.assertion import KIND, NotProven

    if form.get("client_assertion_type") != KIND:
        raise _Unknown(f"client_assertion_type: expected {KIND}")
    if fhir.public_url is None:
        raise _Unknown("this hub takes no assertions: it is not told its own address (http.public_url)")
    try:
        client = await fhir.assertions.client(form.get("client_assertion", ""), _endpoint(request))
    except NotProven as error:
        raise _Unknown(str(error)) from None
    except LedgerUnavailable as error:
        log.error("an assertion could not be checked: %s", error)  # noqa: TRY400 - the cause is the disk
        raise _Unknown("assertions can't be checked now; the hub's log tells why") from None
    if form.get("client_id", client.id) != client.id:
        raise _Unknown("client_id: expected the assertion's iss")
    return Caller(f"client {client.id}", "client", client.scopes)


def _holder(request: Request, fhir: FhirServices, form: Mapping[str, str]) -> Caller:
    """Return whose secret was sent. Raises _Unknown."""
    client = _client(request, form)
    found = None if client is None else identify(fhir, client[1])
    if client is None or found is None or found.name != client[0] or client[1].startswith("whf_"):
        raise _Unknown("unknown client, or a wrong, expired or revoked secret")
    return found


def _endpoint(request: Request) -> str:
    return f"{base_of(request)}/auth/token"


def _client(request: Request, form: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the client's id and secret, of the Authorization header or the form."""
    kind, _, credentials = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            name, _, secret = b64decode(credentials, validate=True).decode().partition(":")
        except (NotBase64, ValueError):
            return None
        return unquote_plus(name), unquote_plus(secret)
    if "client_id" in form and "client_secret" in form:
        return form["client_id"], form["client_secret"]
    return None


def _error(status: int, error: str, text: str) -> Response:
    headers = {"WWW-Authenticate": 'Basic realm="wardhub"'} if status == 401 else {}
    content = json.encode({"error": error, "error_description": text})
    return Response(content, status, headers, media_type="application/json")
