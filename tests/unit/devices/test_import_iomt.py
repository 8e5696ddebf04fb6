"""`hub devices import-iomt`: templates of the connector become a definition, or the reason why not."""

import json

import pytest

from hub.devices.catalog import Catalog
from hub.devices.check import check
from hub.devices.decode import Observed
from hub.devices.iomt import convert
from hub.devices.payload import UnreadableError

TOPIC = "iomt/{device}"


def mapping(name="hr", code="8867-4", unit="count/min", system="http://loinc.org"):
    value = {"valueName": name, "unit": unit, "valueType": "SampledData"}
    template = {"typeName": "t", "codes": [{"code": code, "system": system}], "value": value}
    return json.dumps({"templateType": "CodeValueFhir", "template": template}).encode()


def content(match="$..[?(@heartRate)]", path="$.heartRate", kind="JsonPathContent", name="hr", **more):
    values = [{"valueExpression": path, "valueName": name}]
    template = {"typeName": "t", "typeMatchExpression": match, "values": values, **more}
    return json.dumps({"templateType": kind, "template": template}).encode()


@pytest.mark.parametrize("folder", ["basic", "sandbox", "healthkitOnFhir"])
def test_the_connectors_own_samples_become_definitions_that_load(recorded, folder, tmp_path):
    templates = recorded / "iomt-fhir" / "sample" / "templates" / folder
    imported = convert(
        (templates / "devicecontent.json").read_bytes(),
        (templates / "fhirmapping.json").read_bytes(),
        topic=TOPIC,
        title="Sample",
    )
    file = tmp_path / "sample.toml"
    file.write_text(imported.text)
    assert not [problem for problem in check([file]) if problem.severity == "error"]
    assert 'parameter = "heart_rate"' in imported.text
    # These samples code the diastolic pressure as 8867-4, heart rate: it must not pass.
    assert any("diastolic" in reason and "8867-4" in reason for reason in imported.unconverted)
    assert "nibp_diastolic" not in imported.text


def test_a_converted_definition_reads_what_the_template_read(tmp_path):
    more = {"deviceIdExpression": "$.deviceId", "timestampExpression": "$.endDate"}
    imported = convert(content(**more), mapping(), topic=TOPIC, title="T")
    assert imported.unconverted == []
    file = tmp_path / "t.toml"
    file.write_text(imported.text)
    (item,) = (
        Catalog.load(files=[file])
        .resolve("iomt/gw")
        .decode(b'{"heartRate":"78","endDate":"2019-02-01T22:46:01.875Z","deviceId":"d-1"}')
    )
    assert isinstance(item, Observed)
    assert (item.device, item.values) == ("d-1", {"heart_rate": 78.0})


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ((content(match="$.a"), mapping()), "only [?(@name && …)]"),
        ((content(match="$..[?(@a || @b)]"), mapping()), "each side of ||"),
        ((content(path="sum(matchedToken.a)"), mapping()), "no plain path"),
        ((content(kind="Mystery"), mapping()), "is none of"),
        ((content(name="other"), mapping()), "doesn't have it"),
        ((content(), mapping(code="80404-7")), "has no parameter for 80404-7"),
        ((content(), mapping(unit="furlong")), "in 'furlong'"),
        ((content(), mapping(code="8462-4", unit="mmHg")), "called like heart_rate and coded 8462-4"),
        ((b'{"templateType":"CollectionContent"}', mapping()), "is no list"),
        ((content(), b'{"templateType":"CollectionFhir","template":[{}]}'), "no such typeName"),
    ],
)
def test_what_has_no_counterpart_is_reported(pair, words):
    imported = convert(*pair, topic=TOPIC, title="T")
    assert any(words in reason for reason in imported.unconverted), imported.unconverted


def test_a_missing_unit_is_left_for_a_person(tmp_path):
    imported = convert(content(), mapping(unit=""), topic=TOPIC, title="T")
    assert "unit =" not in imported.text
    file = tmp_path / "t.toml"
    file.write_text(imported.text)
    assert any("has no unit" in problem.message for problem in check([file]))


def test_no_file_of_the_connector_makes_an_exception(recorded):
    files = [file.read_bytes() for file in (recorded / "iomt-fhir").rglob("*.json")]
    assert len(files) > 50
    for one in files:
        for pair in ((one, mapping()), (content(), one)):
            try:
                imported = convert(*pair, topic=TOPIC, title="T")
            except UnreadableError:
                continue
            assert imported.text


def test_the_catalog_is_untouched_by_all_this():
    assert "iomt-flat" in Catalog.load().definitions
