import math
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.model import Batch, DeviceAlarm, DeviceStatus, Reading, Sighting, Waveform, ZoneChange
from hub.stores.lines import Lines, decode, encode, reading_from, tag, waveform_from
from hub.stores.store import StoreRefused
from hub.vocabulary import PARAMETERS

MS_NS = 1_000_000
NUMBERS = [p.name for p in PARAMETERS.values() if p.is_number and p.kind != "waveform"]
CODED = {p.name: sorted(p.coded) for p in PARAMETERS.values() if p.coded is not None}

numbers = st.dictionaries(
    st.sampled_from(NUMBERS), st.floats(allow_nan=False, allow_infinity=False), max_size=8
)
codes = st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in CODED.items()})


def reading(**members: Any) -> Reading:
    plain = Reading(
        "north", "monitor-1", "observations", 1_790_000_000_000_000_007, 0, 1_790_000_000_000_000_009, 7, {}
    )
    return msgspec.structs.replace(plain, **members)


def parse(line: str) -> tuple[dict[str, str], dict[str, Any], int]:
    """Read a line as the specification says: tags, fields, time. Independent of what wrote it."""
    head, fields, time_ns = re.fullmatch(
        r"((?:\\.|[^ \\])+) ((?:\"(?:\\.|[^\"\\])*\"|[^ \"])+) (-?\d+)", line, re.DOTALL
    ).groups()  # type: ignore[union-attr]
    _, *tags = re.split(r"(?<!\\),", head)
    read: dict[str, Any] = {}
    for key, value in re.findall(r"([a-z0-9_]+)=(\"(?:\\.|[^\"\\])*\"|[^,]+)", fields):
        if value[0] == '"':
            read[key] = re.sub(r"\\(.)", r"\1", value[1:-1])
        elif value in ("true", "false"):
            read[key] = value == "true"
        else:
            read[key] = int(value[:-1]) if value[-1] == "i" else float(value)
    named = (re.split(r"(?<!\\)=", one, maxsplit=1) for one in tags)
    return {key: decode(re.sub(r"\\([,= ])", r"\1", value)) for key, value in named}, read, int(time_ns)


@given(numbers, codes, st.integers(0, 2**63 - 1), st.integers(1, 2**60), st.integers(1, 2**60))
def test_a_reading_comes_back_from_its_line(
    values: dict[str, float], coded: dict[str, str], seq: int, device_time_ns: int, received_ns: int
) -> None:
    one = reading(values=values | coded, seq=seq, device_time_ns=device_time_ns, received_ns=received_ns)
    tags, fields, time_ns = parse(Lines().reading(one))
    assert reading_from(tags["site"], tags["device"], tags.get("channel"), time_ns, fields) == one


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_any_name_is_one_tag_in_one_line(name: str) -> None:
    assert decode(encode(name)) == name
    line = Lines().reading(reading(site=name, device=name, channel=name, values={"spo2": 97.0}))
    assert "\n" not in line
    tags, _, _ = parse(line)
    assert tags["site"] == tags["device"] == name
    assert tags.get("channel", "observations") == name
    assert tag(name)


def test_quality_has_fields_of_its_own_and_an_invalid_number_never_the_parameters() -> None:
    one = reading(
        values={"spo2": 88.0},
        exceptions={
            "spo2": ("questionable", 88.0),
            "heart_rate": ("invalid", 999.0),
            "acvpu": ("invalid", "Z"),
            "temperature": ("no-value", None),
        },
    )
    _, fields, _ = parse(Lines().reading(one))
    assert fields | {"meta__seq": 0, "meta__received": 0} == {
        "spo2": 88.0,
        "spo2__quality": 1,
        "heart_rate__quality": 2,
        "heart_rate__invalid": 999.0,
        "acvpu__quality": 2,
        "acvpu__invalid": "Z",
        "temperature__quality": 3,
        "meta__seq": 0,
        "meta__received": 0,
    }
    assert reading_from("north", "monitor-1", None, one.time_ns, parse(Lines().reading(one))[1]) == one


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"heart_rate": "high"}, "heart_rate holds a number, found text"),
        ({"acvpu": 1.0}, "acvpu holds text, found a number"),
        ({"x y=1": 1.0}, "no vocabulary name"),
    ],
)
def test_what_would_change_a_fields_type_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(StoreRefused, match=reason):
        Lines().reading(reading(values=values))


def test_an_integer_is_written_as_a_float() -> None:
    assert " heart_rate=72.0," in Lines().reading(reading(values={"heart_rate": 72}))


def test_every_kind_of_item_has_its_line() -> None:
    time_ns = 1_790_000_000_000_000_000
    window = Waveform("n", "d", "ecg_ii", time_ns, time_ns + 1, 3, 250.0, 0.5, 0.0, "mV", [1.0, None, 2.5])
    status = DeviceStatus("n", "d", time_ns, time_ns, "standby", 50.0, 'v"1\n', 5.0, True)
    alarm = DeviceAlarm(
        "n", "d", time_ns, time_ns, "air in line", "present", "high", "technical", "spo2", 'a "b"\\'
    )
    sighting = Sighting("n", "g", "ac:23 x", time_ns, time_ns, -54, -59, 99.0)
    moved = ZoneChange("n", "b", time_ns, time_ns + 7, "entered", "room 1")
    batch = Batch(1, 0, [], [window], [status], [alarm], [sighting], [], [moved])
    lines = [parse(line) for line in Lines().render([batch])]
    assert waveform_from("n", "d", lines[0][0]["waveform"], lines[0][2], lines[0][1]) == window
    assert lines[1][1] == {
        "online": 0,
        "state": "standby",
        "retained": True,
        "battery": 50.0,
        "firmware": 'v"1 ',
        "interval_s": 5.0,
        "meta__received": 0,
    }
    assert lines[2][0] == {"condition": "air in line", "device": "d", "presence": "present", "site": "n"}
    assert (lines[2][1]["present"], lines[2][1]["text"], lines[2][1]["parameter"]) == (1, 'a "b"\\', "spo2")
    assert lines[3][0] == {"beacon": "ac:23 x", "device": "g", "site": "n"}
    assert (lines[3][1]["rssi"], lines[3][1]["tx_power"], lines[3][1]["battery"]) == (-54, -59, 99.0)
    assert lines[4][0] == {"change": "entered", "device": "b", "site": "n", "zone": "room 1"}
    assert lines[4][1] == {"in_zone": 1, "meta__received": 7}


def test_numbers_only_leaves_every_string_out_and_keeps_the_line() -> None:
    one = reading(
        values={"acvpu": "A"}, exceptions={"pump_mode": ("invalid", "x"), "spo2": ("no-value", None)}
    )
    status = DeviceStatus("n", "d", 1, 1, "online", None, "1.2")
    alarm = DeviceAlarm("n", "d", 1, 1, "occlusion", "absent", text="t")
    window = Waveform("n", "d", "ecg_ii", 1, 1, 3, 250.0, 1.0, 0.0, "mV", [1.0])
    lines = Lines(numbers_only=True).render([Batch(1, 0, [one], [window], [status], [alarm], [], [])])
    assert len(lines) == 3
    assert '"' not in "".join(lines)
    assert "spo2__quality=3i" in lines[0]


def test_what_is_not_finite_never_becomes_a_plain_number() -> None:
    line = Lines().reading(reading(values={"spo2": math.inf}))
    assert "spo2=inf" in line, "InfluxDB refuses it; the drain puts it into the rejects"
