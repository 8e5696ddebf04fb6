import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import hub.contracts
from hub.devices import native, native_careful
from hub.devices.decode import AlarmSent, Observed, Refused, SightingSent, StatusSent, WaveformSent
from hub.devices.native import DECODERS, decode_observations, decode_waveforms
from hub.vocabulary import PARAMETERS

CONTRACTS = Path(next(iter(hub.contracts.__path__)))
CHANNELS = {
    "observations": Observed,
    "waveforms": WaveformSent,
    "alarms": AlarmSent,
    "sightings": SightingSent,
    "status": StatusSent,
}
TIME = "2026-11-24T02:43:12.123Z"
TIME_NS = 1_795_488_192_123_000_000


def contract(channel):
    return json.loads((CONTRACTS / f"{channel}.schema.json").read_text(encoding="utf-8"))


EXAMPLES = [(channel, example) for channel in CHANNELS for example in contract(channel)["examples"]]


def sent(**members):
    return json.dumps({"time": TIME, "seq": 1, **members}).encode()


def decode(**members):
    return decode_observations(sent(**members))


@pytest.mark.parametrize(("channel", "payload"), EXAMPLES)
def test_the_contracts_examples_decode_without_a_refusal(channel, payload):
    items = DECODERS[f"native-{channel}"](json.dumps(payload).encode())
    assert items
    assert {type(item) for item in items} == {CHANNELS[channel]}


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,", " : ")])
def test_the_fast_and_the_careful_reader_agree(separators):
    payload = {
        "time": TIME,
        "seq": 5,
        "values": {"heart_rate": 72, "spo2": None, "temperature": 98.6},
        "units": {"temperature": "[degF]"},
        "quality": {"heart_rate": "invalid"},
    }
    text = json.dumps(payload, separators=separators).encode()
    expected = [
        Observed(
            {"heart_rate": 72.0, "spo2": None, "temperature": 98.6},
            TIME_NS,
            5,
            {"temperature": "[degF]"},
            {"heart_rate": "invalid"},
        )
    ]
    assert decode_observations(text) == native_careful.observations(text) == expected


def test_integers_are_numbers_and_come_out_as_floats():
    (observed,) = decode(values={"heart_rate": 72})
    assert type(observed.values["heart_rate"]) is float


@pytest.mark.parametrize("boolean", [True, False])
def test_a_boolean_is_never_a_number(boolean):
    refused, observed = decode(values={"heart_rate": boolean, "spo2": 97})
    assert refused.path == "$.values.heart_rate"
    assert observed.values == {"spo2": 97.0}


def test_zero_is_a_value_and_null_is_none():
    (observed,) = decode(values={"heart_rate": 0, "spo2": None})
    assert observed.values == {"heart_rate": 0.0, "spo2": None}


def test_a_refused_value_leaves_no_trace_in_the_observation():
    *refused, observed = decode(
        values={"heart_rate": "72", "spo2": 97}, units={"heart_rate": "/min"}, quality={}
    )
    assert [one.path for one in refused] == ["$.values.heart_rate"]
    assert observed.values == {"spo2": 97.0}


@pytest.mark.parametrize(
    ("time", "reason"),
    [
        ("2026-11-24T02:43:12", "zone"),
        ("24.11.2026", "RFC 3339"),
        ("2026-13-24T02:43:12Z", "exists"),
        (1.5, "milliseconds"),
        (True, "milliseconds"),
        (10**18, "1678 to 2262"),
        ([], "milliseconds"),
    ],
)
def test_an_unusable_time_is_told_and_the_values_are_kept(time, reason):
    refused, observed = decode(time=time, values={"spo2": 97})
    assert refused.path == "$.time"
    assert reason in refused.reason
    assert observed == Observed({"spo2": 97.0}, 0, 1)


@pytest.mark.parametrize(
    ("time", "expected_ns"),
    [
        ("1970-01-02T00:00:00Z", 86_400_000_000_000),
        ("2100-01-01T00:00:00Z", 4_102_444_800_000_000_000),
        (86_400_000, 86_400_000_000_000),
        (1_795_488_192_123.0, TIME_NS),
    ],
)
def test_an_unlikely_time_is_passed_on_as_given(time, expected_ns):
    (observed,) = decode(time=time, values={"spo2": 97})
    assert observed.time_ns == expected_ns


def test_a_clock_reset_to_1970_is_not_taken_for_no_time():
    (observed,) = decode(time=0, values={"spo2": 97})
    assert observed.time_ns == 1
    (observed,) = decode_observations(b'{"values":{"spo2":97}}')
    assert observed.time_ns == 0


def test_a_key_twice_is_refused_wherever_it_is():
    text = b'{"time":1795488192123,"seq":1,"seq":2,"values":{"spo2":97,"spo2":98,"heart_rate":70}}'
    refused = [item for item in decode_observations(text) if isinstance(item, Refused)]
    assert {one.path for one in refused} == {"$.values.spo2", "$.seq"}
    items = DECODERS["native-status"](b'{"state":"online","state":"offline"}')
    assert [item.path for item in items] == ["$.state"]
    text = b'{"waveform":"ecg_i","rate":250,"rate":125,"samples":[1]}'
    assert [item.path for item in decode_waveforms(text)] == ["$.rate"]


