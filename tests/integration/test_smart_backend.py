"""SMART backend services: clients that sign, with real keys, and everything that must not come in."""

import asyncio
import base64
import hmac
import json
import sqlite3
import time
import uuid

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner

from hub.api.fhir.assertion import KIND, Assertions, NotProven
from hub.api.fhir.keys import PAUSE_S, KeySets, KeysUnusable, read_keys
from hub.api.fhir.ledger import Ledger
from hub.cli import app
from hub.clients import Clients
from hub.ward.model import NotInRegistry, RegistryRefused
from tests.fhir_hub import fhir_hub
from tests.integration.test_fhir_subscriptions import served

pytestmark = pytest.mark.integration

PUBLIC = "https://hub.example"
ENDPOINT = f"{PUBLIC}/fhir/auth/token"
SCOPES = ("system/Observation.rs", "system/Patient.rs")
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
EC = ECKey.generate_key("P-384", {"kid": "ec-1"})
STRANGER = RSAKey.generate_key(2048, {"kid": "rsa-1"})
SMALL = ECKey.generate_key("P-256", {"kid": "small"})


def key_set(*keys):
    return json.dumps(KeySet(list(keys)).as_dict(private=False))


def signed(key=RSA, alg="RS384", header=None, **claims):
    """Return what a client signs; a claim of None is left out."""
    whole = {
        "iss": "ehr",
        "sub": "ehr",
        "aud": ENDPOINT,
        "exp": int(time.time()) + 240,
        "jti": str(uuid.uuid4()),
        **claims,
    }
    whole = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": key.kid, **(header or {})}, whole, key, [alg])


def form(assertion, **more):
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": KIND,
        "client_assertion": assertion,
        **more,
    }


@pytest.fixture
async def hub(tmp_path):
    async with fhir_hub(tmp_path, public_url=PUBLIC) as hub:
        await hub.clients.add("ehr", SCOPES, jwks=key_set(RSA, EC))
        yield hub


@pytest.fixture
async def nobody(hub):
    async with hub.http() as client:
        yield client


async def test_the_configuration_tells_how_clients_may_sign(nobody):
    told = (await nobody.get("/.well-known/smart-configuration")).json()
    assert told["token_endpoint"] == ENDPOINT
    assert "private_key_jwt" in told["token_endpoint_auth_methods_supported"]
    assert set(told["token_endpoint_auth_signing_alg_values_supported"]) == {"RS384", "ES384"}
    assert "client-confidential-asymmetric" in told["capabilities"]


@pytest.mark.parametrize(("key", "alg"), [(RSA, "RS384"), (EC, "ES384")], ids=["RS384", "ES384"])
async def test_a_client_that_signs_gets_a_token_for_its_scopes_alone(hub, nobody, key, alg):
    answer = await nobody.post("/auth/token", data=form(signed(key, alg), scope="system/*.cruds"))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["expires_in"] == 300
    assert sorted(told["scope"].split()) == sorted(SCOPES)
    async with hub.http(told["access_token"]) as ehr:
        assert (await ehr.get("/Patient")).status_code == 200
        assert (await ehr.get("/Device")).status_code == 403
        refused = await ehr.put("/Patient?identifier=urn:x|1", json={"resourceType": "Patient"})
        assert refused.status_code == 403
    async with await hub.client() as auditor:
        bundle = (await auditor.get("/AuditEvent")).json()
    agents = {one["resource"]["agent"][0]["who"]["display"] for one in bundle["entry"]}
    assert "client ehr" in agents


async def test_a_client_that_asks_for_nothing_of_its_own_gets_nothing(nobody):
    answer = await nobody.post("/auth/token", data=form(signed(), scope="system/Device.cruds launch"))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


def confused():
    """Signed with the public key as if it were a shared secret."""
    _, body, _ = signed().split(".")
    head = base64.urlsafe_b64encode(b'{"alg":"HS384","kid":"rsa-1","typ":"JWT"}').rstrip(b"=").decode()
    mac = hmac.digest(RSA.as_pem(private=False), f"{head}.{body}".encode(), "sha384")
    return f"{head}.{body}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def unsigned():
    head, body, _ = signed().split(".")
    return f"{head}.{body}."


def of_another_body():
    head, _, signature = signed().split(".")
    return f"{head}.{signed(sub='other').split('.')[1]}.{signature}"


