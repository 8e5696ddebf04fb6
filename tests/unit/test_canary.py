import json

from hub.canary import Canary
from hub.device import Device

NOW = 1_790_000_000_000_000_000


def make(taken=True):
    sent = []

    def publish(topic, payload):
        sent.append((topic, json.loads(payload)))
        return taken

    return Canary("main", "hub-1", publish), sent, Device("main", "hub-1", "hub", "native", 1.0)


def test_a_canary_is_a_native_reading_of_the_hub_itself_with_a_number_of_its_own():
    canary, sent, _ = make()
    canary.send(NOW, 10.0)
    canary.send(NOW + 1_000_000, 10.5)
    assert [topic for topic, _ in sent] == ["wards/v1/main/hub/hub-1/observations"] * 2
    assert sent[0][1]["time"] == NOW // 1_000_000
    assert sent[0][1]["seq"] != sent[1][1]["seq"]
    assert list(sent[0][1]["values"]) == ["hub_canary"]


def test_a_canary_is_told_once_and_its_way_is_timed():
    canary, _, device = make()
    assert not canary.told(device, 9.0)
    canary.send(NOW, 10.0)
    assert not canary.told(device, 10.1), "it has not come back"
    device.time_ns = NOW + 123  # the digits below the millisecond are the sequence number's
    assert canary.told(device, 10.25)
    assert (canary.told_s, canary.lag_s) == (10.0, 0.25)
    assert not canary.told(device, 11.0), "never by a timer alone"


def test_a_late_canary_does_not_take_the_place_of_a_newer_one():
    canary, _, device = make()
    canary.send(NOW, 10.0)
    canary.send(NOW + 500_000_000, 10.5)
    device.time_ns = NOW + 500_000_000
    assert canary.told(device, 10.6)
    device.time_ns = NOW
    assert not canary.told(device, 10.7)
    canary.durable(NOW + 500_000_000)
    canary.durable(NOW)
    assert canary.durable_s == 10.5


def test_what_is_not_durable_is_told_apart_from_what_is():
    canary, _, device = make()
    canary.send(NOW, 10.0)
    device.time_ns = NOW
    assert canary.told(device, 10.1)
    assert canary.durable_s is None
    canary.durable(NOW)
    assert canary.durable_s == 10.0
    canary.durable(NOW + 77_000_000)
    assert canary.durable_s == 10.0, "a reading that was no canary says nothing"


def test_a_canary_that_could_not_be_published_is_not_waited_for():
    canary, _, device = make(taken=False)
    canary.send(NOW, 10.0)
    device.time_ns = NOW
    assert not canary.told(device, 10.1)
