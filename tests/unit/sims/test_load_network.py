"""Which devices of a load test have a bad network, when, and how bad."""

from dataclasses import replace

import pytest

from device_sims.errors import InputError, LostError
from device_sims.fault_proxy import Weather
from device_sims.load.faults import Timeline, parse_fault
from device_sims.load.network import Network, devices_through, lanes_of, weather_at
from device_sims.load.plan import Detour, Endpoint, LoadPlan

FAULTS = [parse_fault(text) for text in ("slow@20+10:0.2,150ms", "hole@25+10:0.1", "slow@25+10:0.1,1.5s")]


def plan(brokers: int = 2, **changes) -> LoadPlan:
    endpoints = tuple(Endpoint(f"mqtt://127.0.0.1:{1883 + place}") for place in range(brokers))
    return LoadPlan(endpoints, devices=1000, rate_hz=1.0, duration_s=10.0, **changes)


def test_a_slow_network_has_a_share_and_a_latency() -> None:
    fault = parse_fault("slow@20+10:0.2,150ms")
    assert (fault.at_s, fault.for_s, fault.share, fault.latency_s) == (20, 10, 0.2, 0.15)
    assert str(fault) == "slow at 20 s for 10 s: 20% of the devices, 150 ms each way"
    assert parse_fault("slow@0+0.5:1,0.4s").latency_s == 0.4
    assert str(parse_fault("hole@60+5:0.5")) == "hole at 60 s for 5 s: 50% of the devices"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("slow@20+10", "a share and a latency"),
        ("slow@20+10:0.2", "a share and a latency"),
        ("slow@20+10:150ms", "a share and a latency"),
        ("slow@20+10:0.2,150", "a share and a latency in ms or s"),
        ("slow@20+10:0.2,fast", "a share and a latency"),
        ("slow@20+10:0.2,1.2.3ms", "slow@20"),
        ("slow@20+10:0.2,0ms", "above 0 and at most 5 s"),
        ("slow@20+10:0.2,6s", "above 0 and at most 5 s"),
        ("slow@20+10:2,150ms", "the share"),
        ("slow@20:0.2,150ms", "a duration"),
        ("hole@20:0.2", "a duration"),
        ("hole@20+10:0.2,150ms", "hole@20"),
    ],
)
def test_how_slow_must_be_said_fully(text: str, told: str) -> None:
    with pytest.raises(InputError, match=f"--fault {text.replace('+', '.')}.*{told}"):
        parse_fault(text)


def test_faults_of_the_network_are_no_orders_to_the_devices() -> None:
    timeline = Timeline([*FAULTS, parse_fault("storm@26")])
    assert [order for second in range(50) for order in timeline.due(second)] == [("drop", (1.0, 0.0))]


def test_a_small_share_has_the_faults_of_larger_ones_too_and_they_add_up() -> None:
    lanes = lanes_of(FAULTS)
    assert list(lanes) == [0.1, 0.2]
    few, more = lanes.values()
    assert weather_at(more, 19.9) == (Weather(), False)
    assert weather_at(more, 20) == weather_at(more, 29.9) == (Weather(0.15), False)
    assert weather_at(more, 30) == (Weather(), False)
    assert weather_at(few, 27) == (Weather(1.65), True)
    assert weather_at(few, 30) == (Weather(1.5), True)
    assert weather_at(few, 35) == (Weather(), False)


def test_detours_take_their_share_of_each_broker_and_worker() -> None:
    load = plan(detours=(Detour(0.1, (1, 2)), Detour(0.3, (3, 4))), workers=2)
    taken = {j: load.detour_of(j) for j in range(1000)}
    for broker, worker in ((0, 0), (0, 1), (1, 0), (1, 1)):
        here = [taken[j] for j in load.devices_of(worker) if load.endpoint_of(j) == broker]
        assert here.count(1 + broker) == pytest.approx(25, abs=3)
        assert here.count(3 + broker) == pytest.approx(50, abs=3)
        assert len(here) == 250
    for first in range(0, 1000, 100):  # evenly over the time too: devices take turns by their number
        assert sum(taken[j] is not None for j in range(first, first + 100)) == pytest.approx(30, abs=3)
    assert {plan().detour_of(j) for j in range(100)} == {None}
    assert {plan(1, detours=(Detour(1.0, (7,)),)).detour_of(j) for j in range(1000)} == {7}


def test_only_devices_with_a_bad_network_take_files_of_a_proxy() -> None:
    assert devices_through(plan(), FAULTS) == pytest.approx(100, abs=2)
    assert devices_through(plan(), [parse_fault("silent@1+1:0.5")]) == 0


def test_without_a_bad_network_there_is_no_proxy_and_one_that_ends_is_told() -> None:
    with Network(plan(), [parse_fault("storm@1")]) as network:
        assert network.detours == ()
        network.check()
    with Network(replace(plan(1), devices=1), FAULTS) as network:
        assert [detour.share for detour in network.detours] == [0.1, 0.2]
        network.check()
        for process in network._processes:
            process.kill()
            process.join()
        with pytest.raises(LostError):
            network.check()
        with pytest.raises(LostError):
            network.begin(0)
