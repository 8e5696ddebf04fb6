"""Sparkplug B: payloads of Google's protobuf, births that outlive the hub, gaps, deaths."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.devices import sparkplug as ours
from hub.devices.births import ASK_AGAIN_NS, KEPT, Birth, Births
from hub.devices.births_file import BirthsFile
from hub.devices.catalog import Catalog
from hub.devices.decode import Observed, Refused, StatusSent
from hub.devices.payload import UnreadableError
from tests import sparkplug as made

T0 = 1_795_488_192_000
NODE = ("icu", "edge-1")
BIRTH = made.payload(
    {"name": "bdSeq", "datatype": made.INT64, "long_value": 7},
    {"name": "heart_rate", "alias": 1, "datatype": made.INT32, "int_value": 70},
    {"name": "spo2", "alias": 2, "datatype": made.DOUBLE, "double_value": 97.0},
    time=T0,
    seq=0,
)


@pytest.fixture
def births():
    return Births()


@pytest.fixture
def send(births):
    catalog = Catalog.load(births=births)

    def decode(kind, payload, device=""):
        topic = f"spBv1.0/icu/{kind}/edge-1" + (f"/{device}" if device else "")
        route = catalog.resolve(topic)
        assert route is not None, catalog.explain(topic)
        return route.decode(payload)

    return decode


def data(*metrics, time=T0 + 1000, seq=1):
    return made.payload(*metrics, time=time, seq=seq)


def alias(number, value):
    return {"alias": number, "int_value": value}


def values(items):
    return [item.values for item in items if isinstance(item, Observed)]


def test_an_alias_means_what_the_birth_named(send):
    assert values(send("NBIRTH", BIRTH)) == [{"heart_rate": 70.0, "spo2": 97.0}]
    assert values(send("NDATA", data(alias(1, 72)))) == [{"heart_rate": 72.0}]


def test_a_device_is_named_by_group_node_and_itself(births):
    route = Catalog.load(births=births).resolve("spBv1.0/icu/DDATA/edge-1/mon-1")
    assert (route.device, route.area) == ("icu__edge-1__mon-1", "icu")


def test_an_alias_without_a_birth_is_refused_and_the_node_is_asked_once_a_minute(send, births):
    (refused,) = send("NDATA", data(alias(1, 72)))
    assert isinstance(refused, Refused)
    assert refused.path == "$.metrics[0].value"
    assert "no birth" in refused.reason
    assert births.requests(0) == [NODE]
    send("NDATA", data(alias(1, 72), seq=2))
    assert births.requests(ASK_AGAIN_NS - 1) == []
    assert births.requests(ASK_AGAIN_NS) == [NODE]


def test_what_the_hub_asks_is_the_rebirth_of_the_specification():
    payload = made.Payload.FromString(ours.rebirth_command(T0))
    (metric,) = payload.metrics
    assert (metric.name, metric.datatype, metric.boolean_value) == ("Node Control/Rebirth", 11, True)
    assert payload.timestamp == metric.timestamp == T0


async def test_births_survive_a_restart_of_the_hub(send, births, tmp_path):
    send("NBIRTH", BIRTH)
    file = BirthsFile(tmp_path / "births.sqlite", births)
    await file.save()
    after = Births()
    BirthsFile(tmp_path / "births.sqlite", after).load()
    decode = Catalog.load(births=after).resolve("spBv1.0/icu/NDATA/edge-1").decode
    assert values(decode(data(alias(2, 96)))) == [{"spo2": 96.0}]
    assert after.requests(0) == []
    assert not after.changed


async def test_births_that_can_not_be_written_stay_in_memory_and_are_written_later(births, tmp_path):
    births.add(("g", "n", ""), Birth(T0, 1, {1: "spo2"}, {}))
    folder = tmp_path / "later"
    file = BirthsFile(folder / "births.sqlite", births)
    await file.save()
    assert births.changed
    folder.mkdir()
    await file.save()
    assert not births.changed
    after = Births()
    BirthsFile(folder / "births.sqlite", after).load()
    assert after.of(("g", "n", "")) == births.of(("g", "n", ""))


async def test_a_broken_file_keeps_no_hub_from_starting(births, tmp_path):
    path = tmp_path / "births.sqlite"
    path.write_bytes(b"not a database" * 100)
    file = BirthsFile(path, births)
    file.load()
    assert len(births) == 0
    births.add(("g", "n", ""), Birth(T0, 1, {1: "spo2"}, {}))
    await file.save()
    assert not births.changed


def test_a_gap_in_the_sequence_asks_for_a_rebirth_and_255_is_followed_by_0(send, births):
    send("NBIRTH", BIRTH)
    for number in range(1, 257):
        send("NDATA", data(alias(1, 72), time=T0 + number, seq=number % 256))
    assert births.requests(0) == []
    send("NDATA", data(alias(1, 72), time=T0 + 300, seq=2))
    assert births.requests(0) == [NODE]


def test_what_comes_again_or_late_is_no_gap(send, births):
    send("NBIRTH", BIRTH)
    for _ in range(2):
        send("NDATA", data(alias(1, 72), time=T0 + 10, seq=1))
    send("NDATA", data(alias(1, 72), time=T0 + 20, seq=2))
    send("NDATA", data(alias(1, 72), time=T0 + 10, seq=1))
    send("NDATA", data(alias(1, 72), time=T0 + 30, seq=3))
    assert births.requests(0) == []


def test_late_data_is_read_by_the_birth_that_it_followed(send):
    send("NBIRTH", BIRTH)
    other = made.payload(
        {"name": "respiratory_rate", "alias": 1, "datatype": made.INT32, "int_value": 16},
        time=T0 + 5000,
        seq=0,
    )
    send("NBIRTH", other)
    assert values(send("NDATA", data(alias(1, 72), time=T0 + 1000))) == [{"heart_rate": 72.0}]
    assert values(send("NDATA", data(alias(1, 15), time=T0 + 6000))) == [{"respiratory_rate": 15.0}]


def test_a_nodes_death_ends_it_and_its_devices_but_an_earlier_will_ends_nothing(send):
    send("NBIRTH", BIRTH)
    send("DBIRTH", made.payload({"name": "spo2", "alias": 9, "int_value": 97}, time=T0 + 1, seq=1), "mon-1")
    earlier = made.payload({"name": "bdSeq", "datatype": made.INT64, "long_value": 6})
    assert send("NDEATH", earlier) == []
    will = made.payload({"name": "bdSeq", "datatype": made.INT64, "long_value": 7})
    assert {(item.device, item.state) for item in send("NDEATH", will)} == {
        ("icu__edge-1", "offline"),
        ("icu__edge-1__mon-1", "offline"),
    }
    assert all(isinstance(item, StatusSent) for item in send("NDEATH", will))


def test_a_births_repetition_changes_nothing_and_few_are_kept(births):
    for time in range(10):
        for _ in range(2):
            births.add(("g", "n", ""), Birth(time, -1, {}, {}))
    assert [birth.time_ms for birth in births.of(("g", "n", ""))] == list(range(10 - KEPT, 10))


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ({"datatype": made.INT8, "int_value": 2**32 - 3}, -3),
        ({"datatype": made.INT32, "int_value": 2**31 - 1}, 2**31 - 1),
        ({"datatype": made.INT64, "long_value": 2**64 - 1}, -1),
        ({"datatype": made.FLOAT, "float_value": 36.8}, 36.8),
        ({"datatype": made.DOUBLE, "double_value": 0.1}, 0.1),
        ({"datatype": made.BOOLEAN, "boolean_value": True}, True),
        ({"datatype": made.STRING, "string_value": "A"}, "A"),
    ],
)
def test_a_value_is_what_was_sent(metric, value):
    root = ours.Parser("spBv1.0/g/NDATA/n", Births()).parse(made.payload({"name": "x", **metric}))
    assert root["metrics"][0]["value"] == value
    assert type(root["metrics"][0]["value"]) is type(value)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.data())
def test_no_payload_makes_the_parser_raise_anything_else(payload, draw):
    cut = draw.draw(st.integers(0, len(BIRTH)))
    for sent in (payload, BIRTH[:cut] + payload):
        for kind in ("NBIRTH", "NDATA", "NDEATH"):
            try:
                root = ours.Parser(f"spBv1.0/g/{kind}/n", Births()).parse(sent)
            except UnreadableError:
                continue
            assert isinstance(root, dict)
