"""The hospital's OpenID provider: what it says of itself, its keys, and who it says came in.

Authlib and its HTTP client are used here and in `claims` alone; a hub without a provider never imports them.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import AsyncOAuth2Client
from httpx2 import AsyncClient, HTTPError, HTTPStatusError, create_ssl_context
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from msgspec import DecodeError, Struct, json

from hub.openid.attempt import LASTS_S, Attempt
from hub.openid.claims import ALGORITHMS, Person, has_everything, person_of, verified
from hub.openid.errors import ProviderUnavailable, SignInRefused
from hub.openid.settings import OpenIdSettings, is_protected

log = logging.getLogger(__name__)

T = TypeVar("T")

_FRESH_S: Final = 3600.0
"""How long what the provider says of itself, and its keys, are used without asking again."""
_CALLS: Final = 8
"""To the provider, at once: a flood of made-up answers must not make the hub a flood of its own."""


class Metadata(Struct, frozen=True):
    """What a provider says of itself (OpenID Connect Discovery 1.0, 3)."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None
    code_challenge_methods_supported: list[str] | None = None
    id_token_signing_alg_values_supported: list[str] | None = None
    token_endpoint_auth_methods_supported: list[str] | None = None
    authorization_response_iss_parameter_supported: bool = False


class _Keys(Struct, frozen=True):
    keys: list[dict[str, Any]]


