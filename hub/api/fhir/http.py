"""What every FHIR answer and body has in common: media types, versions, links, descriptions for OpenAPI."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Depends
from msgspec import DecodeError, json
from starlette.requests import Request
from starlette.responses import Response

from hub.api.fhir.errors import MEDIA_TYPE, FhirError, wrong
from hub.fhir.resource import Resource, encode
from hub.fhir.validate import Issue

_JSON: Final = (MEDIA_TYPE, "application/json", "text/json", "application/*", "*/*", "json", "text/*")
GZIP_FROM: Final = 2_000
"""Bytes from which on an answer is compressed for who takes that."""
GZIP_LEVEL: Final = 3
_LONGEST_HOST: Final = 255
"""A name's characters, by RFC 1035; what is longer is no address that is worth remembering."""
_STATEMENTS: Final = {422: "Unprocessable Content", 413: "Content Too Large"}


async def wants_json(request: Request) -> None:
    """Refuse who wants something else than JSON."""
    expect_json(request.query_params.get("_format"), request.headers.get("accept", "*/*"))


def expect_json(chosen: str | None, accept: str) -> None:
    """Refuse another format: `_format` where it is given counts more than what the client accepts."""
    accepted = [chosen] if chosen else accept.split(",")
    if not any(one.partition(";")[0].strip().lower() in _JSON for one in accepted):
        raise wrong("not-supported", f"this server writes {MEDIA_TYPE} alone", "Accept", status=406)


async def resource_of(request: Request) -> dict[str, Any]:
    """Return the resource in a request's body."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (MEDIA_TYPE, "application/json"):
        raise wrong("not-supported", f"send {MEDIA_TYPE}", "Content-Type", status=415)
    try:
        found = json.decode(await request.body())
    except (DecodeError, UnicodeDecodeError) as error:
        raise wrong("structure", f"expected JSON: {error}", "Resource") from None
    if not isinstance(found, dict):
        raise wrong("structure", "expected a JSON object", "Resource")
    return found


Body = Annotated[dict[str, Any], Depends(resource_of)]


def base_of(request: Request) -> str:
    """Return the server's address, as the client knows it."""
    public_url: str | None = request.app.state.fhir.public_url
    if public_url is not None:
        return f"{public_url}/fhir"
    scope = request.scope
    outer = scope.get("app_root_path", "")
    # Of a mounted application Starlette's base_url is that of the outer one.
    inner = scope.get("root_path", "").removeprefix(outer)
    host = request.headers.get("host")
    if host is None or len(host) > _LONGEST_HOST:
        return str(request.base_url).rstrip("/") + str(inner)
    server = scope.get("server")
    known = None if server is None else tuple(server)
    return _address(scope.get("scheme", "http"), host, known, outer) + str(inner)


@lru_cache(maxsize=256)
def _address(scheme: str, host: str, server: tuple[Any, ...] | None, path: str) -> str:
    headers = [(b"host", host.encode("latin-1"))]
    scope = {"type": "http", "scheme": scheme, "server": server, "path": path, "headers": headers}
    return str(Request({**scope, "app_root_path": path}).base_url).rstrip("/")


def respond(
    content: bytes, status: int = 200, *, version: str | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a resource that is JSON already."""
    own = dict(headers or {})
    if version is not None:
        own["ETag"] = f'W/"{version}"'
    return Response(content, status, own, media_type=MEDIA_TYPE)


def read_answer(request: Request, content: bytes, version: str) -> Response:
    """Return a resource that was read, or that the client has it already."""
    if version in _versions(request.headers.get("if-none-match", "")):
        return Response(None, 304, {"ETag": f'W/"{version}"'})
    return respond(content, version=version)


def expect_version(request: Request, resource: Resource) -> None:
    """Refuse a change of another version than the client has seen."""
    seen = request.headers.get("if-match")
    if seen is not None and resource["meta"]["versionId"] not in _versions(seen):
        text = f"the resource is at version {resource['meta']['versionId']}: read it again"
        raise FhirError(412, [Issue("conflict", text, "If-Match")])


def _versions(header: str) -> list[str]:
    return [one.strip().removeprefix("W/").strip('"') for one in header.split(",")]


def written(request: Request, resource: Resource, *, created: bool) -> Response:
    """Answer a write as `Prefer` asks."""
    preference = request.headers.get("prefer", "")
    version = str(resource["meta"]["versionId"])
    location = f"{base_of(request)}/{resource['resourceType']}/{resource['id']}"
    headers = {"Location": location, "Content-Location": location}
    status = 201 if created else 200
    if "return=minimal" in preference:
        return Response(None, status, {**headers, "ETag": f'W/"{version}"'})
    if "return=OperationOutcome" in preference:
        from hub.fhir.outcome import outcome

        text = f"{'created' if created else 'updated'} {resource['resourceType']}/{resource['id']}"
        return respond(
            encode(outcome([Issue("informational", text, "", "information")])),
            status,
            version=version,
            headers=headers,
        )
    return respond(encode(resource), status, version=version, headers=headers)


def documented(
    interaction: str,
    shape: str,
    *statuses: int,
    parameters: Iterable[tuple[str, str]] = (),
    body: str = "",
    success: int = 200,
) -> dict[str, Any]:
    """Return what a route's decorator needs for OpenAPI: answers, query parameters, body."""
    schema = {"$ref": f"#/components/schemas/{shape}"}
    responses: dict[int | str, dict[str, Any]] = {
        success: {"description": shape, "content": {MEDIA_TYPE: {"schema": schema}}}
    }
    for status in (*statuses, 401, 403, 406, 400, 503):
        if status == 304:
            responses[status] = {"description": "Not Modified"}
            continue
        name = "OperationOutcome" if status >= 400 else shape
        responses[status] = {
            "description": _STATEMENTS.get(status) or HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}},
        }
    extra: dict[str, Any] = {"x-interaction": interaction}
    listed: Sequence[dict[str, Any]] = [
        {"name": name, "in": "query", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in parameters
    ]
    if listed:
        extra["parameters"] = listed
    if body:
        content = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{body}"}}}
        extra["requestBody"] = {"required": True, "content": content}
    return {"response_model": None, "responses": responses, "openapi_extra": extra}
