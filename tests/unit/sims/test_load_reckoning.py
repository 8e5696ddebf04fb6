from dataclasses import replace

import pytest

from device_sims.clock import rfc3339
from device_sims.errors import InputError
from device_sims.load.alarm_watch import judge
from device_sims.load.expect import parse_expectations
from device_sims.load.faults import Timeline, parse_fault
from device_sims.load.find_max import find_max
from device_sims.load.outcome import KEYS, Outcome, Second
from device_sims.load.plan import FIRST_SEQ, Endpoint, LoadPlan
from device_sims.load.reconcile import Reckoner, Reckoning
from device_sims.load.report import page

START = 1_795_488_192_000


def plan(**changes) -> LoadPlan:
    settings = {"devices": 4, "rate_hz": 1.0, "duration_s": 30.0} | changes
    return LoadPlan((Endpoint("mqtt://127.0.0.1:1883"),), **settings)


def stored(load: LoadPlan, j: int, rounds) -> list[dict]:
    device = load.device_name(j)
    return [
        {"device": device, "seq": FIRST_SEQ + n, "values": load.values_of(load.variant(j, n))} for n in rounds
    ]


def reckon(load: LoadPlan, j: int, start_ms: int, acknowledged: int, sent: int, *pages: list) -> Reckoning:
    reckoner = Reckoner(load, start_ms, {j: acknowledged}, {j: sent})
    for page_ in pages:
        reckoner.take(page_)
    return reckoner.result()


def test_all_acknowledged_and_stored_once_is_no_loss() -> None:
    load = plan()
    found = reckon(load, 1, START, 30, 30, stored(load, 1, range(30)))
    assert found == Reckoning(stored=30)


def test_an_acknowledged_message_that_is_missing_is_lost_and_named() -> None:
    load = plan()
    found = reckon(load, 1, START, 30, 30, stored(load, 1, [n for n in range(30) if n != 17]))
    assert (found.stored, found.lost) == (29, 1)
    named = {"device": "load-00001", "seq": FIRST_SEQ + 17, "what": "acknowledged and not stored"}
    assert found.named == [named]


def test_what_was_sent_and_never_acknowledged_may_be_stored_or_not() -> None:
    load = plan()
    assert reckon(load, 1, START, 10, 20, stored(load, 1, range(15))).unacknowledged_stored == 5
    assert reckon(load, 1, START, 10, 20, stored(load, 1, range(15))).lost == 0
    assert reckon(load, 1, START, 10, 20, stored(load, 1, range(10))).lost == 0


def test_a_reading_stored_twice_is_doubled_and_counted_once_whichever_answers_hold_it() -> None:
    load = plan()
    for pages in ([[0, 1, 1, 2]], [[2, 1], [0, 1]]):
        found = reckon(load, 1, START, 3, 3, *(stored(load, 1, rounds) for rounds in pages))
        assert (found.stored, found.doubled, found.lost) == (3, 1, 0)


def test_another_value_or_a_missing_value_is_altered() -> None:
    load = plan()
    readings = stored(load, 1, range(3))
    readings[0]["values"]["heart_rate"] += 1
    del readings[1]["values"]["spo2"]
    found = reckon(load, 1, START, 3, 3, readings)
    assert (found.altered, found.lost) == (2, 0)


def test_a_number_that_was_never_sent_is_altered() -> None:
    load = plan()
    assert reckon(load, 1, START, 2, 2, stored(load, 1, range(3))).altered == 1


def test_rubbish_that_a_fault_sent_is_not_held_against_the_hub() -> None:
    load = plan()
    rubbish = [{"device": load.device_name(1), "seq": 2, "values": {}}]
    rubbish += [{"device": "another", "seq": FIRST_SEQ + 1, "values": {}}]
    assert reckon(load, 1, START, 3, 3, stored(load, 1, range(3)) + rubbish) == Reckoning(stored=3)


def test_another_time_is_altered_and_another_test_is_none_of_this_one() -> None:
    load = plan()
    readings = stored(load, 1, range(3))
    for n, reading in enumerate(readings):
        reading["device_time"] = rfc3339(load.time_ms(1, n, START))
    earlier = [reading | {"device_time": rfc3339(START - 20_000)} for reading in readings]
    assert reckon(load, 1, START, 3, 3, earlier + readings) == Reckoning(stored=3)
    readings[2]["device_time"] = rfc3339(load.time_ms(1, 2, START) + 1)
    assert reckon(load, 1, START, 3, 3, readings).altered == 1


def test_no_more_than_a_hundred_losses_are_named_and_all_are_counted() -> None:
    load = plan(duration_s=300)
    all_sent = dict.fromkeys(range(4), 300)
    total = Reckoner(load, START, all_sent, all_sent).result()
    assert total.lost == 1200
    assert len(total.named) == 100


def test_an_alarm_that_was_not_told_is_missed_and_the_others_are_timed() -> None:
    load = plan(alarms=2)
    devices = [j for j in range(4) if load.excursion(j)]
    sent = dict.fromkeys(range(4), 30)
    due = load.time_ms(devices[0], load.excursion(devices[0])[0], START)
    expected, missed, latency = judge(load, START, sent, {load.device_name(devices[0]): due + 40})
    assert expected == 2
    assert missed == [load.device_name(devices[1])]
    assert latency.percentile_ms(100) == pytest.approx(40, rel=0.001)


