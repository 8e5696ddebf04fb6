import logging

import pytest
from joserfc.jwk import KeySet, RSAKey

from tests.openid import LyingProvider, signed_with_public_key, unsigned
from tests.unit.api.stations import PASSWORD, SECOND, Clock, Station, openid, sign_in

BEGIN = "/api/v1/session/oidc"
CALLBACK = f"{BEGIN}/callback"


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def provider(clock):
    provider = LyingProvider(clock.seconds())
    yield provider
    provider.stop()


@pytest.fixture
def settings(provider):
    return openid(provider.issuer)


@pytest.fixture
async def station(hospital, tmp_path, clock, settings):
    station = Station(tmp_path, clock, settings)
    yield await station.open(hospital)
    await station.close()


@pytest.fixture
async def page(station):
    async with station.browser() as page:
        yield page


async def begin(page):
    """Go to the provider, and return its address."""
    response = await page.post(BEGIN)
    assert response.status_code == 200, response.text
    return response.json()["url"]


async def come_in(page, provider, **changes):
    """Sign in at the provider and come back."""
    return await page.get(provider.answer(await begin(page), **changes))


async def is_out(page):
    return (await page.get("/api/v1/session")).status_code == 401


async def refused(page, response, reason):
    assert (response.status_code, response.headers["location"]) == (303, f"/?sign-in={reason}")
    assert await is_out(page)


async def test_somebody_of_a_mapped_group_comes_in_with_the_role_and_its_session(page, provider, station):
    response = await come_in(page, provider)
    assert (response.status_code, response.headers["location"]) == (303, "/?sign-in=done")
    told = (await page.get("/api/v1/session")).json()
    assert (told["user"], told["name"], told["role"]) == ("anna.berg", "Anna Berg", "nurse")
    assert (await page.get("/api/v1/patients")).status_code == 200
    assert (await page.post("/api/v1/alarms/al-1/comment", json={"text": "x"})).status_code == 403, "csrf"
    page.headers["X-CSRF-Token"] = told["csrf"]
    assert (await page.post("/api/v1/alarms/al-1/comment", json={"text": "x"})).status_code == 404
    [session] = await station.sessions.entries()
    assert session.subject == "u-17"


async def test_the_session_is_locked_after_the_same_idle_time(page, provider, clock):
    await come_in(page, provider)
    clock.now_ns += 599 * SECOND
    assert (await page.get("/api/v1/patients")).status_code == 200
    clock.now_ns += 1 * SECOND
    assert (await page.get("/api/v1/patients")).status_code == 401
    assert (await page.get("/api/v1/alarms")).status_code == 200, "the screen on the wall goes on"


async def test_what_goes_to_the_provider_is_bound_to_this_sign_in_and_asks_for_the_password(page, provider):
    first, second = await begin(page), await begin(page)
    asked = dict(part.split("=", 1) for part in first.split("?")[1].split("&"))
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["prompt"] == "login"
    assert asked["redirect_uri"] == "http%3A%2F%2F127.0.0.1%3A8080%2Fapi%2Fv1%2Fsession%2Foidc%2Fcallback"
    again = dict(part.split("=", 1) for part in second.split("?")[1].split("&"))
    for name in ("state", "nonce", "code_challenge"):
        assert len(asked[name]) == 43
        assert asked[name] != again[name]


async def test_the_cookies_are_out_of_reach_of_scripts_and_the_session_of_other_sites(provider, station):
    async with station.browser("https://hub.example") as page:
        begun = (await page.post(BEGIN)).headers["set-cookie"]
        assert begun.startswith("__Host-wardhub-sign-in=")
        assert {"httponly", "secure", "samesite=lax", "path=/"} <= parts(begun)
        answer = provider.answer((await page.post(BEGIN)).json()["url"])
        response = await page.get(answer.replace("http://127.0.0.1:8080", "https://hub.example"))
        given = response.headers.get_list("set-cookie")
        [gone] = [one for one in given if one.startswith("__Host-wardhub-sign-in=")]
        assert "max-age=0" in parts(gone)
        [session] = [one for one in given if one.startswith("__Host-wardhub=")]
        assert {"httponly", "secure", "samesite=strict", "path=/"} <= parts(session)


