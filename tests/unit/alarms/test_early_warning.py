from alarm_ward import T0, AlarmWard

from hub.alarms.charts import Charted
from hub.alarms.early_warning import EarlyWarning, Subject, assess
from hub.clock import SECOND_NS

CHART = {"on_oxygen": False, "consciousness": "A", "temperature": 37.0}


class Bedside:
    """A patient with a monitor, a nurse who charts, and a sweep every ten seconds."""

    def __init__(self, **news2) -> None:
        self.ward = AlarmWard({"news2": news2} if news2 else None)
        self.ward.patients["mon-1"] = "pt-1"
        self.device = self.ward.device("mon-1")
        self.warning = EarlyWarning(self.ward.conditions, self.ward._limits_of)
        self.charted: dict = {}
        self.subject = Subject("pt-1", (self.device,))

    def chart(self, **values) -> None:
        for name, value in values.items():
            self.charted[name] = Charted("pt-1", self.ward.now_ns, {name: value}, "nurse-1")

    def reads(self, **values) -> None:
        self.ward.reads("mon-1", values)

    def pass_seconds(self, seconds: int) -> None:
        for _ in range(seconds // 10):
            self.ward.now_ns += 10 * SECOND_NS
            self.warning.sweep([self.subject], {"pt-1": self.charted}, self.ward.now_ns)

    def events(self) -> list:
        return [
            (event.event, event.alarm.priority, event.alarm.value)
            for event in self.ward.log.events()
            if event.alarm.condition == "news2"
        ]


WELL = {"respiratory_rate": 16.0, "spo2": 97.0, "nibp_systolic": 120.0, "pulse_rate": 70.0}
ILL = {"respiratory_rate": 22.0, "spo2": 93.0, "nibp_systolic": 120.0, "pulse_rate": 95.0}
WORSE = {"respiratory_rate": 25.0, "spo2": 91.0, "nibp_systolic": 120.0, "pulse_rate": 95.0}


def test_a_score_of_five_alarms_after_its_delay_escalates_at_seven_and_ends():
    bedside = Bedside()
    bedside.chart(**CHART)
    bedside.reads(**ILL)
    bedside.pass_seconds(60)
    assert bedside.events() == []
    bedside.pass_seconds(20)
    bedside.reads(**WORSE)
    bedside.pass_seconds(10)
    bedside.reads(**WELL)
    bedside.pass_seconds(10)
    assert bedside.events() == [
        ("start", "medium", 5.0),
        ("escalate", "high", 7.0),
        ("end", "high", 0.0),
    ]


def test_a_single_three_alarms():
    bedside = Bedside(delay_s=0)
    bedside.chart(**{**CHART, "consciousness": "V"})
    bedside.reads(**WELL)
    bedside.pass_seconds(10)
    assert bedside.events() == [("start", "medium", 3.0)]
    assert "consciousness scores 3" in bedside.ward.log.events()[-1].alarm.text


def test_an_incomplete_score_alarms_only_where_that_is_set_and_says_at_least():
    for incomplete, expected in ((False, []), (True, [("start", "high", 7.0)])):
        bedside = Bedside(delay_s=0, incomplete=incomplete)
        bedside.reads(**WORSE)
        bedside.pass_seconds(10)
        assert bedside.events() == expected
    assert "at least 7" in bedside.ward.log.events()[-1].alarm.text


def test_an_input_that_becomes_stale_holds_the_alarm_and_is_named():
    bedside = Bedside(delay_s=0)
    bedside.chart(**CHART)
    bedside.reads(**ILL)
    bedside.pass_seconds(10)
    bedside.reads(**WELL)
    bedside.charted["consciousness"] = Charted(
        "pt-1", T0 - 13 * 3600 * SECOND_NS, {"consciousness": "A"}, "n"
    )
    bedside.pass_seconds(10)
    assert bedside.events() == [("start", "medium", 5.0)]
    newest = bedside.warning.newest("pt-1")
    assert newest.score.problems == {"consciousness": "stale"}
    assert newest.score.total is None
    assert newest.ages_s["consciousness"] > 12 * 3600


def test_a_score_names_the_age_and_the_source_of_every_input():
    bedside = Bedside()
    bedside.chart(**CHART)
    bedside.reads(**WELL)
    bedside.pass_seconds(20)
    newest = bedside.warning.newest("pt-1")
    assert newest.score.total == 0
    assert newest.sources["spo2"] == "mon-1"
    assert newest.sources["on_oxygen"] == "charted by nurse-1"
    assert set(newest.ages_s.values()) == {20.0}


def test_a_value_without_a_signal_is_missing_and_never_normal():
    bedside = Bedside()
    bedside.chart(**CHART)
    bedside.reads(**WELL)
    bedside.ward.reads("mon-1", {}, {"spo2": ("no-value", None)}, bedside.ward.now_ns + SECOND_NS)
    bedside.pass_seconds(10)
    assert bedside.warning.newest("pt-1").score.problems == {"spo2": "missing"}


def test_a_child_gets_no_score_and_no_alarm():
    bedside = Bedside(delay_s=0)
    bedside.subject = Subject("pt-1", (bedside.device,), excluded="NEWS2 is not for patients under 16")
    bedside.reads(**WORSE)
    bedside.pass_seconds(20)
    assert bedside.events() == []
    assert bedside.warning.newest("pt-1").score is None
    assert "under 16" in bedside.warning.newest("pt-1").excluded


def test_the_history_holds_one_entry_a_change():
    bedside = Bedside()
    bedside.chart(**CHART)
    for values in (WELL, WELL, ILL, WELL):
        bedside.reads(**values)
        bedside.pass_seconds(20)
    totals = [one.score.total for one in bedside.warning.recent("pt-1")]
    assert totals == [0, 5, 0]


def test_scale_two_is_used_only_where_the_record_says_so():
    bedside = Bedside()
    bedside.reads(**{**WELL, "spo2": 90.0})
    rule = bedside.ward._limits_of(bedside.device).news2
    for scale, points in ((1, 3), (2, 0)):
        subject = Subject("pt-1", (bedside.device,), spo2_scale=scale)
        assert assess(subject, {}, rule, bedside.ward.now_ns).score.scores["spo2"] == points


def test_the_score_ends_with_the_patients_stay():
    bedside = Bedside(delay_s=0)
    bedside.chart(**CHART)
    bedside.reads(**ILL)
    bedside.pass_seconds(10)
    bedside.ward.moves("mon-1", None)
    bedside.ward.tick()
    assert [event for event, _, _ in bedside.events()] == ["start", "end"]
    bedside.warning.sweep([], {}, bedside.ward.now_ns)
    assert bedside.warning.newest("pt-1") is None