REFUSED = {
    "another's key": (lambda: signed(STRANGER), "no registered client"),
    "a client that nobody registered": (lambda: signed(iss="x", sub="x"), "no registered client"),
    "another body": (of_another_body, "no registered client"),
    "no signature": (unsigned, "no registered client"),
    "a key id that the client has not": (
        lambda: signed(RSAKey.generate_key(2048, {"kid": "new"})), "no registered client"
    ),
    "no key id": (lambda: signed(header={"kid": ""}), "kid: expected"),
    "a shared secret": (confused, "alg: expected RS384 or ES384"),
    "another algorithm": (lambda: signed(alg="RS256"), "alg: expected RS384 or ES384"),
    "an algorithm that isn't the key's": (lambda: signed(EC, "ES384", {"kid": "rsa-1"}), "no registered"),
    "a key set elsewhere": (lambda: signed(header={"jku": "https://evil.example/jwks"}), "jku: expected"),
    "what is over": (lambda: signed(exp=int(time.time()) - 60), "exp"),
    "what holds for an hour": (lambda: signed(exp=int(time.time()) + 3600), "exp: expected at most 300 s"),
    "what holds for ever": (lambda: signed(exp=10**400), "exp: expected at most 300 s"),
    "no expiry": (lambda: signed(exp=None), "exp"),
    "an expiry in words": (lambda: signed(exp="soon"), "exp"),
    "what isn't yet": (lambda: signed(nbf=int(time.time()) + 120), "not yet valid"),
    "another server": (lambda: signed(aud="https://other.example/token"), ENDPOINT),
    "the server, but not its endpoint": (lambda: signed(aud=PUBLIC), ENDPOINT),
    "no audience": (lambda: signed(aud=None), "aud"),
    "another subject": (lambda: signed(sub="other"), "sub"),
    "no subject": (lambda: signed(sub=None), "sub"),
    "no id of its own": (lambda: signed(jti=None), "jti"),
    "no issuer": (lambda: signed(iss=None), "expected a signed JWT"),
    "nothing": (lambda: "", "expected a signed JWT"),
    "no JWT": (lambda: "a.b.c", "expected a signed JWT"),
    "no text": (lambda: "\ud7ff" * 9, "expected a signed JWT"),
    "too much": (lambda: signed(more="x" * 9000), "longer than"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
async def test_what_proves_nothing_is_refused_with_what_to_change(nobody, kind):
    make, text = REFUSED[kind]
    answer = await nobody.post("/auth/token", data=form(make()))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    assert text in answer.json()["error_description"]


async def test_an_assertion_is_good_once_also_after_a_restart(hub, nobody):
    assertion = signed()
    assert (await nobody.post("/auth/token", data=form(assertion))).status_code == 200
    await hub.ledger.stop()
    await hub.ledger.start()
    again = await nobody.post("/auth/token", data=form(assertion))
    assert (again.status_code, again.json()["error"]) == (401, "invalid_client")
    assert "used already" in again.json()["error_description"]


async def test_of_one_assertion_sent_many_times_at_once_one_is_taken(nobody):
    assertion = signed()
    answers = await asyncio.gather(*(nobody.post("/auth/token", data=form(assertion)) for _ in range(8)))
    assert sorted(one.status_code for one in answers) == [200] + [401] * 7


async def test_spent_assertions_are_forgotten_once_they_are_over(hub):
    for number in range(3):
        assert await hub.ledger.spend(f"d{number}", 100 + number, 50)
    assert not await hub.ledger.spend("d2", 102, 101)
    assert await hub.ledger.spend("d0", 200, 101)


async def test_no_assertion_is_taken_where_it_can_not_be_noted(hub, nobody, caplog):
    await hub.ledger.stop()
    answer = await nobody.post("/auth/token", data=form(signed()))
    await hub.ledger.start()
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert "could not be checked" in caplog.text


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"client_secret": "wh_x"}, "invalid_request"),
        (
            {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"},
            "invalid_client",
        ),
        ({"client_id": "other"}, "invalid_client"),
        ({"grant_type": "authorization_code"}, "unsupported_grant_type"),
    ],
)
async def test_a_form_that_contradicts_itself_is_refused(nobody, more, error):
    assert (await nobody.post("/auth/token", data={**form(signed()), **more})).json()["error"] == error


async def test_a_removed_client_and_one_that_is_over_are_refused(hub, nobody):
    await hub.clients.add("guest", SCOPES, jwks=key_set(RSA), expires_ns=time.time_ns() + 200_000_000)
    await asyncio.sleep(0.25)
    over = await nobody.post("/auth/token", data=form(signed(iss="guest", sub="guest")))
    await hub.clients.remove("ehr")
    removed = await nobody.post("/auth/token", data=form(signed()))
    assert [over.status_code, removed.status_code] == [401, 401]


