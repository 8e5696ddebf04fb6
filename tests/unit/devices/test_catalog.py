import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.devices.catalog import Catalog
from hub.devices.check import check
from hub.devices.decode import Observed, Refused
from hub.devices.problem import DefinitionErrors
from hub.mqtt.topics import matches

GOOD = """
title = "Bed scale"
source = "its manual"
interval_s = 30
time = "at"
[[topic]]
pattern = "scales/{device}"
[[read]]
value = [{ path = "hr", parameter = "heart_rate", unit = "bpm" }]
"""


@pytest.fixture(scope="module")
def catalog():
    return Catalog.load(site="north")


def test_a_native_topic_names_site_area_device_and_channel(catalog):
    route = catalog.resolve("wards/v1/main/icu/mon-1/observations")
    assert (route.definition, route.site, route.area, route.device) == ("native", "main", "icu", "mon-1")
    assert catalog.resolve("wards/v1/main/icu/mon-1/status").channel == "status"


def test_a_format_without_site_or_area_gets_the_hubs(catalog):
    route = catalog.resolve("iomt/telemetry/icu/pump-7")
    assert (route.site, route.area, route.device, route.channel) == ("north", "icu", "pump-7", "observations")
    assert route.interval_s == 10
    assert catalog.resolve("mimic2/v1/main/s1/numerics").area == "main"


def test_channels_from_hub_to_device_are_never_subscribed_to(catalog):
    for channel in ("commands", "commands/result", "diagnostics"):
        topic = f"wards/v1/main/icu/mon-1/{channel}"
        assert not any(matches(topic_filter, topic) for topic_filter in catalog.filters)
        assert catalog.resolve(topic) is None
        assert "no channel from device to hub" in catalog.explain(topic)
    assert len(set(catalog.filters)) == len(catalog.filters)


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        ("wards/v1/main/icu/observations", "has 3 levels"),
        ("wards/v1/main/icu/m 1/observations", "device:"),
        ("wards/v1/main/icu/m1/vitals", "observations, waveforms, alarms, sightings, status"),
        ("iomt/telemetry/icu/pump 7", "device: use 1 to 64"),
        ("something/else", "no definition takes this topic"),
        ("", "no definition takes this topic"),
    ],
)
def test_a_topic_off_the_scheme_is_explained(catalog, topic, words):
    assert catalog.resolve(topic) is None
    assert words in catalog.explain(topic)


def test_two_formats_on_one_topic_are_told_apart_by_their_payload(catalog):
    route = catalog.resolve("devices/hub-1/messages/events/")
    assert route.definition == "iomt-envelope+iomt-flat"
    (flat,) = route.decode(b'{"heartRate":70,"deviceId":"w-1"}')
    (enveloped,) = route.decode(b'{"Body":{"heartRate":71,"deviceId":"w-1"}}')
    assert (flat.values, enveloped.values) == ({"heart_rate": 70.0}, {"heart_rate": 71.0})


def test_a_sites_own_definition_is_added_and_takes_the_place_of_a_built_in(tmp_path):
    (tmp_path / "scale.toml").write_text(GOOD)
    (tmp_path / "pump-telemetry.toml").write_text(GOOD.replace("scales/", "pumps/"))
    catalog = Catalog.load([tmp_path])
    assert catalog.resolve("scales/s1").interval_s == 30
    assert catalog.resolve("pumps/p1").definition == "pump-telemetry"
    assert catalog.resolve("iomt/telemetry/icu/p1") is None


def test_every_error_of_every_file_is_raised_at_once(tmp_path):
    (tmp_path / "a.toml").write_text(GOOD.replace("heart_rate", "hart_rate"))
    (tmp_path / "b.toml").write_text("title =")
    with pytest.raises(DefinitionErrors) as error:
        Catalog.load([tmp_path, tmp_path / "missing"], zone="Mars/Base", site="a b")
    text = str(error.value)
    for words in ("did you mean heart_rate?", "b.toml:1", "is no folder", "Mars/Base", "use 1 to 64"):
        assert words in text
    assert len(error.value.problems) == 5


def test_two_definitions_that_can_not_be_told_apart_are_refused(tmp_path):
    (tmp_path / "a.toml").write_text(GOOD)
    (tmp_path / "b.toml").write_text(GOOD)
    with pytest.raises(DefinitionErrors, match="say with `when`"):
        Catalog.load([tmp_path])


