"""SMART: where the token endpoint is, what scopes there are, and short-lived tokens for programs."""

from base64 import b64decode
from binascii import Error as NotBase64
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter
from msgspec import json
from starlette.requests import Request
from starlette.responses import Response

from hub.api.fhir.access import CLINICAL, TOKEN_S, AuditedRoute, Caller, granted, identify, issue
from hub.api.fhir.http import base_of
from hub.api.fhir.services import Fhir

router = APIRouter(route_class=AuditedRoute)

_ERROR = {
    "content": {
        "application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}
    }
}


@router.get(
    "/.well-known/smart-configuration",
    summary="Get the SMART configuration",
    response_model=None,
    responses={200: {"description": "SMART configuration", "content": {"application/json": {}}}},
)
async def smart_configuration(request: Request) -> Response:
    """Where tokens are to be had, and for what."""
    base = base_of(request)
    scopes = [f"system/{kind}.rs" for kind in CLINICAL]
    scopes += [f"system/{kind}.crus" for kind in ("Patient", "Encounter", "Device", "Location")]
    content = {
        "token_endpoint": f"{base}/auth/token",
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": [*scopes, "system/Subscription.cruds", "system/AuditEvent.rs", "system/*.rs"],
        "capabilities": ["client-confidential-symmetric", "permission-v1", "permission-v2"],
    }
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
                            for name in ("grant_type", "scope", "client_id", "client_secret")
                        },
                        "required": ["grant_type"],
                    }
                }
            },
        }
    },
)
async def token(request: Request, fhir: Fhir) -> Response:
    """Client credentials: the name and the secret of a token of `hub token create`, for five minutes.

    The scopes that were asked for, as far as the token's role allows them; all of these where none was.
    """
    try:
        form = dict(parse_qsl((await request.body()).decode(), keep_blank_values=True))
    except ValueError:
        return _error(400, "invalid_request", "expected a form in UTF-8")
    if form.get("grant_type") != "client_credentials":
        return _error(400, "unsupported_grant_type", "expected client_credentials")
    client = _client(request, form)
    found = None if client is None else identify(fhir, client[1])
    if client is None or found is None or found.name != client[0] or client[1].startswith("whf_"):
        return _error(401, "invalid_client", "unknown client, or a wrong, expired or revoked secret")
    request.state.caller = Caller(found.name, found.role, ())
    asked = form.get("scope", "").split()
    scopes = granted(asked, found.scopes) if asked else list(found.scopes)
    if not scopes:
        return _error(400, "invalid_scope", "none of these scopes is open to this client")
    content = {
        "access_token": issue(fhir, found.name, found.role, scopes),
        "token_type": "bearer",
        "expires_in": TOKEN_S,
        "scope": " ".join(scopes),
    }
    return Response(json.encode(content), media_type="application/json", headers={"Pragma": "no-cache"})


def _client(request: Request, form: dict[str, str]) -> tuple[str, str] | None:
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