async def test_a_hub_that_is_not_told_its_address_takes_no_assertions(tmp_path):
    async with fhir_hub(tmp_path) as hub, hub.http() as client:
        await hub.clients.add("ehr", SCOPES, jwks=key_set(RSA))
        told = (await client.get("/.well-known/smart-configuration")).json()
        assert "private_key_jwt" not in told["token_endpoint_auth_methods_supported"]
        # Not even with an audience that whoever relays it may make up by a Host header.
        answer = await client.post("/auth/token", data=form(signed(aud="http://hub/fhir/auth/token")))
        assert answer.status_code == 401
        assert "http.public_url" in answer.json()["error_description"]


async def test_links_begin_with_the_address_that_the_hub_is_told(hub):
    await hub.admit("Ann", "icu-01")
    async with await hub.client() as client:
        bundle = (await client.get("/Patient")).json()
    assert bundle["link"][0]["url"].startswith(f"{PUBLIC}/fhir/Patient")
    assert bundle["entry"][0]["fullUrl"].startswith(f"{PUBLIC}/fhir/Patient/")


# Key sets that are fetched.


class Publisher:
    """Where a client keeps its keys."""

    def __init__(self):
        self.answer = Response(key_set(RSA), media_type="application/json")
        self.asked = 0

    async def give(self, _request):
        self.asked += 1
        return self.answer


@pytest.fixture
async def published():
    publisher = Publisher()
    async with served(Starlette(routes=[Route("/jwks", publisher.give)])) as url:
        publisher.url = f"{url}/jwks"
        yield publisher


class Watch:
    """A clock that a test moves."""

    s = 1000.0

    def __call__(self):
        return self.s


@pytest.fixture
async def checked(hub, published):
    await hub.clients.add("far", SCOPES, jwks_url=published.url)
    watch = Watch()

    async def check(key=RSA, **header):
        assertions = Assertions(hub.clients, hub.ledger.spend, keys=keys)
        return (await assertions.client(signed(key, header=header, iss="far", sub="far"), ENDPOINT)).id

    keys = KeySets(watch)
    check.watch = watch
    return check


async def test_a_fetched_key_set_is_kept_for_a_while_and_follows_a_change_of_keys(checked, published):
    assert await checked(jku=published.url) == "far"
    assert await checked() == "far"
    assert published.asked == 1
    new = RSAKey.generate_key(2048, {"kid": "rsa-2"})
    published.answer = Response(key_set(new))
    with pytest.raises(NotProven, match="no registered client"):
        await checked(new)
    assert published.asked == 1
    checked.watch.s += PAUSE_S
    assert await checked(new) == "far"
    with pytest.raises(NotProven, match="no registered client"):
        await checked(RSA)
    assert published.asked == 2


async def test_made_up_key_ids_do_not_make_the_hub_ask_and_ask(checked, published):
    for number in range(20):
        with pytest.raises(NotProven):
            await checked(RSA, kid=f"made-up-{number}")
    assert published.asked == 1


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Response("{}"), "expected a JSON Web Key Set"),
        (Response(status_code=500), "answers 500"),
        (RedirectResponse("http://127.0.0.1:1/"), "answers 307"),
        (Response(" " * 70_000), "larger than"),
    ],
    ids=["no key set", "an error", "elsewhere", "too large"],
)
async def test_a_key_set_that_can_not_be_had_proves_nothing(checked, published, answer, text):
    published.answer = answer
    with pytest.raises(NotProven, match=text):
        await checked()


async def test_an_address_that_nobody_listens_at_proves_nothing(hub):
    await hub.clients.add("gone", SCOPES, jwks_url="http://127.0.0.1:9/jwks")
    with pytest.raises(NotProven, match="can't be reached"):
        await hub.fhir.assertions.client(signed(iss="gone", sub="gone"), ENDPOINT)


# Registering.

BAD_KEYS = {
    "private": (json.dumps({"keys": [RSA.as_dict(private=True)]}), "private key"),
    "curve": (key_set(SMALL), "P-384"),
    "secret": (json.dumps({"keys": [{"kty": "oct", "kid": "a", "k": "AA"}]}), "private key"),
    "no id": (json.dumps({"keys": [{**RSA.as_dict(private=False), "kid": ""}]}), "kid"),
    "none": ('{"keys": []}', "no key"),
    "broken": ("{", "JSON Web Key Set"),
    "no number": ('{"keys": [{"kty": "RSA", "kid": "a", "n": "!", "e": "AQAB"}]}', "keys\\[0\\]"),
    "missing": ('{"keys": [{"kty": "RSA", "kid": "a"}]}', "keys\\[0\\]"),
}


