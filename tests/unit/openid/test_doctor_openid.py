import time

import pytest

from hub.doctor import probe_provider
from tests.certificates import Authority
from tests.openid import LyingProvider
from tests.unit.api.stations import openid


@pytest.fixture
def provider():
    provider = LyingProvider(time.time())
    yield provider
    provider.stop()


async def test_a_provider_that_answers_is_told_with_what_it_must_know(provider):
    [found] = await probe_provider(openid(provider.issuer))
    assert found.level == "ok"
    assert "1 keys, has no sign-out of its own" in found.found
    assert "must know http://127.0.0.1:8080/api/v1/session/oidc/callback" in found.found


async def test_a_provider_that_does_not_is_told_with_what_to_change_and_what_it_means(provider, caplog):
    provider.metadata["issuer"] = "https://elsewhere.example"
    [found] = await probe_provider(openid(provider.issuer))
    assert found.level == "error"
    assert "calls itself https://elsewhere.example" in found.found
    assert found.means == "Meanwhile local users can sign in."
    [found] = await probe_provider(openid("http://127.0.0.1:9", local_users=False))
    assert "see to oidc.issuer, and that this machine reaches it" in found.found
    assert found.means == "Meanwhile nobody can sign in: oidc.local_users is off."
    assert caplog.text == "", "told once"


async def test_a_secret_that_can_not_be_read_is_found_before_anybody_signs_in(provider, tmp_path):
    file = tmp_path / "secret"
    file.write_text("x")
    settings = openid(provider.issuer, client_secret=None, client_secret_file=file)
    file.unlink()
    [found] = await probe_provider(settings)
    assert (found.level, "No such file" in found.found) == ("error", True)


async def test_relying_on_the_provider_alone_is_warned_of(provider):
    _, alone = await probe_provider(openid(provider.issuer, local_users=False))
    assert alone.level == "warning"
    assert "nobody can acknowledge an alarm" in alone.means


async def test_certificates_of_the_hospitals_own_authority_are_taken_once_it_is_named(tmp_path):
    authority = Authority(tmp_path)
    secure = LyingProvider(time.time(), authority.sign("localhost"))
    try:
        [found] = await probe_provider(openid(secure.issuer))
        assert "set oidc.ca_file to the certificate of who signed the provider's" in found.found
        [found] = await probe_provider(openid(secure.issuer, ca_file=authority.file))
        assert found.level == "ok", found.found
        text = tmp_path / "text"
        text.write_text("no certificate")
        [found] = await probe_provider(openid(secure.issuer, ca_file=text))
        assert "oidc.ca_file" in found.found
        assert found.level == "error"
    finally:
        secure.stop()
