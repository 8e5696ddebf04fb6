import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.clock import SECOND_NS, ClockLimits, DeviceClock
from hub.devices.decode import Observed, Refused
from hub.model import Reading
from hub.normalise import determination_time, normalise
from hub.vocabulary import PARAMETERS

NOW = 1_795_488_192 * SECOND_NS


def read(observed: Observed, seq: int = 7) -> tuple[Reading, list[Refused]]:
    refused: list[Refused] = []
    reading = normalise(
        observed,
        site="main",
        device="mon-1",
        clock=DeviceClock(),
        limits=ClockLimits(),
        received_ns=NOW,
        seq=seq,
        refused=refused,
    )
    return reading, refused


def test_valid_values_pass_as_they_are():
    reading, refused = read(Observed({"heart_rate": 72.0, "spo2": 97.0}, NOW))
    assert (reading.values, reading.exceptions, refused) == ({"heart_rate": 72.0, "spo2": 97.0}, None, [])


def test_zero_is_a_value():
    reading, _ = read(Observed({"heart_rate": 0.0, "respiratory_rate": 0.0}, NOW))
    assert reading.values == {"heart_rate": 0.0, "respiratory_rate": 0.0}


@pytest.mark.parametrize("missing", [None, math.nan])
def test_null_and_nan_are_no_value_and_never_a_number(missing):
    reading, refused = read(Observed({"heart_rate": missing, "spo2": 97.0}, NOW))
    assert reading.values == {"spo2": 97.0}
    assert reading.exceptions == {"heart_rate": ("no-value", None)}
    assert refused == []


def test_an_implausible_value_is_kept_but_not_as_a_value():
    reading, refused = read(Observed({"spo2": 250.0}, NOW))
    assert reading.values == {}
    assert reading.exceptions == {"spo2": ("invalid", 250.0)}
    assert refused == []


def test_a_unit_is_converted_exactly():
    reading, _ = read(Observed({"temperature": 98.6}, NOW, units={"temperature": "[degF]"}))
    assert reading.values["temperature"] == pytest.approx(37.0, abs=1e-9)


def test_an_unknown_unit_rejects_that_value_alone_and_names_what_is_accepted():
    reading, refused = read(Observed({"temperature": 300.0, "spo2": 97.0}, NOW, units={"temperature": "lb"}))
    assert reading.values == {"spo2": 97.0}
    assert refused[0].path == "$.units.temperature"
    assert "Cel" in refused[0].reason


def test_an_unknown_name_rejects_that_value_alone_and_suggests_one():
    reading, refused = read(Observed({"hart_rate": 70.0, "spo2": 97.0}, NOW))
    assert reading.values == {"spo2": 97.0}
    assert "heart_rate" in refused[0].reason


def test_questionable_stays_a_value_and_invalid_does_not():
    sent = Observed(
        {"spo2": 97.0, "heart_rate": 70.0}, NOW, quality={"spo2": "questionable", "heart_rate": "invalid"}
    )
    reading, _ = read(sent)
    assert reading.values == {"spo2": 97.0}
    assert reading.exceptions == {"spo2": ("questionable", 97.0), "heart_rate": ("invalid", 70.0)}


def test_a_time_that_is_none_makes_all_values_questionable_at_receipt():
    reading, _ = read(Observed({"spo2": 97.0}, 4_102_444_800 * SECOND_NS))
    assert reading.exceptions == {"spo2": ("questionable", 97.0)}
    assert reading.time_ns == determination_time(NOW, 7)


def test_two_messages_in_one_millisecond_stay_two():
    first, _ = read(Observed({"spo2": 97.0}, NOW), seq=41)
    second, _ = read(Observed({"spo2": 97.0}, NOW), seq=42)
    assert first.time_ns != second.time_ns
    assert first.time_ns // 1_000_000 == second.time_ns // 1_000_000


@given(
    st.dictionaries(
        st.sampled_from([*PARAMETERS, "nonsense", "$"]),
        st.none() | st.floats() | st.text(max_size=5) | st.integers(min_value=-(10**320), max_value=10**320),
    ),
    st.dictionaries(st.sampled_from([*PARAMETERS, "x"]), st.sampled_from(["Cel", "/min", "%", "kPa", "?"])),
    st.dictionaries(
        st.sampled_from([*PARAMETERS, "x"]), st.sampled_from(["valid", "questionable", "invalid"])
    ),
    st.integers(min_value=-(10**25), max_value=10**25),
)
def test_every_value_is_kept_flagged_or_rejected_and_none_is_invented(values, units, quality, time_ns):
    sent = dict(values)
    reading, refused = read(Observed(values, time_ns, units=units, quality=quality))
    for name, value in reading.values.items():
        parameter = PARAMETERS[name]
        assert sent[name] is not None
        if parameter.is_number:
            assert parameter.low <= value <= parameter.high
        else:
            assert parameter.holds(value)
    accounted = set(reading.values) | set(reading.exceptions or {})
    rejected = {one.path.split(".", 2)[2] for one in refused}
    assert set(sent) <= accounted | rejected
    assert accounted <= set(sent)
