import json

from hub.canary import Canary

NOW = 1_790_000_000_000_000_000


def make(taken=True):
    sent = []

    def publish(topic, payload):
        sent.append((topic, json.loads(payload)))
        return taken

    return Canary("main", "hub-1", publish), sent


def test_a_canary_is_a_native_reading_of_the_hub_itself_with_a_number_of_its_own():
    canary, sent = make()
    canary.send(NOW, 10.0)
    canary.send(NOW + 1_000_000, 10.5)
    assert [topic for topic, _ in sent] == ["wards/v1/main/hub/hub-1/observations"] * 2
    assert sent[0][1]["time"] == NOW // 1_000_000
    assert sent[0][1]["seq"] != sent[1][1]["seq"]
    assert [message["values"] for _, message in sent] == [{"hub_canary": 1}, {"hub_canary": 0}]


def test_a_canary_is_told_once_and_its_way_is_timed():
    canary, _ = make()
    assert not canary.told(NOW, 9.0), "it was not sent"
    canary.send(NOW, 10.0)
    # The digits below the millisecond are the sequence number's.
    assert canary.told(NOW + 123, 10.25)
    assert (canary.told_s, canary.lag_s) == (10.0, 0.25)
    assert not canary.told(NOW + 123, 11.0), "each comes out once"


def test_a_late_canary_does_not_take_the_place_of_a_newer_one():
    canary, _ = make()
    canary.send(NOW, 10.0)
    canary.send(NOW + 500_000_000, 10.5)
    assert canary.told(NOW + 500_000_000, 10.6)
    assert not canary.told(NOW, 10.7)
    canary.durable(NOW + 500_000_000)
    canary.durable(NOW)
    assert canary.durable_s == 10.5


def test_what_is_not_durable_is_told_apart_from_what_is():
    canary, _ = make()
    canary.send(NOW, 10.0)
    assert canary.told(NOW, 10.1)
    assert canary.durable_s is None
    canary.durable(NOW)
    assert canary.durable_s == 10.0
    canary.durable(NOW + 77_000_000)
    assert canary.durable_s == 10.0, "a reading that was no canary says nothing"


def test_a_canary_that_could_not_be_published_is_not_waited_for():
    canary, _ = make(taken=False)
    canary.send(NOW, 10.0)
    assert not canary.told(NOW, 10.1)
