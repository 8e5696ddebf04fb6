from itertools import count

import pytest
from line_parts import make_roster, topic

from hub import roster as roster_module
from hub.roster import TooManyDevices


def test_a_device_is_made_at_its_first_message_and_told_once():
    roster, new = make_roster()
    endpoint = roster.endpoint(topic("mon-1"))
    assert endpoint is not None
    device = endpoint.device
    assert device is not None
    assert (device.site, device.id, device.area, device.definition) == ("main", "mon-1", "icu", "native")
    assert roster.endpoint(topic("mon-1", "status")).device is device
    assert roster.endpoint(topic("mon-1")) is endpoint, "a topic is looked up once"
    assert [(one.id, on) for one, on in new] == [("mon-1", topic("mon-1"))]
    assert (len(roster), list(roster), roster.known()) == (1, [device], [device])


def test_a_registered_device_is_what_the_registry_says_and_nobody_is_told_of_it():
    roster, new = make_roster(provisioned={"mon-1": ("north", "acme", 5.0)})
    device = roster.endpoint(topic("mon-1")).device
    assert (device.area, device.definition, device.interval_s) == ("north", "acme", 5.0)
    assert new == []


def test_a_device_that_an_earlier_run_knew_is_told_when_it_first_speaks():
    roster, new = make_roster()
    recalled = roster.recall("main", "mon-1")
    assert recalled is not None
    assert (new, recalled.definition) == ([], "")
    assert roster.endpoint(topic("mon-1")).device is recalled
    assert len(new) == 1
    assert recalled.definition == "native"


def test_a_device_without_an_interval_gets_its_definitions():
    roster, _ = make_roster(provisioned={"mon-1": ("north", "", 0.0)})
    assert roster.endpoint(topic("mon-1")).device.interval_s > 0


def test_a_topic_that_no_definition_takes_makes_nothing():
    roster, new = make_roster()
    assert roster.endpoint("a/b") is None
    assert roster.explain("a/b")
    assert (len(roster), new) == (0, [])


def test_a_flood_of_made_up_devices_ends_at_the_limit_and_the_known_ones_go_on():
    roster, _ = make_roster(max_devices=3)
    for number in range(3):
        roster.endpoint(topic(f"mon-{number}"))
    for number in range(3, 6):
        with pytest.raises(TooManyDevices):
            roster.endpoint(topic(f"mon-{number}"))
        assert roster.recall("main", f"mon-{number}") is None
    assert len(roster) == 3
    assert roster.endpoint(topic("mon-0", "status")).device is roster.find("main", "mon-0")
    assert roster.find("main", "mon-5") is None


def test_a_flood_of_topics_and_channels_is_forgotten_and_no_number_is_given_twice(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(roster_module, "MAX_TOPICS", 10)
    roster, _ = make_roster()
    device = roster.endpoint(topic("mon-1")).device
    seen = [roster.index("main", "mon-1", f"channel-{number}") for number in range(50)]
    assert len(set(seen)) == 50
    assert len(roster._indices) <= 10
    for number in count():
        roster.endpoint(topic(f"mon-{number}"))
        assert len(roster._endpoints) <= 10
        if number > 30:
            break
    assert roster.endpoint(topic("mon-1")).device is device, "a device is never forgotten"


def test_devices_and_channels_have_numbers_of_their_own():
    roster, _ = make_roster()
    keys = [
        ("main", "a", "observations"),
        ("main", "b", "observations"),
        ("main", "a", "x"),
        ("north", "a", "x"),
    ]
    numbers = [roster.index(*key) for key in keys]
    assert len(set(numbers)) == 4
    assert [roster.index(*key) for key in keys] == numbers