def parts(cookie):
    return {part.strip().lower() for part in cookie.split(";")}


# Answers that somebody else made.


async def test_an_answer_with_another_state_is_refused(page, provider):
    await refused(page, await come_in(page, provider, state="made-up"), "expired")
    await refused(page, await come_in(page, provider, state=""), "expired")


async def test_an_answer_to_another_browser_is_refused(page, provider, station):
    async with station.browser() as victim:
        await begin(victim)
        await refused(victim, await victim.get(provider.answer(await begin(page))), "expired")
    async with station.browser() as fresh:
        await refused(fresh, await fresh.get(provider.answer(await begin(page))), "expired")


async def test_an_answer_that_comes_late_is_refused(page, provider, clock):
    url = await begin(page)
    clock.now_ns += 600 * SECOND
    await refused(page, await page.get(provider.answer(url)), "expired")


async def test_a_code_opens_the_door_once(page, provider, station):
    answer = provider.answer(await begin(page))
    attempt = page.cookies["wardhub-sign-in"]
    assert (await page.get(answer)).headers["location"] == "/?sign-in=done"
    async with station.browser() as thief:
        await refused(thief, await thief.get(answer), "expired")
        thief.cookies["wardhub-sign-in"] = attempt
        await refused(thief, await thief.get(answer), "expired")


async def test_a_code_that_the_provider_takes_again_opens_no_door_again(page, provider, station):
    provider.forgets = True
    answer = provider.answer(await begin(page))
    attempt = page.cookies["wardhub-sign-in"]
    assert (await page.get(answer)).headers["location"] == "/?sign-in=done"
    async with station.browser() as thief:
        thief.cookies["wardhub-sign-in"] = attempt
        await refused(thief, await thief.get(answer), "expired")


async def test_an_answer_of_another_provider_is_refused(page, provider):
    await refused(page, await come_in(page, provider, iss="https://elsewhere.example"), "failed")
    assert (await come_in(page, provider, iss="")).headers["location"] == "/?sign-in=done", (
        "older providers send none"
    )


async def test_a_provider_that_promises_to_name_itself_must(page, provider):
    provider.metadata["authorization_response_iss_parameter_supported"] = True
    await refused(page, await come_in(page, provider, iss=""), "failed")


async def test_a_refusal_of_the_provider_is_told(page, provider):
    await refused(page, await come_in(page, provider, code="", error="access_denied"), "declined")


async def test_nothing_of_an_answer_leads_the_browser_elsewhere(page, provider):
    for name in ("next", "redirect", "redirect_uri", "return_to", "url", "post_logout_redirect_uri"):
        response = await come_in(page, provider, **{name: "https://evil.example/"})
        assert response.headers["location"] == "/?sign-in=done"
        response = await page.get(CALLBACK, params={name: "//evil.example", "error": "x"})
        assert response.headers["location"] == "/?sign-in=expired"


# ID tokens that are not what they should be.


async def lied(page, provider, reason="failed"):
    await refused(page, await come_in(page, provider), reason)


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "n" * 43},
        {"nonce": None},
        {"iss": "https://elsewhere.example"},
        {"iss": None},
        {"aud": "another-program"},
        {"aud": ["another-program"]},
        {"aud": ["wardhub", "another-program"]},
        {"aud": ["wardhub", "another-program"], "azp": "another-program"},
        {"aud": "another-program", "azp": "wardhub"},
        {"aud": None},
        {"azp": "another-program"},
        {"exp": None},
        {"exp": "tomorrow"},
        {"sub": None},
        {"sub": 17},
        {"iat": None},
        {"at_hash": "bm90IHRoZSB0b2tlbnMnIQ"},
    ],
    ids=str,
)
async def test_a_token_that_is_not_for_this_sign_in_is_refused(page, provider, claims):
    provider.claims = claims
    await lied(page, provider)


