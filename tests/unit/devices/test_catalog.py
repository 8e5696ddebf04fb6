import json
import re

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
    ("pattern", "topic", "other"),
    [
        ("iomt/telemetry/icu/pump-{device}", "iomt/telemetry/icu/pump-7", "iomt/telemetry/icu/pump"),
        ("gw/ble/{device}", "gw/ble/status", "gw/x/status"),
        ("iomt/telemetry/{ward}/{device}", "iomt/telemetry/icu/pump-7", None),
        ("wards/v1/{site}/icu/{device}/{rest...}", "wards/v1/main/icu/m/status", "wards/v1/main/er/m/status"),
    ],
)
def test_a_sites_own_definition_goes_before_a_built_in_one_where_both_take_a_topic(
    tmp_path, pattern, topic, other
):
    (tmp_path / "mine.toml").write_text(GOOD.replace("scales/{device}", pattern))
    catalog = Catalog.load([tmp_path])
    assert catalog.resolve(topic).definition == "mine"
    assert other is None or catalog.resolve(other).definition != "mine"
    (doubt,) = [one for one in catalog.doubts if "this goes first" in one.message][:1]
    assert doubt.file == str(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("pattern", "narrower", "topic", "rest"),
    [
        (
            "{a}/v1/{site}/{ward}/{device}/status",
            "native",
            "wards/v1/main/icu/m/status",
            "x/v1/main/icu/m/status",
        ),
        ("iomt/telemetry/{x...}", "pump-telemetry", "iomt/telemetry/icu/p", "iomt/telemetry/icu/p/more"),
    ],
)
def test_the_narrower_pattern_goes_first_whoever_wrote_it(tmp_path, pattern, narrower, topic, rest):
    text = GOOD.replace("scales/{device}", pattern).replace(
        "interval_s = 30", 'interval_s = 30\ndevice = "id"'
    )
    (tmp_path / "mine.toml").write_text(text)
    catalog = Catalog.load([tmp_path])
    assert catalog.resolve(topic).definition == narrower
    assert catalog.resolve(rest).definition == "mine"
    assert any(f"{narrower}, the narrower, goes first" in doubt.message for doubt in catalog.doubts)


def test_two_definitions_of_a_site_that_can_not_be_told_apart_are_refused_with_a_topic_of_both(tmp_path):
    (tmp_path / "a.toml").write_text(GOOD.replace("scales/{device}", "s/{device}/scale"))
    (tmp_path / "b.toml").write_text(GOOD.replace("scales/{device}", "s/icu/{device}"))
    with pytest.raises(DefinitionErrors) as error:
        Catalog.load([tmp_path])
    first, second = error.value.problems
    assert first.message == (
        "s/{device}/scale takes s/icu/scale, which s/icu/{device} of b takes too:"
        " say with `when` which payloads are whose, or change the pattern"
    )
    assert (first.key, first.file) == ("when", str(tmp_path / "a.toml"))
    assert second.file == str(tmp_path / "b.toml")


def test_what_goes_first_may_leave_payloads_to_the_other(tmp_path):
    selective = GOOD.replace('time = "at"', 'time = "at"\nwhen = { path = "kg" }')
    (tmp_path / "mine.toml").write_text(selective.replace("scales/{device}", "iomt/telemetry/icu/{device}"))
    (tmp_path / "native2.toml").write_text(
        selective.replace("scales/{device}", "wards/v1/main/{area}/{device}/observations")
    )
    catalog = Catalog.load([tmp_path])
    for topic, theirs in (
        ("iomt/telemetry/icu/p", b'{"battery_percent":88}'),
        ("wards/v1/main/icu/m/observations", b'{"values":{"battery":88}}'),
    ):
        decode = catalog.resolve(topic).decode
        (mine,) = decode(b'{"kg":1,"hr":72}')
        assert mine.values == {"heart_rate": 72.0}
        (others,) = decode(theirs)
        assert others.values == {"battery": 88.0}
    assert catalog.accepting("iomt/telemetry/icu/p", b'{"kg":1}') == "mine"
    assert catalog.accepting("iomt/telemetry/icu/p", b"{}") == "pump-telemetry"


PLACED = """
[[topic]]
pattern = "pumps/{ward}/{serial}"
site = { topic = "ward", map = { "B.12" = "north" }, other = "ignore" }
area = { topic = "ward", replace = { "." = "-" } }
device = "p-{serial}"
"""


def placed(tmp_path, old="", new=""):
    own = GOOD.replace('[[topic]]\npattern = "scales/{device}"\n', PLACED.replace(old, new))
    (tmp_path / "mine.toml").write_text(own)
    return Catalog.load([tmp_path])


def test_site_area_and_device_are_made_of_parts_of_the_topic(tmp_path):
    catalog = placed(tmp_path)
    route = catalog.resolve("pumps/B.12/7")
    assert (route.site, route.area, route.device) == ("north", "B-12", "p-7")
    assert catalog.resolve("pumps/er/7").site == "main"


def test_a_topic_that_a_map_lacks_or_that_gives_no_id_is_explained(tmp_path):
    catalog = placed(tmp_path, 'other = "ignore"', 'other = "refuse"')
    assert catalog.resolve("pumps/er/7") is None
    assert catalog.explain("pumps/er/7") == "site: expected one of B.12, in the definition mine"
    assert catalog.resolve("pumps/B 12/7") is None
    catalog = placed(tmp_path)
    assert "area: use 1 to 64" in catalog.explain("pumps/B 12/7")
    assert "iomt/telemetry/B.12/p" not in catalog.filters
    assert 'in pump-telemetry: area = { topic = "area", replace = { "." = "-" } }' in catalog.explain(
        "iomt/telemetry/B.12/p"
    )


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"p-{serial}"', '"p.{serial}"', "device: 'p.x' is none"),
        ('"p-{serial}"', '"p-{no}"', "has no part {no}"),
        (
            'topic = "ward", replace',
            'topic = "no", replace',
            "area: the pattern 'pumps/{ward}/{serial}' has no part",
        ),
        ('topic = "ward", replace', 'path = "ward", replace', "area: is made of the topic"),
        ('"north"', '"north ward"', "site: 'north ward' is none"),
    ],
)
def test_a_part_that_can_never_be_right_is_told_when_it_is_written(tmp_path, old, new, words):
    with pytest.raises(DefinitionErrors, match=re.escape(words)):
        placed(tmp_path, old, new)


def test_check_sees_topics_that_devices_really_use(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.replace("scales/{device}", "scales/{area}/{device}"))
    sample = tmp_path / "sample.json"
    sample.write_text('{"hr":72,"at":"2026-11-24T02:43:12Z"}')
    assert check([file], [sample], ["scales/icu/s-1"]) == []
    wrong, nobodys, others = check([file], [sample], ["scales/B.12/s-1", "x", "iomt/telemetry/icu/p"])
    assert (wrong.key, wrong.severity) == ("topic", "error")
    assert "scales/B.12/s-1: area: use 1 to 64" in wrong.message
    assert 'area = { topic = "area", replace = { "." = "-" } }' in wrong.message
    assert "x: no definition takes this topic" in nobodys.message
    assert "is read by pump-telemetry" in others.message


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