def test_an_excursion_that_was_never_sent_is_not_expected() -> None:
    load = plan(alarms=4)
    assert judge(load, START, {}, {})[0] == 0


def test_expectations_are_met_or_not_and_what_was_not_measured_is_not() -> None:
    met = parse_expectations("lost=0, puback_p99_ms<500,actual_share>=0.99", KEYS)
    result = dict.fromkeys(KEYS) | {"lost": 0, "puback_p99_ms": 499.9, "actual_share": 0.98}
    assert [one.met(result) for one in met] == [True, True, False]
    assert not parse_expectations("stored!=0", KEYS)[0].met(result)
    assert str(met[1]) == "puback_p99_ms<500"


@pytest.mark.parametrize("text", ["lost", "lost~0", "nothing=0", "lost=1.2.3"])
def test_an_expectation_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="--expect"):
        parse_expectations(text, KEYS)


def test_faults_come_at_their_time_and_end() -> None:
    texts = ["storm@5", "drop@2:0.25", "will@3+4:0.5", "silent@4+2:0.1", "duplicate@1+2:0.5"]
    timeline = Timeline([parse_fault(text) for text in texts])
    seen = {}
    for tenth in range(100):
        for order in timeline.due(tenth / 10):
            seen.setdefault(order, []).append(tenth / 10)
    assert seen == {
        ("drop", (1.0, 0.0)): [5.0],
        ("drop", (0.25, 0.0)): [2.0],
        ("drop", (0.5, 4.0)): [3.0],
        ("silence", (0.1, True)): [4.0],
        ("silence", (0.1, False)): [6.0],
        ("repeat", (0.5,)): [1.0, 2.0],
    }


def test_a_command_is_run_at_its_time_and_its_failure_is_kept(tmp_path) -> None:
    done = tmp_path / "done"
    timeline = Timeline([parse_fault(f"run@1:touch {done}"), parse_fault("run@1:exit 3")])
    assert timeline.due(0.5) == []
    assert not done.exists()
    timeline.due(1.0)
    timeline.finish()
    assert done.exists()
    assert timeline.failed_commands == ["exit 3"]


@pytest.mark.parametrize(
    "text", ["storm", "quake@5", "drop@5:2", "drop@5:many", "will@5:0.5", "silent@5", "run@5", "drop@5:0"]
)
def test_a_fault_that_is_none_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match="--fault"):
        parse_fault(text)


def outcome(**result) -> Outcome:
    second = Second(1.0, 10, 10, 4, 1.0, 2.0, hub_cpu=0.3, broker_cpu=0.9, load_cpu=0.1)
    return Outcome(dict.fromkeys(KEYS) | result, [second])


def test_the_search_finds_the_highest_rate_that_holds_and_names_what_gave_out() -> None:
    tried = []

    def attempt(load: LoadPlan) -> Outcome:
        tried.append(load.target_rate)
        return outcome(puback_p99_ms=100 if load.target_rate <= 1000 else 900)

    expectations = parse_expectations("puback_p99_ms<500", KEYS)
    found = find_max(plan(devices=100, rate_hz=2.0), expectations, attempt)
    assert 900 < found.plan.target_rate <= 1000
    assert found.gave_out == "puback_p99_ms<500; busiest was the broker at 0.90 cores"
    assert [rate for rate, _ in found.steps] == tried
    assert all((what == "held") == (rate <= 1000) for rate, what in found.steps)


def test_a_search_whose_first_rate_breaks_goes_down() -> None:
    expectations = parse_expectations("lost=0", KEYS)
    found = find_max(plan(devices=100), expectations, lambda load: outcome(lost=load.target_rate > 60))
    assert found.plan.target_rate <= 60
    nothing = find_max(plan(devices=100), expectations, lambda _load: outcome(lost=1))
    assert nothing.plan is None
    assert nothing.outcome.result["lost"] == 1


def test_the_report_stands_alone_and_escapes_what_it_shows() -> None:
    found = outcome(lost=1, puback_p99_ms=2.0)
    found.reckoning = Reckoning(lost=1, named=[{"device": "<b>", "seq": 7, "what": "lost & gone"}])
    found.seconds.append(Second(2.0, 12, 12, 4, None, None))
    found.latency.record(1500)
    text = page(plan(), found, parse_expectations("lost=0", KEYS), "ward-sims load <x>", faults=["storm"])
    assert "not met" in text
    assert "&lt;b&gt;" in text
    assert "ward-sims load &lt;x&gt;" in text
    assert "lost &amp; gone" in text
    assert "<svg" in text
    for outside in ("src=", "href=", "@import", "url("):
        assert outside not in text


def test_each_attempt_of_a_search_lets_other_devices_leave_a_limit() -> None:
    attempts = [replace(plan(devices=100, alarms=10), attempt=attempt) for attempt in range(10)]
    leaving = [{j for j in range(100) if load.excursion(j)} for load in attempts]
    assert [len(devices) for devices in leaving] == [10] * 10
    assert set.union(*leaving) == set(range(100))