@pytest.mark.parametrize("change", [{"exp": -121}, {"iat": 121}, {"nbf": 121}], ids=str)
async def test_a_token_of_another_time_is_refused(page, provider, clock, change):
    [(name, seconds)] = change.items()
    provider.claims = {name: int(clock.seconds()) + seconds}
    await lied(page, provider)
    provider.claims = {name: int(clock.seconds()) + seconds - (1 if seconds > 0 else -2)}
    assert (await come_in(page, provider)).headers["location"] == "/?sign-in=done", (
        "clocks may differ by two minutes"
    )


async def test_a_token_signed_by_somebody_else_is_refused(page, provider):
    provider.key = RSAKey.generate_key(2048, parameters={"kid": "one", "use": "sig"})
    await lied(page, provider)
    provider.header = {"kid": "two"}
    await lied(page, provider)


async def test_a_token_that_nobody_signed_is_refused(page, provider):
    for alg in ("none", "None", "RS256", ""):
        provider.token = lambda claims, alg=alg: unsigned(claims, alg)
        await lied(page, provider)
    provider.metadata["id_token_signing_alg_values_supported"] = ["none", "RS256"]
    provider.token = lambda claims: unsigned(claims, "none")
    await lied(page, provider)


async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(page, provider):
    provider.metadata["id_token_signing_alg_values_supported"] = ["HS256", "RS256"]
    provider.token = lambda claims: signed_with_public_key(claims, provider.key)
    await lied(page, provider)


@pytest.mark.parametrize("token", ["", "a.b.c", "x", None, "e30.e30.e30"])
async def test_what_is_no_token_is_refused(page, provider, token):
    provider.token = lambda _claims: token
    await lied(page, provider)


async def test_a_token_without_a_key_id_is_taken_where_there_is_one_key(page, provider):
    provider.header = {"kid": None}
    assert (await come_in(page, provider)).headers["location"] == "/?sign-in=done"


async def test_new_keys_of_the_provider_are_asked_for(page, provider):
    await come_in(page, provider)
    provider.key = RSAKey.generate_key(2048, parameters={"kid": "two", "use": "sig"})
    provider.header = {"kid": "two"}
    provider.published = KeySet([provider.key])
    assert (await come_in(page, provider)).headers["location"] == "/?sign-in=done"


async def test_a_provider_that_did_not_ask_for_the_password_again_is_not_believed(page, provider, clock):
    provider.claims = {"auth_time": int(clock.seconds()) - 3600}
    await lied(page, provider)
    provider.claims = {"auth_time": int(clock.seconds())}
    assert (await come_in(page, provider)).headers["location"] == "/?sign-in=done"


# Who somebody is, and what they may.


async def test_without_a_mapped_group_nobody_comes_in_and_the_log_says_why(page, provider, caplog, station):
    provider.claims = {"groups": ["surgeons", "choir"]}
    await lied(page, provider, "no-role")
    assert "groups holds choir, surgeons; oidc.role_map knows it-staff, icu-nurses, icu-leads" in caplog.text
    assert "anna" not in caplog.text.lower()
    assert station.audit.told == [("login", "anna.berg", "", 403)]
    provider.claims = {"groups": None}
    provider.userinfo = {"sub": "u-17"}
    await lied(page, provider, "no-role")


async def test_the_first_group_of_the_map_counts(page, provider):
    provider.claims = {"groups": ["icu-nurses", "icu-leads", "it-staff"]}
    await come_in(page, provider)
    assert (await page.get("/api/v1/session")).json()["role"] == "it"


async def test_what_the_token_lacks_is_asked_at_the_userinfo_endpoint(page, provider):
    provider.claims = {"groups": None, "preferred_username": None}
    provider.userinfo = {"sub": "u-17", "groups": ["icu-leads"], "preferred_username": "anna"}
    await come_in(page, provider)
    told = (await page.get("/api/v1/session")).json()
    assert (told["user"], told["role"]) == ("anna", "charge-nurse")


