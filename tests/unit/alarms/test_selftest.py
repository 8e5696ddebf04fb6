import pytest

from hub.alarms.log import EventLog
from hub.alarms.records import Records
from hub.alarms.selftest import SelfTest

NOW = 1_795_488_192_000_000_000
SECOND = 1_000_000_000


@pytest.fixture
async def event_log(tmp_path):
    log = EventLog(Records(tmp_path / "alarms.sqlite"))
    await log.start()
    yield log
    await log.stop()


async def test_the_canarys_alarm_comes_out_time_after_time_and_leaves_the_log_alone(event_log):
    test = SelfTest(event_log)
    assert all(test.passes(NOW + beat * SECOND // 2) for beat in range(500))
    assert event_log.last_sequence == 0


async def test_a_fault_in_the_evaluation_breaks_the_path_until_it_is_gone(event_log, monkeypatch, caplog):
    test = SelfTest(event_log)
    caplog.set_level("INFO", "hub.alarms.selftest")

    def fails(*_):
        raise RuntimeError("a fault")

    with monkeypatch.context() as broken:
        broken.setattr("hub.alarms.judge.evaluate_side", fails)
        assert not test.passes(NOW)
        assert not test.passes(NOW + SECOND)
    assert test.passes(NOW + 2 * SECOND)
    told = [record.message for record in caplog.records if record.message.startswith("the alarm path")]
    assert told == ["the alarm path is broken", "the alarm path works"]


async def test_rules_that_no_longer_alarm_break_the_path(event_log, monkeypatch):
    test = SelfTest(event_log)
    monkeypatch.setattr("hub.alarms.conditions.Conditions.observe", lambda *_: None)
    assert not test.passes(NOW)


async def test_events_that_wait_to_be_told_break_the_path(event_log, monkeypatch):
    test = SelfTest(event_log)
    monkeypatch.setattr(EventLog, "late_s", property(lambda _: 1.5))
    assert not test.passes(NOW)
