import json
import re
from pathlib import Path

from hub.api.fhir.access import ROLE_SCOPES
from hub.api.fhir.kinds import KINDS
from hub.api.fhir.selection import PARAMETERS_OF_SEARCH
from hub.fhir.subscription import TOPIC, TOPICS, wanted
from hub.fhir.validate import validate
from hub.tokens import ROLES

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "fhir.md").read_text(encoding="utf-8")


def test_the_subscription_of_the_page_can_be_had():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    resource = json.loads(example)
    assert validate(resource) == []
    asked, issues = wanted(resource)
    assert issues == []
    assert (asked.topic, asked.content) == ("vitals", "full-resource")
    assert asked.codes == {"8867-4", "2708-6"}


def test_the_page_names_every_parameter_topic_kind_and_role():
    for name in (*PARAMETERS_OF_SEARCH, *(TOPIC + topic for topic in TOPICS)):
        assert f"`{name}`" in PAGE, name
    for name in (*KINDS, *ROLES):
        assert name in PAGE, name
    assert set(ROLE_SCOPES) == set(ROLES)