async def test_userinfo_of_somebody_else_is_refused(page, provider):
    provider.claims = {"groups": None}
    provider.userinfo = {"sub": "u-18", "groups": ["it-staff"]}
    await lied(page, provider)


async def test_a_name_that_a_local_user_has_is_refused(page, provider):
    provider.claims = {"preferred_username": "IT"}
    await lied(page, provider, "name-taken")


@pytest.mark.parametrize("name", [None, "", "  ", "a\nb", 17, ["anna"], "x" * 129])
async def test_who_has_no_usable_name_is_refused_and_the_log_says_what_to_change(
    page, provider, caplog, name
):
    provider.claims = {"preferred_username": name}
    provider.userinfo = {"sub": "u-17"}
    await lied(page, provider)
    assert "set oidc.user_claim" in caplog.text


# Sessions before and after.


async def test_signing_in_ends_the_session_that_the_station_had(page, provider, station):
    await sign_in(page)
    old = page.cookies["wardhub"]
    url = await begin(page)
    # A strict cookie does not come along from another site.
    del page.cookies["wardhub"]
    assert (await page.get(provider.answer(url))).headers["location"] == "/?sign-in=done"
    assert page.cookies["wardhub"] != old
    assert station.sessions.verify(old, station.clock()) is None


async def test_a_locked_station_signs_in_by_the_provider(page, provider, clock):
    await sign_in(page)
    clock.now_ns += 600 * SECOND
    del page.headers["X-CSRF-Token"]
    provider.now_s = clock.seconds()
    assert (await come_in(page, provider)).headers["location"] == "/?sign-in=done"
    assert (await page.get("/api/v1/session")).json()["user"] == "anna.berg"


async def test_signing_out_leads_to_the_providers_own_end_of_session(page, provider, station):
    provider.metadata["end_session_endpoint"] = f"{provider.issuer}/end?tenant=1"
    await come_in(page, provider)
    page.headers["X-CSRF-Token"] = (await page.get("/api/v1/session")).json()["csrf"]
    response = await page.delete("/api/v1/session")
    assert response.status_code == 200
    url = response.json()["provider_url"]
    assert url.startswith(f"{provider.issuer}/end?tenant=1&id_token_hint=ey")
    assert "client_id=wardhub&post_logout_redirect_uri=http%3A%2F%2F127.0.0.1%3A8080%2F" in url
    assert await is_out(page)
    assert station.audit.told == [("login", "anna.berg", "nurse", 200), ("logout", "anna.berg", "nurse", 200)]


async def test_signing_out_needs_no_provider(page, provider, station):
    await come_in(page, provider)
    page.headers["X-CSRF-Token"] = (await page.get("/api/v1/session")).json()["csrf"]
    assert (await page.delete("/api/v1/session")).status_code == 204
    await sign_in(page)
    assert (await page.delete("/api/v1/session")).status_code == 204, "a local user's"


async def test_another_site_cannot_begin(page):
    response = await page.post(BEGIN, headers={"Sec-Fetch-Site": "cross-site"})
    assert (response.status_code, response.json()["type"]) == (403, "urn:wardhub:problem:csrf")


async def test_a_page_under_another_address_is_told_the_right_one(page):
    response = await page.post(BEGIN, headers={"Origin": "http://192.0.2.7:8080"})
    assert response.status_code == 409
    assert "open this page as http://127.0.0.1:8080" in response.json()["detail"]
    assert (await page.post(BEGIN, headers={"Origin": "http://127.0.0.1:8080"})).status_code == 200


# A provider that is not there, or not what the settings say.


