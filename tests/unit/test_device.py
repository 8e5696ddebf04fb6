from hypothesis import given
from hypothesis import strategies as st

from hub.device import Device
from hub.model import Reading

NAMES = st.sampled_from(["heart_rate", "spo2", "pulse_rate", "temperature"])
QUALITIES = st.sampled_from(["questionable", "invalid", "no-value"])


@st.composite
def readings(draw):
    values = draw(st.dictionaries(NAMES, st.floats(0, 300)))
    exceptions = None
    if draw(st.booleans()):
        exceptions = {}
        for name in draw(st.sets(NAMES)):
            quality = draw(QUALITIES)
            if quality == "questionable":
                values.setdefault(name, 1.0)
            else:
                values.pop(name, None)
            exceptions[name] = (quality, values.get(name))
    channel = draw(st.sampled_from(["observations", "observations", "observations", "channel-1"]))
    time_ns = draw(st.integers(1, 9))
    return Reading("main", "mon-1", channel, time_ns, time_ns, draw(st.integers(1, 9)), 0, values, exceptions)


def at_once(known, reading):
    """What is known after a reading, sorted out at once: the plain way to say what `Device.take` does."""
    for name in (*reading.values, *(reading.exceptions or {})):
        quality, _ = (reading.exceptions or {}).get(name, ("valid", None))
        if reading.time_ns >= known.get(name, (None, "", 0, 0))[2]:
            value = reading.values.get(name)
            known[name] = (value, quality, reading.time_ns, reading.received_ns)


@given(st.lists(st.tuples(readings(), st.booleans()), max_size=30))
def test_what_is_sorted_out_later_is_what_would_be_known_at_once(steps):
    device = Device("main", "mon-1", "icu", "native", 1.0)
    known = {"observations": {}, "channel-1": {}}
    for reading, somebody_looks in steps:
        device.take(reading)
        at_once(known[reading.channel], reading)
        if somebody_looks:
            assert shown(device.latest) == known["observations"]
    assert shown(device.latest) == known["observations"]
    assert shown(device.latest_in("channel-1")) == known["channel-1"]


def shown(latest):
    return {
        name: (one.value, one.quality, one.time_ns, one.received_ns)
        for name, one in latest.items()
        if one.time_ns
    }


def test_a_reading_with_fewer_values_leaves_the_others_known():
    device = Device("main", "mon-1", "icu", "native", 1.0)
    device.take(Reading("main", "mon-1", "observations", 1, 1, 1, 1, {"heart_rate": 70.0, "spo2": 97.0}))
    device.take(Reading("main", "mon-1", "observations", 2, 2, 2, 2, {"heart_rate": 71.0}))
    assert {name: one.value for name, one in device.latest.items()} == {"heart_rate": 71.0, "spo2": 97.0}
