import pytest

from hub.settings import SettingsInvalid, load_settings

GIVEN = """
[oidc]
issuer = "https://sso.example/realms/hospital"
client_id = "wardhub"
client_secret = "hush-hush"
hub_url = "https://hub.example"
[oidc.role_map]
"ICU nurses" = "nurse"
it = "it"
"""


def load(folder, text=GIVEN):
    file = folder / "hub.toml"
    file.write_text(text)
    return load_settings(file)


def test_a_provider_is_set_with_few_lines(tmp_path):
    oidc = load(tmp_path).oidc
    assert oidc.redirect_uri == "https://hub.example/api/v1/session/oidc/callback"
    assert oidc.signed_out_uri == "https://hub.example/"
    assert oidc.role_map == {"ICU nurses": "nurse", "it": "it"}
    assert (oidc.scopes, oidc.fresh_login, oidc.local_users) == (("openid", "profile"), True, True)
    assert oidc.secret() == "hush-hush"
    assert "hush-hush" not in repr(oidc)


def test_the_environment_may_hold_the_secret_and_a_file_too(tmp_path, monkeypatch):
    text = GIVEN.replace('client_secret = "hush-hush"\n', "")
    assert load(tmp_path, text).oidc.secret() is None, "a public client"
    file = tmp_path / "secret"
    file.write_text("from a file\n")
    monkeypatch.setenv("HUB_OIDC__CLIENT_SECRET_FILE", str(file))
    assert load(tmp_path, text).oidc.secret() == "from a file"
    monkeypatch.setenv("HUB_OIDC__ROLE_MAP", '{"others": "viewer"}')
    assert load(tmp_path, text).oidc.role_map["others"] == "viewer"


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        (
            "https://sso.example/realms/hospital",
            "http://sso.example",
            "oidc.issuer: expected an https address",
        ),
        ("/realms/hospital", "/.well-known/openid-configuration", "without /.well-known/"),
        ("https://hub.example", "http://hub.example", "oidc.hub_url: expected https://NAME"),
        ("https://hub.example", "https://hub.example/ward", "oidc.hub_url: expected https://NAME"),
        ("https://hub.example", "hub.example", "oidc.hub_url: expected https://NAME"),
        ('"nurse"', '"doctor"', "oidc.role_map.ICU nurses: Input should be 'nurse'"),
        ('"ICU nurses" = "nurse"\nit = "it"', "", "oidc.role_map"),
        ('client_id = "wardhub"', "", "oidc.client_id: Field required"),
        ('client_id = "wardhub"', 'client_id = "w"\nscopes = ["profile"]', '"openid" must be among them'),
        ('client_id = "wardhub"', 'client_id = "w"\ngroup = "x"', "oidc.group: no such setting"),
        ('client_id = "wardhub"', 'client_id = "w"\nclient_secret_file = "hub.toml"', "not both"),
    ],
)
def test_what_is_wrong_is_named_and_the_secret_never_told(tmp_path, monkeypatch, old, new, named):
    monkeypatch.chdir(tmp_path)
    assert old in GIVEN
    with pytest.raises(SettingsInvalid) as refused:
        load(tmp_path, GIVEN.replace(old, new, 1))
    assert named in str(refused.value)
    assert "hush-hush" not in str(refused.value)


def test_a_secret_of_the_wrong_kind_is_not_repeated(tmp_path):
    with pytest.raises(SettingsInvalid) as refused:
        load(tmp_path, GIVEN.replace('"hush-hush"', "4711471147"))
    assert "oidc.client_secret" in str(refused.value)
    assert "4711471147" not in str(refused.value)


def test_http_on_this_machine_is_enough_for_a_trial(tmp_path):
    text = GIVEN.replace("https://hub.example", "http://127.0.0.1:8080").replace(
        "https://sso.example/realms/hospital", "http://localhost:9400"
    )
    assert load(tmp_path, text).oidc.hub_url == "http://127.0.0.1:8080"
