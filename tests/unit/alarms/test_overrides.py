import pytest

from hub.alarms.book import Book
from hub.alarms.limits import load_limits
from hub.alarms.overrides import OverrideRefused, Overrides
from hub.alarms.rules import Override

NOW = 1_795_488_000_000_000_000
HOUR = 3600 * 1_000_000_000
RULES = load_limits()


@pytest.fixture
async def book(tmp_path):
    book = Book(tmp_path / "book.sqlite")
    await book.start()
    yield book
    await book.stop()


def change(**known) -> Override:
    defaults = {
        "scope": "patient",
        "site": "main",
        "scope_id": "pt-1",
        "table": "spo2",
        "values": {"low": 88},
        "who": "nurse-1",
        "why": "COPD, target 88 to 92",
        "set_ns": NOW,
        "bed": "icu-01",
    }
    return Override(**{**defaults, **known})


async def test_what_is_nearer_to_the_patient_wins_and_the_rest_is_inherited(book):
    overrides = Overrides(book, RULES)
    await overrides.set(change(scope="site", scope_id="main", values={"low": 92, "delay_s": 5}), NOW)
    await overrides.set(change(scope="ward", scope_id="icu", values={"low": 91}), NOW)
    await overrides.set(change(), NOW)
    lows = []
    for ward, patient in ((None, None), ("icu", None), ("icu", "pt-1"), ("icu", "pt-2")):
        limits = RULES.of("adult", overrides.of("main", ward, patient))
        low = limits.by_parameter["spo2"][0].warning
        lows.append((low.bound, low.delay_ns // 1_000_000_000))
    assert lows == [(92, 5), (91, 5), (88, 5), (91, 5)]
    assert RULES.of("adult").by_parameter["spo2"][0].warning.bound == 90


async def test_changes_survive_a_restart_with_who_why_and_until(book):
    await Overrides(book, RULES).set(change(until_ns=NOW + HOUR), NOW)
    again = Overrides(book, RULES)
    await again.start(NOW)
    (one,) = again.of("main", "icu", "pt-1")
    assert (one.who, one.why, one.until_ns) == ("nurse-1", "COPD, target 88 to 92", NOW + HOUR)


async def test_a_change_ends_at_its_time_and_is_kept_in_the_record(book):
    overrides = Overrides(book, RULES)
    await overrides.set(change(until_ns=NOW + HOUR), NOW)
    version = overrides.version
    await overrides.follow(NOW + HOUR, {"pt-1": "icu-01"})
    assert overrides.of("main", "icu", "pt-1") == ()
    assert overrides.version > version
    (ended,) = overrides.listed(with_ended=True)
    assert (ended.ended_by, ended.ended_why) == ("hub", "its time is over")


@pytest.mark.parametrize("bed_of", [{}, {"pt-1": "icu-02"}])
async def test_discharge_and_transfer_end_the_patients_limits(book, bed_of):
    overrides = Overrides(book, RULES)
    await overrides.set(change(), NOW)
    await overrides.follow(NOW + 1, {"pt-1": "icu-01"})
    assert overrides.of("main", "icu", "pt-1")
    await overrides.follow(NOW + 2, bed_of)
    assert overrides.of("main", "icu", "pt-1") == ()


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("spo2", {"low": None}),
        ("spo2", {"low": 0, "critical_low": None}),
        ("heart_rate", {"high": 350}),
        ("spo2", {"critical_priority": "information"}),
        ("news2", {"enabled": False}),
        ("combination.respiratory_depression", {"enabled": False}),
        ("combination.respiratory_depression", {"priority": "information"}),
        (
            "combination.respiratory_depression",
            {"all": [{"parameter": "spo2", "below": 5}, {"parameter": "respiratory_rate", "below": 5}]},
        ),
    ],
)
async def test_switching_an_alarm_off_needs_an_end(book, table, values):
    overrides = Overrides(book, RULES)
    with pytest.raises(OverrideRefused, match="until"):
        await overrides.set(change(table=table, values=values, age_group="adult"), NOW)
    assert await book.lines("override") == []
    await overrides.set(change(table=table, values=values, age_group="adult", until_ns=NOW + HOUR), NOW)


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"values": {"low": 79}}, "critical_low < low"),
        ({"table": "flood", "values": {"chatter_starts": 5}}, "the whole hub's"),
        ({"values": {"lo": 88}}, "lo"),
        ({"table": "spo3"}, "did you mean"),
        ({"why": " "}, "why"),
        ({"until_ns": NOW - 1}, "future"),
        ({"values": {}}, "which key"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused_with_what_to_change(book, known, message):
    with pytest.raises(OverrideRefused, match=message):
        await Overrides(book, RULES).set(change(**known), NOW)


async def test_a_later_change_replaces_the_same_keys_and_keeps_the_others(book):
    overrides = Overrides(book, RULES)
    await overrides.set(change(values={"low": 88, "hysteresis": 2}), NOW)
    await overrides.set(change(values={"low": 87}), NOW + 1)
    low = RULES.of("adult", overrides.of("main", "icu", "pt-1")).by_parameter["spo2"][0].warning
    assert (low.bound, low.hysteresis) == (87, 2)
    assert len(overrides.of("main", "icu", "pt-1")) == 2


async def test_changes_that_contradict_each_other_never_stop_the_evaluation(book):
    wide = change(scope="site", scope_id="main", table="heart_rate", values={"low": 100})
    near = change(table="heart_rate", values={"high": 90})
    limits = RULES.of_valid("adult", [near, wide])
    assert [side.warning.bound for side in limits.by_parameter["heart_rate"]] == [100, 120]


async def test_a_ward_sets_a_combination_in_every_age_group_that_has_it(book):
    overrides = Overrides(book, RULES)
    table = "combination.respiratory_depression"
    values = {"delay_s": 30, "priority": "medium"}
    await overrides.set(change(scope="ward", scope_id="icu", table=table, values=values), NOW)
    changed = overrides.of("main", "icu", None)
    (found,) = RULES.of("adult", changed).combinations["spo2"]
    assert (found.delay_ns, found.priority) == (30 * 10**9, "medium")
    assert RULES.of("neonatal", changed).combinations == {}
    assert RULES.tables("adult", changed)[table]["delay_s"] == 30


async def test_a_combination_that_is_switched_off_for_a_patient_is_judged_for_the_others(book):
    overrides = Overrides(book, RULES)
    table = "combination.respiratory_depression"
    off = change(table=table, values={"enabled": False}, age_group="adult", until_ns=NOW + HOUR)
    await overrides.set(off, NOW)
    assert RULES.of("adult", overrides.of("main", "icu", "pt-1")).combinations == {}
    assert "spo2" in RULES.of("adult", overrides.of("main", "icu", "pt-2")).combinations


async def test_a_combination_that_isnt_there_is_refused_with_those_that_are(book):
    with pytest.raises(OverrideRefused, match=r"use combination\.respiratory_depression") as refused:
        await Overrides(book, RULES).set(change(table="combination.other", values={"delay_s": 5}), NOW)
    assert refused.value.pointer == "/table"