@pytest.mark.parametrize("kind", BAD_KEYS)
def test_a_key_set_that_can_not_verify_is_refused_with_why(kind):
    text, fault = BAD_KEYS[kind]
    with pytest.raises(KeysUnusable, match=fault):
        read_keys(text)


@pytest.mark.filterwarnings("ignore::joserfc.errors.SecurityWarning")
def test_a_short_key_is_refused():
    with pytest.raises(KeysUnusable, match="2048 bits"):
        read_keys(key_set(RSAKey.generate_key(1024, {"kid": "a"})))


def test_keys_for_other_purposes_are_left_out():
    assert [one.kid for one in read_keys(key_set(SMALL, RSA, EC))] == ["rsa-1", "ec-1"]


async def test_clients_are_kept_and_followed_by_other_processes(tmp_path):
    url = f"sqlite:///{tmp_path / 'registry.sqlite'}"
    one, other = Clients(url), Clients(url)
    await one.start()
    await other.start()
    try:
        await one.add("b", SCOPES, jwks=key_set(RSA))
        await one.add("a", SCOPES, jwks_url="https://a.example/jwks")
        assert other.find("a", time.time_ns()) is None
        await other.follow()
        assert [client.id for client in other.entries()] == ["a", "b"]
        with pytest.raises(RegistryRefused, match="already"):
            await other.add("a", SCOPES, jwks=key_set(RSA))
        with pytest.raises(RegistryRefused, match="either"):
            await other.add("c", SCOPES)
        with pytest.raises(RegistryRefused, match="to come"):
            await other.add("c", SCOPES, jwks=key_set(RSA), expires_ns=1)
        with pytest.raises(RegistryRefused, match="characters"):
            await other.add(" ", SCOPES, jwks=key_set(RSA))
        await other.remove("a")
        with pytest.raises(NotInRegistry):
            await other.remove("a")
    finally:
        await one.stop()
        await other.stop()


async def test_a_ledger_of_the_former_layout_is_brought_up_to_date(tmp_path):
    path = tmp_path / "fhir.sqlite"
    ledger = Ledger(path)
    await ledger.start()
    await ledger.advance("reader", 7)
    await ledger.stop()
    with sqlite3.connect(path) as db:
        db.executescript("DROP TABLE assertion; PRAGMA user_version = 1;")
    db.close()
    await ledger.start()
    try:
        assert await ledger.position("reader") == 7
        assert await ledger.spend("d", 2, 1)
    finally:
        await ledger.stop()


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "hub.toml"
    path.write_text(f'data_dir = "{tmp_path / "hub"}"\n[http]\npublic_url = "{PUBLIC}/"\n')
    return str(path)


def run(*arguments, config):
    return CliRunner().invoke(app, ["client", *arguments, "--config", config])


def test_clients_are_registered_listed_and_removed_by_command(tmp_path, config):
    keys = tmp_path / "jwks.json"
    keys.write_text(key_set(RSA))
    made = run("add", "ehr", "--keys", str(keys), "--scope", SCOPES[0], "--scope", SCOPES[1], config=config)
    assert made.exit_code == 0, made.output
    assert ENDPOINT in made.output
    far = run(
        "add", "far", "--keys", "https://far.example/jwks", "--scope", SCOPES[0], "--days", "1", config=config
    )
    assert far.exit_code == 0, far.output
    listed = run("list", config=config).output
    assert "ehr" in listed
    assert "far" in listed
    assert run("remove", "ehr", config=config).exit_code == 0
    assert run("remove", "ehr", config=config).exit_code == 1
    assert "ehr" not in run("list", config=config).output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--keys", "absent.json", "--scope", "system/Observation.rs"], "can't be read"),
        (["--keys", "http://far.example/jwks", "--scope", "system/Observation.rs"], "https"),
        (["--keys", "https://far.example/jwks", "--scope", "launch"], "system/Observation.rs"),
        (["--keys", "https://far.example/jwks", "--scope", "system/Observation."], "system/Observation.rs"),
    ],
)
def test_what_can_not_be_registered_is_told_with_what_to_change(config, arguments, text):
    answer = run("add", "ehr", *arguments, config=config)
    assert answer.exit_code == 1
    assert text in answer.output
