import pytest

from hub.openid.claims import has_everything, person_of
from hub.openid.errors import SignInRefused
from hub.openid.settings import OpenIdSettings

CLAIMS = {"sub": "u-17", "preferred_username": " Anna.Berg ", "name": "Anna Berg", "groups": ["icu", "choir"]}


def settings(**changes):
    given = {
        "issuer": "https://sso.example",
        "client_id": "wardhub",
        "hub_url": "https://hub.example",
        "role_map": {"icu": "nurse"},
    }
    return OpenIdSettings(**(given | changes))


def person(settings, **changes):
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return person_of(claims, settings, "token")


def test_a_person_is_named_as_the_claims_say():
    found = person(settings())
    assert (found.name, found.full_name, found.role, found.subject) == (
        "anna.berg",
        "Anna Berg",
        "nurse",
        "u-17",
    )
    assert person(settings(), name=None).full_name == "anna.berg"
    assert person(settings(user_claim="email"), email="anna@hospital.example").name == "anna@hospital.example"


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("groups", {"groups": "icu"}),
        ("groups", {"groups": ["choir", 17, None, "icu"]}),
        ("realm_access.roles", {"realm_access": {"roles": ["icu"]}}),
        ("https://hospital.example/roles", {"https://hospital.example/roles": ["icu"]}),
        ("a.b", {"a.b": ["icu"], "a": {"b": ["other"]}}),
    ],
)
def test_groups_are_found_where_providers_put_them(claim, claims):
    assert person(settings(role_claim=claim), **claims).role == "nurse"


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("groups", {"groups": None}),
        ("groups", {"groups": []}),
        ("groups", {"groups": {"icu": True}}),
        ("groups", {"groups": "icu choir"}),
        ("groups", {"groups": ["ICU"]}),
        ("groups", {"groups": [["icu"]]}),
        ("groups.icu", {"groups": ["icu"]}),
        ("realm_access.roles", {"realm_access": "icu"}),
    ],
)
def test_what_is_no_mapped_group_gives_no_role(claim, claims):
    with pytest.raises(SignInRefused) as refused:
        person(settings(role_claim=claim), **claims)
    assert refused.value.reason == "no-role"
    assert refused.value.who == "anna.berg"
    assert "anna" not in str(refused.value)


def test_the_order_of_the_map_decides_not_that_of_the_groups():
    both = settings(role_map={"leads": "charge-nurse", "icu": "nurse"})
    assert person(both, groups=["icu", "leads"]).role == "charge-nurse"
    assert person(
        settings(role_map={"icu": "nurse", "leads": "charge-nurse"}), groups=["leads", "icu"]
    ).role == ("nurse")


def test_what_is_missing_is_asked_for_elsewhere():
    assert has_everything(CLAIMS, settings())
    assert not has_everything({"sub": "u-17", "preferred_username": "anna"}, settings())
    assert has_everything({"preferred_username": "anna", "groups": []}, settings()), "in no group, as it says"