def test_lone_surrogates_never_come_out():
    text = b'{"values":{"acvpu":"\\ud800","\\udfff":1,"spo2":97},"units":{"spo2":"%"}}'
    items = decode_observations(text)
    for item in items:
        repr(item).encode("utf-8")
    assert items[-1].values == {"spo2": 97.0}


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b'{"values":{"spo2":97},"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"values":' * 50_000,
    ],
)
def test_deep_nesting_is_refused_and_raises_nothing(payload):
    for decoder in DECODERS.values():
        assert {type(item) for item in decoder(payload)} == {Refused}


def test_a_number_of_many_digits_costs_only_itself():
    text = b'{"values":{"heart_rate":' + b"9" * 5000 + b',"spo2":97}}'
    refused, observed = decode_observations(text)
    assert refused.path == "$.values.heart_rate"
    assert observed.values == {"spo2": 97.0}


def test_a_megabyte_of_faults_gives_a_bounded_answer():
    text = b"[" + b",".join([b'{"values":{"x":1}}'] * 50_000) + b"]"
    items = decode_observations(text)
    assert len(items) == native_careful.MAX_REFUSED + 1
    assert "more" in items[-1].reason


def test_observations_of_one_moment_are_one():
    text = json.dumps([{"time": TIME, "values": {"spo2": 97}}, {"time": TIME, "values": {"heart_rate": 70}}])
    assert decode_observations(text.encode()) == [Observed({"heart_rate": 70.0, "spo2": 97.0}, TIME_NS)]


def test_a_value_in_an_unreadable_unit_is_no_value():
    refused, observed = decode(values={"temperature": 98.6, "spo2": 97}, units={"temperature": 7})
    assert refused.path == "$.units.temperature"
    assert observed.values == {"spo2": 97.0}


def test_an_alarm_counts_even_where_its_priority_can_not_be_read():
    text = b'{"alarms":[{"condition":"occlusion","state":"present","priority":"!!"}]}'
    refused, alarm = DECODERS["native-alarms"](text)
    assert refused.path == "$.alarms[0].priority"
    assert (alarm.condition, alarm.presence, alarm.priority) == ("occlusion", "present", "medium")


def test_a_window_with_a_wrong_scale_is_no_window():
    items = decode_waveforms(b'{"waveform":"ecg_ii","rate":250,"scale":null,"offset":"x","samples":[1]}')
    assert [type(item) for item in items] == [Refused]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from([TIME, "valid", "present"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["time", "seq", "values", "units", "quality", "alarms", "state", "heart_rate", "rate"]
            )
            | st.text(max_size=5),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)
observation = st.fixed_dictionaries(
    {
        "values": st.dictionaries(
            st.sampled_from([*PARAMETERS, "hart_rate"]), json_values, min_size=1, max_size=4
        )
    },
    optional={"time": json_values, "seq": json_values, "units": json_values, "quality": json_values},
)


def usable(items):
    """What comes out must be what it says it is."""
    for item in items:
        repr(item).encode("utf-8")
        if isinstance(item, Observed):
            assert item.values
            for name, value in item.values.items():
                coded = PARAMETERS[name].coded
                assert value is None or (value in coded if coded else type(value) is float)
                assert value != float("inf")
    return True


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_bytes_make_a_decoder_raise(channel):
    decoder = DECODERS[f"native-{channel}"]

    @settings(max_examples=80, deadline=None)
    @given(st.binary(max_size=200))
    def holds(payload):
        assert usable(decoder(payload))

    holds()


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_json_makes_a_decoder_raise(channel):
    decoder = DECODERS[f"native-{channel}"]

    @settings(max_examples=80, deadline=None)
    @given(json_values | observation | st.lists(observation, max_size=3))
    def holds(value):
        assert usable(decoder(json.dumps(value).encode()))

    holds()


@pytest.mark.parametrize("channel", CHANNELS)
def test_no_mutation_of_an_example_makes_a_decoder_raise(channel):
    decoder = DECODERS[f"native-{channel}"]
    texts = [json.dumps(example).encode() for example in contract(channel)["examples"]]

    @settings(max_examples=120, deadline=None)
    @given(st.sampled_from(texts), st.data())
    def holds(text, data):
        at = data.draw(st.integers(0, len(text)))
        to = data.draw(st.integers(at, min(len(text), at + 12)))
        patch = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"NaN", b"1e999", b"{", b"]", b'"', b"\xff", b"true"])
        )
        assert usable(decoder(text[:at] + patch + text[to:]))

    holds()


@settings(max_examples=120, deadline=None)
@given(observation | st.lists(observation, min_size=1, max_size=3))
@example({"values": {"acvpu": None, "hart_rate": None}})
def test_what_the_schema_allows_loses_nothing_that_the_vocabulary_knows(value):
    text = json.dumps(value).encode()
    try:
        jsonschema.validate(json.loads(text), contract("observations"))
    except (jsonschema.ValidationError, OverflowError):
        return
    items = native.decode_observations(text)
    elements = value if isinstance(value, list) else [value]
    kept = {name for item in items if isinstance(item, Observed) for name in item.values}
    refused = {item.path.rpartition(".")[2] for item in items if isinstance(item, Refused)}
    for element in elements:
        for name in element["values"]:
            assert name in kept | refused
