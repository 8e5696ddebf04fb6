import json
from datetime import datetime

from hypothesis import given
from hypothesis import strategies as st

from device_sims.clock import Clock, rfc3339
from device_sims.recordings import Recording
from device_sims.replay import message


def test_without_an_epoch_the_device_clock_starts_now() -> None:
    assert Clock(speed=50).first_ms(1_000_000) == 1_000_000


def test_with_an_epoch_the_device_clock_has_run_at_speed_since_then() -> None:
    assert Clock(speed=50, epoch_ms=1_000_000).first_ms(1_002_000) == 1_000_000 + 50 * 2_000


def test_as_fast_as_possible_starts_where_it_is_told() -> None:
    assert Clock(speed=0, start_ms=5).first_ms(1_000_000) == 5
    assert Clock(speed=0, epoch_ms=7).first_ms(1_000_000) == 1_000_000


@given(st.integers(0, 4_102_444_800_000))
def test_rfc3339_keeps_every_millisecond(epoch_ms: int) -> None:
    text = rfc3339(epoch_ms)
    assert text.endswith("Z")
    assert round(datetime.fromisoformat(text).timestamp() * 1000) == epoch_ms


def test_a_native_payload_has_time_seq_values_and_null_for_no_value() -> None:
    recording = Recording("native", 1.0, [0, 1000], [{"spo2": 97}, {"spo2": None}])
    sent, payload = message(recording, 1, 1_795_488_192_123)
    assert json.loads(payload) == {"time": "2026-11-24T02:43:13.123Z", "seq": 2, "values": {"spo2": None}}
    assert sent.time == "2026-11-24T02:43:13.123Z"


def test_units_travel_where_a_name_leaves_them_open() -> None:
    recording = Recording("native", 1.0, [0], [{"glucose": 110}], {"glucose": "mg/dL"})
    assert json.loads(message(recording, 0, 0)[1])["units"] == {"glucose": "mg/dL"}


def test_a_mimic2_payload_is_flat_with_milliseconds_and_keeps_zero() -> None:
    recording = Recording("mimic2", 60.0, [0], [{"HR": 0.0, "NBPSys": None}])
    assert json.loads(message(recording, 0, 1234)[1]) == {"time": 1234, "seq": 1, "HR": 0.0, "NBPSys": None}
