"""Signing in at the hospital's OpenID provider: to it, and back with an answer."""

import logging
from typing import TYPE_CHECKING, Final, Literal

from fastapi import APIRouter, FastAPI, Request
from msgspec import Struct
from starlette.responses import RedirectResponse, Response

from hub.api.answers import answer, described
from hub.api.cookies import SESSION, Cookie, refuse_other_sites
from hub.api.problems import Problem
from hub.api.sign_in import Door, SignIn
from hub.openid.attempt import LASTS_S, Attempt
from hub.openid.errors import ProviderUnavailable, Reason, SignInRefused
from hub.sessions import digest_of

if TYPE_CHECKING:
    from hub.openid.provider import Provider

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api/v1/session/oidc", tags=["session"])

_ATTEMPT: Final = Cookie("wardhub-sign-in", "lax")
"""The provider leads the browser back from another site: a strict cookie would not come along."""


class AtProvider(Struct, frozen=True):
    """Where somebody signs in."""

    url: str
    """The provider's address; the browser goes there."""


@router.post(
    "", summary="Begin to sign in at the hospital's provider", **described(AtProvider, 403, 409, 503)
)
async def begin(request: Request, door: Door) -> Response:
    """Return where to go. What comes back from there is taken in this browser alone, for ten minutes."""
    refuse_other_sites(request)
    provider = _provider(door)
    origin = request.headers.get("origin", provider.settings.hub_url)
    if origin != provider.settings.hub_url:
        detail = f"open this page as {provider.settings.hub_url}: the provider sends nobody back to {origin}"
        raise Problem(409, "other-address", detail)
    before = SESSION.of(request)
    attempt = Attempt.begin(provider.now_s(), "" if before is None else digest_of(before))
    try:
        url = await provider.authorization_url(attempt)
    except ProviderUnavailable as error:
        detail = (
            "the hospital's sign-in can't be reached; the hub's log tells more, `hub doctor` what to change"
        )
        raise Problem(503, "provider-unavailable", detail) from error
    response = answer(AtProvider(url))
    _ATTEMPT.give(response, request, attempt.cookie, LASTS_S)
    return response


@router.get(
    "/callback",
    status_code=303,
    summary="Come back from the provider",
    response_class=Response,
    responses={303: {"description": "To the page, which says why where nobody is signed in."}},
)
async def callback(request: Request, door: Door) -> Response:
    """Begin a session for who comes back with an answer to what this browser asked; lead to the page."""
    provider = _provider(door)
    attempt = Attempt.of_cookie(_ATTEMPT.of(request) or "", provider.now_s())
    try:
        person = await provider.person(attempt, request.query_params)
        await _refuse_taken_names(door, person.name)
    except SignInRefused as error:
        log.warning("nobody was signed in by OpenID Connect: %s", error)
        await door.note(request, "login", error.who, status=403)
        return _to_page(request, error.reason)
    except ProviderUnavailable as error:
        log.warning("nobody could be signed in by OpenID Connect: %s", error)
        await door.note(request, "login", status=503)
        return _to_page(request, "unreachable")
    before = None if attempt is None else attempt.before
    secret = await door.open(request, person, before, person.subject, person.id_token)
    response = _to_page(request, "done")
    SESSION.give(response, request, secret, door.sessions.times.shown_s)
    return response


def install(api: FastAPI) -> None:
    """Add it to an application whose door has a provider."""
    api.include_router(router)


async def _refuse_taken_names(door: SignIn, name: str) -> None:
    """Refuse who is called like a local user: in audit and alarm histories nobody could tell them apart."""
    if door.takes_local_users and await door.users.exists(name):
        text = "somebody at the provider is called like a local user: remove that one (hub user remove)"
        raise SignInRefused("name-taken", text, name)


def _provider(door: SignIn) -> "Provider":
    if door.provider is None:
        raise Problem(404, "not-found", "this hub has no OpenID provider: see the settings [oidc]")
    return door.provider


def _to_page(request: Request, result: Reason | Literal["done"]) -> Response:
    # Never to an address that came with the request.
    response = RedirectResponse(f"/?sign-in={result}", 303)
    _ATTEMPT.take_back(response, request)
    return response