class Provider:
    """One provider. Nothing is connected in between; what it told is remembered for an hour.

    `now_s` is real time, in which tokens expire, whatever the hub's clock shows.
    """

    def __init__(self, settings: OpenIdSettings, now_s: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.now_s = now_s
        self._metadata: Metadata | None = None
        self._asked_s = 0.0
        self._keys: KeySet | None = None
        self._tls: ssl.SSLContext | None = None
        self._answers = True
        self._spent: dict[str, float] = {}
        """Attempts that somebody came in by, until they are too old anyhow: each opens the door once."""
        self._calls = asyncio.Semaphore(_CALLS)

    async def greet(self) -> None:
        """Ask once, so that the log tells at the start what people would run into later. Never raises."""
        with suppress(ProviderUnavailable):
            await self.keys()

    async def ask(self) -> tuple[Metadata, KeySet]:
        """Ask for everything afresh, remember and log nothing. Raises ProviderUnavailable."""
        metadata = await self._discovered()
        return metadata, await self._signing_keys(metadata)

    async def discover(self) -> Metadata:
        """Return what the provider says of itself. Raises ProviderUnavailable; logs that once each way."""
        if self._metadata is not None and self.now_s() - self._asked_s < _FRESH_S:
            return self._metadata
        try:
            metadata = await self._discovered()
        except ProviderUnavailable as error:
            if self._answers:
                log.warning("people can't sign in by OpenID Connect: %s", error)
            self._answers = False
            raise
        if not self._answers:
            log.warning("people can sign in by OpenID Connect again")
        self._answers = True
        self._metadata, self._asked_s, self._keys = metadata, self.now_s(), None
        return metadata

    async def authorization_url(self, attempt: Attempt) -> str:
        """Return where the browser goes to sign in. Raises ProviderUnavailable."""
        metadata = await self.discover()
        asked = {"prompt": "login"} if self.settings.fresh_login else {}
        async with self._client(metadata) as client:
            url, _ = client.create_authorization_url(
                metadata.authorization_endpoint,
                state=attempt.state,
                nonce=attempt.nonce,
                code_verifier=attempt.verifier,
                **asked,
            )
        return str(url)

    async def person(self, attempt: Attempt | None, answer: Mapping[str, str]) -> Person:
        """Return who came back from the provider. Raises ProviderUnavailable, SignInRefused.

        `answer` holds the parameters of the address that the browser was sent to.
        """
        if attempt is None or not attempt.is_answered_by(answer.get("state", "")):
            raise SignInRefused("expired", "an answer of the provider that this browser did not ask for")
        if "error" in answer:
            raise SignInRefused("declined", f"the provider let nobody in: {_shown(answer['error'])}")
        metadata = await self.discover()
        issuer = answer.get("iss")
        if issuer != metadata.issuer and (
            issuer is not None or metadata.authorization_response_iss_parameter_supported
        ):
            raise SignInRefused("failed", "the answer is another provider's (RFC 9207)")
        token = await self._exchange(metadata, attempt, answer.get("code", ""))
        id_token, access_token = str(token.get("id_token", "")), str(token.get("access_token", ""))
        claims = await self._verified(metadata, attempt, id_token, access_token)
        self._spend(attempt)
        if metadata.userinfo_endpoint and not has_everything(claims, self.settings):
            claims = await self._with_userinfo(metadata.userinfo_endpoint, claims, access_token)
        return person_of(claims, self.settings, id_token)

    async def sign_out_url(self, id_token: str) -> str | None:
        """Return where the browser goes to sign out there too; None where the provider has no such place.

        OpenID Connect RP-Initiated Logout 1.0. Never raises: signing out here does not depend on it.
        """
        try:
            endpoint = (await self.discover()).end_session_endpoint
        except ProviderUnavailable:
            return None
        if endpoint is None or not is_protected(endpoint):
            return None
        parameters = {
            "id_token_hint": id_token,
            "client_id": self.settings.client_id,
            "post_logout_redirect_uri": self.settings.signed_out_uri,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(parameters)}"

    async def keys(self, *, again: bool = False) -> KeySet:
        """Return what the provider signs with. Raises ProviderUnavailable."""
        metadata = await self.discover()
        if self._keys is None or again:
            self._keys = await self._signing_keys(metadata)
        return self._keys

    async def _signing_keys(self, metadata: Metadata) -> KeySet:
        found = await self._fetched(metadata.jwks_uri, _Keys)
        signing = [key for key in found.keys if key.get("use", "sig") == "sig" and key.get("kty") != "oct"]
        try:
            return KeySet.import_key_set({"keys": signing})
        except (JoseError, ValueError) as error:
            raise ProviderUnavailable(f"{metadata.jwks_uri}: no key that the hub can use: {error}") from error

    async def _discovered(self) -> Metadata:
        address = f"{self.settings.issuer.rstrip('/')}/.well-known/openid-configuration"
        metadata = await self._fetched(address, Metadata)
        if metadata.issuer != self.settings.issuer:
            raise ProviderUnavailable(
                f"{address}: the provider calls itself {_shown(metadata.issuer)}, oidc.issuer is"
                f" {self.settings.issuer}: they must be the same, letter by letter"
            )
        for endpoint in (metadata.authorization_endpoint, metadata.token_endpoint, metadata.jwks_uri):
            if not is_protected(endpoint):
                raise ProviderUnavailable(f"{address}: {_shown(endpoint)} is no https address")
        methods = metadata.code_challenge_methods_supported
        if methods is not None and "S256" not in methods:
            raise ProviderUnavailable(f"{address}: the provider has no PKCE by S256; switch it on there")
        return metadata

    async def _exchange(self, metadata: Metadata, attempt: Attempt, code: str) -> dict[str, Any]:

        try:
            async with self._calls, self._client(metadata) as client:
                token: dict[str, Any] = await client.fetch_token(
                    metadata.token_endpoint,
                    grant_type="authorization_code",
                    code=code,
                    code_verifier=attempt.verifier,
                )
        except OAuthError as error:
            if error.error == "invalid_grant":
                raise SignInRefused("expired", f"the provider takes this code no more: {error}") from error
            raise ProviderUnavailable(
                f"{metadata.token_endpoint}: {_shown(str(error))}: see to oidc.client_id, client_secret,"
                f" client_auth and that the provider knows {self.settings.redirect_uri}"
            ) from error
        except (HTTPError, ValueError) as error:
            raise self._out_of_reach(metadata.token_endpoint, error) from error
        return token

    async def _verified(
        self, metadata: Metadata, attempt: Attempt, id_token: str, access_token: str
    ) -> dict[str, Any]:

        offered = metadata.id_token_signing_alg_values_supported or ["RS256"]
        check = partial(
            verified,
            id_token,
            settings=self.settings,
            algorithms=[one for one in offered if one in ALGORITHMS],
            nonce=attempt.nonce,
            access_token=access_token,
            begun_s=attempt.begun_s,
        )
        try:
            try:
                return check(keys=await self.keys(), now_s=self.now_s())
            except InvalidKeyIdError:  # it may have changed its keys since
                return check(keys=await self.keys(again=True), now_s=self.now_s())
        except InvalidKeyIdError as error:
            raise SignInRefused("failed", f"the ID token is signed by nobody known: {error}") from error

    async def _with_userinfo(
        self, endpoint: str, claims: dict[str, Any], access_token: str
    ) -> dict[str, Any]:
        """Add what the provider tells at its userinfo endpoint alone (OpenID Connect Core 1.0, 5.3)."""
        if not is_protected(endpoint):
            raise ProviderUnavailable(f"{_shown(endpoint)} is no https address")
        told = await self._fetched(endpoint, dict[str, Any], {"Authorization": f"Bearer {access_token}"})
        if told.get("sub") != claims["sub"]:
            raise SignInRefused("failed", "the userinfo endpoint tells of somebody else")
        return {**told, **claims}

    def _spend(self, attempt: Attempt) -> None:

        now_s = self.now_s()
        self._spent = {state: until_s for state, until_s in self._spent.items() if now_s < until_s}
        if attempt.state in self._spent:
            raise SignInRefused("expired", "this answer of the provider was used before")
        self._spent[attempt.state] = attempt.begun_s + LASTS_S

    def _client(self, metadata: Metadata) -> AsyncOAuth2Client:

        try:
            secret = self.settings.secret()
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderUnavailable(f"oidc.client_secret_file can't be read: {error}") from error
        offered = metadata.token_endpoint_auth_methods_supported or ["client_secret_basic"]
        basic = "client_secret_basic" in offered or "client_secret_post" not in offered
        way = self.settings.client_auth or ("basic" if basic else "post")
        return AsyncOAuth2Client(
            self.settings.client_id,
            secret,
            token_endpoint_auth_method="none" if secret is None else f"client_secret_{way}",
            scope=" ".join(self.settings.scopes),
            redirect_uri=self.settings.redirect_uri,
            code_challenge_method="S256",
            timeout=self.settings.timeout_s,
            verify=self._verifies(),
        )

    async def _fetched(self, address: str, shape: type[T], headers: Mapping[str, str] | None = None) -> T:

        try:
            verify = await asyncio.to_thread(self._verifies)
            client = AsyncClient(verify=verify, timeout=self.settings.timeout_s)
            async with self._calls, client:
                response = await client.get(
                    address, headers={"Accept": "application/json", **(headers or {})}
                )
                response.raise_for_status()
            return json.decode(response.content, type=shape)
        except HTTPError as error:
            raise self._out_of_reach(address, error) from error
        except DecodeError as error:
            raise ProviderUnavailable(
                f"{address}: no answer of an OpenID provider ({error}): see to oidc.issuer"
            ) from error

    def _verifies(self) -> ssl.SSLContext:
        """Return what a provider's certificate is judged by. Making it takes tens of milliseconds, once."""
        if self._tls is None:
            file = self.settings.ca_file
            try:
                self._tls = create_ssl_context() if file is None else ssl.create_default_context(cafile=file)
            except (OSError, ssl.SSLError) as error:
                raise ProviderUnavailable(f"oidc.ca_file {file} can't be used: {error}") from error
        return self._tls

    def _out_of_reach(self, address: str, error: Exception) -> ProviderUnavailable:
        text = str(error) or type(error).__name__
        if isinstance(error, HTTPStatusError):
            text = f"it answers {error.response.status_code}"
        if "CERTIFICATE_VERIFY_FAILED" in text:
            change = "set oidc.ca_file to the certificate of who signed the provider's"
        elif self._metadata is None:
            change = "see to oidc.issuer, and that this machine reaches it"
        else:
            change = "see to the provider, and that this machine reaches it"
        return ProviderUnavailable(f"{address}: {_shown(text)}: {change}")


def _shown(text: str) -> str:
    """Return what somebody else wrote, fit for a line of the log."""
    return "".join(one if one.isprintable() else " " for one in text)[:300]
