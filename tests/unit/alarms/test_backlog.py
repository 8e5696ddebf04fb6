from hub.alarms.alarm import Alarm, AlarmEvent
from hub.alarms.backlog import Backlog


def event(sequence, happening="start", alarm="al-1"):
    present = "absent" if happening == "end" else "present"
    return AlarmEvent(
        sequence,
        happening,
        sequence,
        Alarm(alarm, "physiological", "high", "limit_low", "main", "mon-1", 1, present, "low"),
    )


def kept(backlog):
    return [(kept.sequence, kept.event) for kept in backlog.first(1000)]


def test_within_the_limit_everything_is_kept_in_order():
    backlog = Backlog(3)
    for sequence in (1, 2, 3):
        backlog.add(event(sequence, "update" if sequence > 1 else "start"))
    assert kept(backlog) == [(1, "start"), (2, "update"), (3, "update")]
    assert backlog.left_out == 0


def test_beyond_the_limit_a_newer_update_takes_the_place_of_the_same_alarms_older_one():
    backlog = Backlog(3)
    backlog.add(event(1))
    backlog.add(event(2, alarm="al-2"))
    for sequence in range(3, 100):
        backlog.add(event(sequence, "update"))
    assert kept(backlog) == [(1, "start"), (2, "start"), (99, "update")]
    assert backlog.left_out == 96


def test_starts_and_ends_are_kept_beyond_the_limit():
    backlog = Backlog(3)
    for sequence in range(1, 11):
        backlog.add(event(2 * sequence, "start", f"al-{sequence}"))
        backlog.add(event(2 * sequence + 1, "end", f"al-{sequence}"))
    assert len(backlog) == 20
    assert backlog.left_out == 0


def test_however_long_the_disk_is_away_the_size_stays_bounded_and_present_alarms_stay():
    backlog = Backlog(3)
    backlog.add(event(1, "start", "al-present"))
    for sequence in range(1, 1000):
        backlog.add(event(2 * sequence, "start", f"al-{sequence}"))
        backlog.add(event(2 * sequence + 1, "end", f"al-{sequence}"))
    assert len(backlog) <= 31
    assert kept(backlog)[0] == (1, "start")
    assert backlog.left_out == 1999 - len(backlog)


def test_the_end_of_an_alarm_whose_start_is_recorded_is_kept_beyond_every_limit():
    backlog = Backlog(1)
    start = event(1, "start", "al-recorded")
    backlog.add(start)
    backlog.remove([start])
    for sequence in range(2, 22):
        backlog.add(event(sequence, "start", f"al-{sequence}"))
    backlog.add(event(22, "end", "al-recorded"))
    assert (22, "end") in kept(backlog)


def test_removing_what_was_left_out_meanwhile_does_no_harm():
    backlog = Backlog(1)
    backlog.add(event(1))
    update = event(2, "update")
    backlog.add(update)
    backlog.add(event(3, "update"))
    backlog.remove([update])
    assert kept(backlog) == [(1, "start"), (3, "update")]
    assert 2 not in backlog
