from collections import Counter

import pytest

from hub.api.fhir import whose
from hub.api.fhir.whose import Whose
from hub.ward.registry import Registry
from hub.ward.wardfile import parse
from tests.fhir_hub import MINUTE, NOW, SECOND, WARD

DAY = 24 * 60 * MINUTE


class Asked:
    """A registry, and how often its database is asked."""

    def __init__(self, registry):
        self._registry = registry
        self.times = Counter()

    def __getattr__(self, name):
        found = getattr(self._registry, name)
        if name in ("placements", "stays", "device_periods_of_patient"):
            self.times["asked"] += 1
        return found


@pytest.fixture
async def registry(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path / 'registry.sqlite'}", lambda: NOW)
    await registry.start()
    await registry.seed(parse(WARD, "ward.toml"))
    yield registry
    await registry.stop()


@pytest.fixture
def asked(registry):
    return Asked(registry)


async def admit(registry, name="Ann", bed="icu-01", since_ns=NOW - 60 * MINUTE):
    who = await registry.add_patient(name, [], None)
    await registry.admit(who, "main", bed, since_ns)
    return who


def told(spans):
    return [
        (span.device, span.start_ns, span.end_ns, span.attribution.patient, span.attribution.encounter)
        for span in spans
    ]


async def test_a_second_question_is_answered_from_memory_until_something_changes(registry, asked):
    ann = await admit(registry)
    kept = Whose(asked)
    first = await kept.of_device("main", "mon-1", NOW - 90 * MINUTE, NOW)
    assert [span.attribution.patient for span in first] == [None, ann]
    assert first[0].end_ns == first[1].start_ns == NOW - 60 * MINUTE
    once = asked.times["asked"]
    later = await kept.of_device("main", "mon-1", NOW - 30 * MINUTE, NOW + MINUTE)
    assert told(later) == [("mon-1", NOW - 30 * MINUTE, NOW + MINUTE, ann, first[1].attribution.encounter)]
    assert (await kept.at("main", "mon-1", NOW)).patient == ann
    assert asked.times["asked"] == once
    await registry.discharge(ann, NOW - MINUTE)
    assert (await kept.at("main", "mon-1", NOW)).patient is None
    assert (await kept.at("main", "mon-1", NOW - 2 * MINUTE)).patient == ann
    assert asked.times["asked"] > once


async def test_what_lies_before_what_is_known_is_asked_for(registry, asked):
    ann = await admit(registry, since_ns=NOW - 3 * DAY)
    kept = Whose(asked)
    assert (await kept.at("main", "mon-1", NOW)).patient == ann
    assert (await kept.at("main", "mon-1", NOW - 2 * DAY)).patient == ann
    assert (await kept.at("main", "mon-1", NOW - 4 * DAY)).patient is None
    once = asked.times["asked"]
    assert (await kept.at("main", "mon-1", NOW)).patient == ann
    assert asked.times["asked"] == once


async def test_of_a_patient_is_told_by_device_and_by_encounter(registry, asked):
    ann = await admit(registry, since_ns=NOW - 10 * MINUTE)
    await registry.transfer(ann, "main", "icu-02", NOW - 5 * MINUTE)
    kept = Whose(asked)
    spans = await kept.of_patient(ann, NOW - 8 * MINUTE, NOW - SECOND)
    assert {(span.device, span.start_ns, span.end_ns) for span in spans} == {
        ("mon-1", NOW - 8 * MINUTE, NOW - 5 * MINUTE),
        ("pump-1", NOW - 8 * MINUTE, NOW - 5 * MINUTE),
        ("mon-2", NOW - 5 * MINUTE, NOW - SECOND),
    }
    once = asked.times["asked"]
    assert await kept.of_patient(ann, NOW - 8 * MINUTE, NOW - SECOND) == spans
    assert asked.times["asked"] == once


async def test_what_is_remembered_is_bounded(registry, asked, monkeypatch):
    monkeypatch.setattr(whose, "_MOST", 2)
    kept = Whose(asked)
    for number in range(9):
        assert (await kept.at("main", f"d{number}", NOW)).patient is None
    assert len(kept._devices) <= 2


async def test_what_changed_while_it_was_asked_for_is_not_remembered(registry, asked):
    kept = Whose(asked)
    real = registry.placements

    async def overtaken(*wanted):
        found = await real(*wanted)
        await admit(registry)
        return found

    registry.placements = overtaken
    await kept.at("main", "mon-1", NOW)
    registry.placements = real
    assert (await kept.at("main", "mon-1", NOW)).patient is not None
