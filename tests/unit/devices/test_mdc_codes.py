"""`codes = "mdc"`: codes, reference ids and units of ISO/IEEE 11073 without a map."""

from datetime import UTC

import pytest

from hub.devices.decode import Observed, Refused
from hub.devices.definition_file import parse
from hub.devices.reader import Reader

DEFINITION = """
title = "A ventilator"
source = "this test"
interval_s = 10
[[topic]]
pattern = "vent/{device}"
[[read]]
each = "[*]"
[[read.value]]
path = "v"
parameter = { path = "c", codes = "mdc", map = { MDC_OWN = "tidal_volume" } }
unit = { path = "u" }
"""


@pytest.fixture
def read():
    definition, problems = parse(DEFINITION, "vent.toml")
    assert definition is not None, problems
    return lambda *records: Reader("vent", definition, UTC).read(list(records), {"device": "v"})


@pytest.mark.parametrize(
    ("code", "unit", "parameter", "ucum"),
    [
        ("MDC_TEMP_CORE", "MDC_DIM_FAHR", "temperature", "[degF]"),
        ("150368", "266560", "temperature", "[degF]"),
        (150368, 266560, "temperature", "[degF]"),
        ("MDC_VENT_RESP_RATE", "MDC_DIM_RESP_PER_MIN", "ventilator_rate", None),
        ("MDC_OWN", "MDC_DIM_L", "tidal_volume", "L"),
        ("MDC_TEMP", "degC", "temperature", "degC"),
    ],
)
def test_codes_reference_ids_and_their_units_are_known(read, code, unit, parameter, ucum):
    (item,) = read({"v": 1, "c": code, "u": unit})
    assert item == Observed({parameter: 1.0}, units=None if ucum is None else {parameter: ucum})


def test_a_code_or_a_unit_that_is_none_is_told(read):
    refused = read({"v": 1, "c": "MDC_ODD", "u": "MDC_DIM_L"}, {"v": 1, "c": "MDC_TEMP", "u": "MDC_DIM_L"})
    assert [item.path for item in refused if isinstance(item, Refused)] == ["$[0].v", "$[1].v"]
    assert [item.found for item in refused] == ["MDC_ODD", "L"]
    assert "its unit is none of Cel, [degF], K" in refused[1].reason


def test_without_codes_mdcs_units_are_no_units():
    text = DEFINITION.replace('codes = "mdc", map = { MDC_OWN =', "map = { MDC_TEMP =").replace(
        "tidal_volume", "temperature"
    )
    definition, problems = parse(text, "vent.toml")
    assert definition is not None, problems
    (refused,) = Reader("vent", definition, UTC).read(
        [{"v": 1, "c": "MDC_TEMP", "u": "MDC_DIM_DEGC"}], {"device": "v"}
    )
    assert isinstance(refused, Refused)