@pytest.mark.parametrize(
    ("pattern", "other"),
    [
        ("wards/v1/{site}/icu/{device}/{rest...}", "native"),
        ("{a}/v1/{site}/icu/{device}/status", "native"),
        ("iomt/telemetry/icu/{device}", "pump-telemetry"),
        ("iomt/telemetry/icu/pump-{device}", "pump-telemetry"),
        ("devices/{device}/messages/events", "iomt-flat"),
    ],
)
def test_a_definition_that_takes_topics_of_another_is_refused_not_ignored(tmp_path, pattern, other):
    (tmp_path / "mine.toml").write_text(GOOD.replace("scales/{device}", pattern))
    with pytest.raises(DefinitionErrors, match=f"takes topics of .*{other}.* too"):
        Catalog.load([tmp_path])


def test_definitions_with_topics_of_their_own_live_side_by_side(tmp_path):
    for name, pattern in (
        ("a", "s/gw-{device}/x"),
        ("b", "s/dev-{device}/x"),
        ("c", "s/{device}"),
        ("d", "t/{device}"),
    ):
        (tmp_path / f"{name}.toml").write_text(GOOD.replace("scales/{device}", pattern))
    catalog = Catalog.load([tmp_path])
    assert catalog.resolve("s/dev-7/x").definition == "b"


def test_times_without_a_zone_take_the_sites():
    catalog = Catalog.load(zone="Asia/Kolkata")
    route = catalog.resolve("iomt/telemetry/icu/pump-7")
    (observed,) = route.decode(b'{"timestamp":"2026-11-24 08:13:12","battery_percent":50}')
    assert observed.time_ns == 1_795_488_192_000_000_000


def test_check_tells_errors_and_doubts_of_files_and_folders(tmp_path):
    (tmp_path / "good.toml").write_text(GOOD)
    doubtful = GOOD.replace(', unit = "bpm"', "").replace("scales/", "others/")
    (tmp_path / "doubtful.toml").write_text(doubtful)
    (tmp_path / "bad.toml").write_text(GOOD.replace("heart_rate", "hart_rate"))
    problems = check([tmp_path, tmp_path / "missing.toml"])
    assert [(problem.file.rpartition("/")[2], problem.severity) for problem in problems] == [
        ("missing.toml", "error"),
        ("bad.toml", "error"),
        ("doubtful.toml", "warning"),
    ]
    assert check([tmp_path / "good.toml"]) == []


def test_the_built_in_definitions_have_neither_errors_nor_doubts():
    from hub.devices.catalog import BUILT_IN

    assert check([BUILT_IN]) == []


TOPICS = [
    "devices/hub-1/messages/events/",
    "iomt/telemetry/icu/pump-7",
    "/gw/ac233fc001ea/status",
    "mimic2/v1/main/s00001/numerics",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "Body",
                    "data",
                    "deviceId",
                    "mac",
                    "rssi",
                    "type",
                    "timestamp",
                    "time",
                    "seq",
                    "HR",
                    "status",
                ]
            ),
            inner | st.sampled_from(["Gateway", "S1", "AC:23", "-", "120"]),
            max_size=5,
        )
    ),
    max_leaves=20,
)


@pytest.mark.parametrize("topic", TOPICS)
def test_no_payload_makes_a_definition_raise_and_nothing_is_without_a_device(catalog, topic):
    route = catalog.resolve(topic)

    @settings(max_examples=80, deadline=None)
    @given(st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
    def holds(payload):
        for item in route.decode(payload):
            repr(item).encode("utf-8")
            assert isinstance(item, Refused) or item.device or route.device
            if isinstance(item, Observed):
                assert all(value is None or type(value) in (float, str) for value in item.values.values())

    holds()


@pytest.mark.parametrize("topic", TOPICS)
def test_deep_nesting_and_megabytes_are_borne(catalog, topic):
    decode = catalog.resolve(topic).decode
    for payload in (b"[" * 200_000, b'{"Body":' * 100_000, b"[" + b"0," * 300_000 + b"0]"):
        items = decode(payload)
        assert 1 <= len(items) <= 200
        assert all(isinstance(item, Refused) for item in items)
