import csv
import json
import math
import tomllib

from hub.alarms.evaluate import ABSENT, evaluate
from hub.alarms.limits import DEFAULTS, limit_set, load_limits
from hub.alarms.replay import Replayed, replay
from hub.alarms.rules import Limit
from hub.clock import SECOND_NS
from hub.model import Reading

T0 = 1_795_488_000 * SECOND_NS
NAMES = {"HR": "heart_rate", "PULSE": "pulse_rate", "RESP": "respiratory_rate", "SpO2": "spo2"}


class MemoryStore:
    def __init__(self, values_by_second) -> None:
        self.rows = [
            Reading("main", "mon-1", "observations", T0 + second * SECOND_NS, 0, 0, 1, values, exceptions)
            for second, (values, exceptions) in enumerate(values_by_second)
        ]

    async def readings(self, site, device, start_ns, end_ns, limit=10_000):
        return [row for row in self.rows if start_ns <= row.time_ns < end_ns][:limit]


def rules(**spo2):
    document = tomllib.loads(DEFAULTS.read_text(encoding="utf-8"))
    document["adult"]["spo2"] |= spo2
    return limit_set(document, "ward.toml")


def adult(limits):
    return lambda _: limits.of("adult")


MONITOR = [Replayed("main", "mon-1", "icu-01", "icu")]


async def test_a_replay_says_how_many_alarms_other_limits_would_have_made():
    dips = [({"spo2": 89.0 if second % 60 < 12 else 96.0}, None) for second in range(3600)]
    store = MemoryStore(dips)
    counts = {}
    for name, changed in (("now", {}), ("88", {"low": 88}), ("delay", {"delay_s": 15})):
        outcome = await replay(store, MONITOR, adult(rules(**changed)), T0, T0 + 3600 * SECOND_NS)
        counts[name] = outcome.figures.alarms
        assert outcome.readings == 3600
    assert counts["now"] > 0
    assert counts["88"] == counts["delay"] == 0


async def test_a_replay_reads_every_page_and_names_what_alarmed():
    store = MemoryStore(
        [({"heart_rate": 130.0 if second >= 12_000 else 80.0}, None) for second in range(25_000)]
    )
    outcome = await replay(store, MONITOR, adult(load_limits()), T0, T0 + 25_000 * SECOND_NS)
    assert outcome.readings == 25_000
    assert outcome.by_condition == {"heart_rate limit_high": 1}
    assert outcome.figures.top_beds[0].name == "icu-01"


def crossings(samples, low, high, consecutive):
    """Count runs of consecutive samples beyond a limit with the evaluator; a gap ends a run."""
    count = 0
    for side, bound in (("low", low), ("high", high)):
        if bound is None:
            continue
        limit = Limit("x", f"limit_{side}", side, bound, "medium", (consecutive - 1) * SECOND_NS, 0)
        state = ABSENT
        for second, value in enumerate(samples):
            if math.isnan(value):
                state = ABSENT
                continue
            before, state = state, evaluate(state, value, T0 + second * SECOND_NS, limit)
            count += state.present and not before.present
    return count


async def test_crossings_of_recorded_patients_equal_the_counts_of_the_facts(recorded):
    facts = json.loads((recorded / "numerics/bidmc_facts.json").read_text())
    compared = 0
    for name, file in facts["files"].items():
        with (recorded / "numerics/bidmc" / name).open() as lines:
            rows = [{key.strip(): cell for key, cell in row.items()} for row in csv.DictReader(lines)]
        for parameter, (low, high) in facts["limits"].items():
            if parameter not in file:
                continue
            samples = [float(row[parameter]) for row in rows]
            fact = file[parameter]
            assert crossings(samples, low, high, 1) == fact["excursions"], (name, parameter)
            assert crossings(samples, low, high, 10) == fact["excursions_ge10s"], (name, parameter)
            compared += 1
    assert compared >= 75
    total = sum(file["RESP"]["excursions"] for file in facts["files"].values())
    assert total > 0


async def test_recorded_patients_alarm_only_where_they_leave_their_limits(recorded):
    facts = json.loads((recorded / "numerics/bidmc_facts.json").read_text())
    for name, file in facts["files"].items():
        with (recorded / "numerics/bidmc" / name).open() as lines:
            rows = [{key.strip(): cell for key, cell in row.items()} for row in csv.DictReader(lines)]
        seconds = []
        for row in rows:
            known = {NAMES[key]: float(row[key]) for key in NAMES if key in row}
            values = {key: value for key, value in known.items() if not math.isnan(value)}
            missing = {key: ("no-value", None) for key in known if key not in values}
            seconds.append((values, missing or None))
        outcome = await replay(MemoryStore(seconds), MONITOR, adult(load_limits()), T0, T0 + 481 * SECOND_NS)
        limits = {key.split()[0] for key in outcome.by_condition if " limit_" in key}
        left = {NAMES[key] for key in NAMES if key in file and file[key]["excursions"]}
        assert limits == left, name
