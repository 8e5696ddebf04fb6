import json

import pytest

from hub.model import Waveform
from hub.waves import Waves, WavesFull

KEY = ("main", "mon-1", "ecg_ii")


def wave(n, device="mon-1"):
    return Waveform("main", device, "ecg_ii", n, n, n, 250.0, 0.005, 0.0, "mV", [float(n)])


async def rest(viewer):
    return [json.loads(chunk.decode().split("data: ")[1])["samples"][0] async for chunk in viewer.frames()]


async def test_a_slow_viewer_misses_the_oldest_windows_and_that_is_counted():
    waves = Waves(max_windows=3)
    viewer = waves.open(KEY)
    for n in range(10):
        waves.publish(wave(n))
    waves.close()
    assert await rest(viewer) == [7.0, 8.0, 9.0]
    assert waves.left_out == 7


async def test_a_viewer_gets_only_the_waveform_it_asked_for():
    waves = Waves()
    viewer = waves.open(KEY)
    waves.publish(wave(1, "mon-2"))
    waves.publish(wave(2))
    waves.close()
    assert await rest(viewer) == [2.0]


async def test_the_number_of_viewers_is_bounded_and_a_place_becomes_free_again():
    waves = Waves(max_viewers=1)
    viewer = waves.open(KEY)
    with pytest.raises(WavesFull):
        waves.open(KEY)
    waves.leave(viewer)
    waves.leave(viewer)
    assert waves.viewers == 0
    waves.open(KEY)


async def test_a_stream_opened_after_the_end_ends_at_once():
    waves = Waves()
    waves.close()
    assert await rest(waves.open(KEY)) == []
