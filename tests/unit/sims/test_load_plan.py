import json
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from device_sims.errors import InputError
from device_sims.load.plan import (
    FIRST_SEQ,
    MAX_VALUES,
    PUBACKS,
    TICK_MS,
    WRONG_MS,
    Endpoint,
    LoadPlan,
    head_of,
)
from hub.mqtt.packets import PacketReader, Puback

HUB = Path(__file__).parents[3] / "hub"
START = 1_795_488_192_000


def plan(**changes) -> LoadPlan:
    settings = {"devices": 50, "rate_hz": 1.0, "duration_s": 30.0} | changes
    endpoints = tuple(Endpoint(f"mqtt://127.0.0.1:{1883 + i}") for i in range(settings.pop("brokers", 1)))
    return LoadPlan(endpoints, **settings)


def message(load: LoadPlan, j: int, n: int) -> bytes:
    tails = load.tails()
    middle = load.middle(n, load.time_ms(j, n, START))
    return head_of(load, j, tails) + middle + tails[load.variant(j, n)]


@pytest.mark.parametrize("values", range(1, MAX_VALUES + 1))
@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_sent_is_one_whole_packet_that_keeps_the_contract(values: int, qos: int) -> None:
    load = plan(values=values, qos=qos, alarms=50)
    schema = Draft202012Validator(json.loads((HUB / "contracts" / "observations.schema.json").read_text()))
    for n in (0, 10, load.excursion(7)[0]):
        (received,) = PacketReader().feed(message(load, 7, n))
        assert received.topic == "wards/v1/main/load/load-00007/observations"
        assert received.packet_id == (n + 1 if qos else 0)
        body = json.loads(received.payload)
        schema.validate(body)
        assert body["seq"] == FIRST_SEQ + n
        assert body["time"] == load.time_ms(7, n, START)
        assert body["values"] == load.values_of(load.variant(7, n))
        assert len(body["values"]) == values


def test_acknowledgements_are_those_of_the_packet_ids() -> None:
    for n in (0, 1, 59_999):
        assert PacketReader().feed(PUBACKS[n]) == [Puback(n + 1)]


def test_values_stay_within_the_default_limits_but_for_the_excursion() -> None:
    limits = tomllib.loads((HUB / "alarms" / "defaults.toml").read_text())["adult"]
    load = plan(values=MAX_VALUES, alarms=50)
    for variant in range(17):
        for name, value in load.values_of(variant).items():
            limit = limits.get(name, {})
            beyond = value > limit.get("high", 1e9) or value < limit.get("low", -1e9)
            assert beyond == (variant == 16 and name == "heart_rate"), (variant, name, value)


@given(st.integers(1, 300), st.integers(1, 3), st.integers(1, 5))
def test_every_device_belongs_to_one_worker_and_one_broker(devices: int, brokers: int, workers: int) -> None:
    load = plan(devices=devices, brokers=brokers, workers=workers)
    shares = [load.devices_of(worker) for worker in range(workers)]
    assert sorted(j for share in shares for j in share) == list(range(devices))
    sizes = Counter(load.endpoint_of(j) for j in range(devices))
    assert max(sizes.values()) - min(sizes.get(b, 0) for b in range(brokers)) <= 1


@given(st.integers(1, 400), st.floats(0.05, 50))
def test_the_schedule_is_even_and_never_goes_back(devices: int, rate: float) -> None:
    load = plan(devices=devices, rate_hz=rate, duration_s=20)
    turns = [load.tick(j, n) for n in range(min(load.rounds, 4)) for j in range(devices)]
    assert turns == sorted(turns)
    for place, tick in enumerate(turns):
        assert abs(tick * TICK_MS - 1000 * place / (devices * rate)) <= TICK_MS + 1e-6


@given(st.integers(1, 500), st.data())
def test_exactly_the_wanted_number_of_devices_leaves_a_limit_once(devices: int, data) -> None:
    alarms = data.draw(st.integers(0, devices))
    load = plan(devices=devices, alarms=alarms)
    excursions = [load.excursion(j) for j in range(devices)]
    found = [excursion for excursion in excursions if excursion is not None]
    assert len(found) == alarms
    for first, last in found:
        assert 0 < first < last <= load.rounds
    if alarms:
        j = next(j for j, excursion in enumerate(excursions) if excursion is not None)
        beyond = [n for n in range(load.rounds) if load.variant(j, n) == 16]
        assert beyond == list(range(*excursions[j]))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"values": 0}, "--values"),
        ({"values": 99}, "--values"),
        ({"alarms": 51}, "--alarms"),
        ({"rate_hz": 1000.0, "duration_s": 1e6}, "at most"),
    ],
)
def test_what_can_not_be_sent_is_refused_before_the_run(changes: dict, told: str) -> None:
    with pytest.raises(InputError, match=told):
        plan(**changes)


@given(st.integers(1, 500), st.floats(0.01, 1))
def test_the_wanted_share_of_clocks_is_wrong_early_and_late_in_turn(devices: int, share: float) -> None:
    load = plan(devices=devices, wrong_clocks=share)
    errors = [load.clock_error_ms(j) for j in range(devices)]
    wrong = [error for error in errors if error]
    assert abs(len(wrong) - devices * share) <= 1
    assert set(wrong) <= {-WRONG_MS, WRONG_MS}
    assert abs(sum(wrong)) <= WRONG_MS
    with_alarms = plan(devices=devices, wrong_clocks=1.0, alarms=devices)
    assert not any(with_alarms.clock_error_ms(j) for j in range(devices))
