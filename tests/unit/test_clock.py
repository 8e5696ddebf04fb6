from hub.clock import SECOND_NS, ClockLimits, DeviceClock, hub_clock

LIMITS = ClockLimits()
NOW = 1_795_488_192 * SECOND_NS
HOUR = 3600 * SECOND_NS


def feed(clock: DeviceClock, start_ns: int, seconds: int, ahead_ns: int) -> list[int]:
    """One message a second for so long; returns corrected minus receipt of each."""
    corrected = []
    for second in range(seconds):
        received = start_ns + second * SECOND_NS
        corrected.append(clock.correct(received + ahead_ns, received, LIMITS) - received)
    return corrected


def test_a_clock_in_step_is_taken_at_its_word():
    clock = DeviceClock()
    assert clock.correct(NOW - 300_000_000, NOW, LIMITS) == NOW - 300_000_000
    assert not clock.is_off(LIMITS)


def test_a_clock_ahead_is_never_believed_and_corrected_once_it_proved_steady():
    clock = DeviceClock()
    assert feed(clock, NOW, 30, HOUR) == [0] * 30
    assert clock.offset_ns == HOUR
    assert clock.is_off(LIMITS)


def test_a_clock_behind_is_corrected_only_after_the_evidence_time():
    clock = DeviceClock()
    corrected = feed(clock, NOW, 30, -HOUR)
    assert corrected[:10] == [-HOUR] * 10
    assert corrected[12:] == [0] * 18


def test_a_draining_backlog_is_not_taken_for_a_clock_behind():
    clock = DeviceClock()
    received = NOW
    for second in range(3600):
        device_ns = NOW - HOUR + second * SECOND_NS
        received += SECOND_NS // 10
        assert clock.correct(device_ns, received, LIMITS) == device_ns
    assert clock.offset_ns == 0


def test_one_wild_time_does_not_move_the_offset():
    clock = DeviceClock()
    feed(clock, NOW, 5, 0)
    assert clock.correct(NOW + 8 * HOUR, NOW + 5 * SECOND_NS, LIMITS) == NOW + 5 * SECOND_NS
    assert feed(clock, NOW + 6 * SECOND_NS, 5, 0) == [0] * 5
    assert clock.offset_ns == 0


def test_a_backlog_of_a_device_with_a_known_offset_keeps_that_offset():
    clock = DeviceClock()
    feed(clock, NOW, 30, HOUR)
    late = NOW + 100 * SECOND_NS
    assert clock.correct(late + HOUR - 600 * SECOND_NS, late, LIMITS) == late - 600 * SECOND_NS


def test_a_clock_that_was_set_right_is_followed():
    clock = DeviceClock()
    feed(clock, NOW, 30, -HOUR)
    assert clock.offset_ns == -HOUR
    feed(clock, NOW + 60 * SECOND_NS, 30, 0)
    assert clock.offset_ns == 0
    assert not clock.is_off(LIMITS)


def test_times_of_1970_and_2100_are_no_times():
    clock = DeviceClock()
    for device_ns in (0, 4_102_444_800 * SECOND_NS):
        assert clock.correct(device_ns, NOW, LIMITS) == NOW
        assert not clock.trusted
        assert clock.is_off(LIMITS)
    assert clock.correct(NOW, NOW, LIMITS) == NOW
    assert clock.trusted


def test_hub_time_runs_at_its_scale_from_its_epoch():
    epoch_ns = hub_clock()()
    fast = hub_clock(1000, epoch_ns)
    before = hub_clock()()
    scaled = fast() - epoch_ns
    after = hub_clock()()
    assert (before - epoch_ns) * 1000 <= scaled <= (after - epoch_ns) * 1000