@pytest.mark.parametrize(
    ("path", "status", "content", "named"),
    [
        ("/.well-known/openid-configuration", 500, b"{}", "500"),
        ("/.well-known/openid-configuration", 404, b"{}", "see to oidc.issuer"),
        ("/.well-known/openid-configuration", 302, b"", "302"),
        ("/.well-known/openid-configuration", 200, b"<html>", "no answer of an OpenID provider"),
        (
            "/.well-known/openid-configuration",
            200,
            b'{"issuer": "https://x.example"}',
            "authorization_endpoint",
        ),
    ],
)
async def test_a_provider_that_can_not_be_used_is_told_once_with_what_to_change(
    page, provider, caplog, path, status, content, named
):
    provider.broken[path] = (status, content)
    for _ in range(2):
        response = await page.post(BEGIN)
        assert (response.status_code, response.json()["type"]) == (
            503,
            "urn:wardhub:problem:provider-unavailable",
        )
    del provider.broken[path]
    assert (await come_in(page, provider)).headers["location"] == "/?sign-in=done"
    told = [one.getMessage() for one in caplog.records if one.name == "hub.openid.provider"]
    assert len(told) == 2, told
    assert named in told[0]
    assert told[1] == "people can sign in by OpenID Connect again"


@pytest.mark.parametrize(
    ("metadata", "named"),
    [
        (
            {"issuer": "https://sso.example"},
            "calls itself https://sso.example, oidc.issuer is http://127.0.0.1",
        ),
        ({"token_endpoint": "http://sso.example/token"}, "http://sso.example/token is no https address"),
        ({"code_challenge_methods_supported": ["plain"]}, "no PKCE by S256"),
    ],
)
async def test_a_provider_that_is_not_what_the_settings_say_is_named(page, provider, caplog, metadata, named):
    provider.metadata = metadata
    assert (await page.post(BEGIN)).status_code == 503
    assert named in caplog.text


@pytest.mark.parametrize("path", ["/token", "/jwks", "/me"])
async def test_a_provider_that_goes_away_in_between_is_told_as_that(page, provider, caplog, path):
    provider.claims = {"groups": None}
    url = await begin(page)
    provider.broken[path] = (500, b"{}")
    await refused(page, await page.get(provider.answer(url)), "unreachable")
    assert path in caplog.text


async def test_a_client_that_the_provider_does_not_know_is_told_what_to_change(page, provider, caplog):
    provider.broken["/token"] = (401, b'{"error": "invalid_client"}')
    await refused(page, await come_in(page, provider), "unreachable")
    assert "see to oidc.client_id, client_secret, client_auth" in caplog.text
    assert "a secret of the client" not in caplog.text


async def test_neither_code_nor_token_is_logged(page, provider, caplog):
    caplog.set_level(logging.DEBUG)
    answer = provider.answer(await begin(page))
    code = answer.split("code=")[1].split("&")[0]
    await page.get(answer)
    told = "\n".join(one.getMessage() for one in caplog.records if one.name.startswith("hub"))
    assert code not in told
    assert "anna" not in told.lower()


async def test_local_users_sign_in_beside_the_provider(page):
    assert (await page.get("/api/v1/session/methods")).json() == {"local": True, "openid": ""}
    assert (await sign_in(page)).status_code == 200


@pytest.mark.parametrize("settings", [openid(local_users=False, button="Sign in with Example Hospital")])
async def test_local_sign_in_can_be_turned_off(page, station):
    told = (await page.get("/api/v1/session/methods")).json()
    assert told == {"local": False, "openid": "Sign in with Example Hospital"}
    response = await page.post("/api/v1/session", json={"user": "nurse", "password": PASSWORD})
    assert (response.status_code, response.json()["type"]) == (403, "urn:wardhub:problem:no-local-users")
    body = {"user": "nurse", "password": PASSWORD, "new_password": PASSWORD + "!"}
    assert (await page.post("/api/v1/session/password", json=body)).status_code == 403
    assert await is_out(page)


@pytest.mark.parametrize("settings", [None])
async def test_a_hub_without_a_provider_has_no_such_routes(page):
    assert (await page.get("/api/v1/session/methods")).json() == {"local": True, "openid": None}
    assert (await page.post(BEGIN)).status_code == 404
    assert (await page.get(CALLBACK)).status_code == 404
