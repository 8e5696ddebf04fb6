"""The join of placements and stays against the plainest possible one: asking about every instant."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from hub.ward.model import (
    DevicePeriod,
    Period,
    PlacementEntry,
    StayEntry,
)
from hub.ward.periods import attribute, clip, device_periods, overlap
from hub.ward.snapshot import Rows, take

END = 24
BEDS = ("a", "b")
PATIENTS = ("p", "q")

instants = st.integers(0, END)
ends = st.none() | instants


def _span(from_ns: int, until_ns: int | None) -> set[int]:
    return set(range(from_ns, END + 1 if until_ns is None else until_ns))


@st.composite
def stays(draw: st.DrawFn) -> list[StayEntry]:
    """Stays of two patients in two beds that contradict each other nowhere."""
    kept: list[StayEntry] = []
    for number in range(draw(st.integers(0, 6))):
        stay = StayEntry(
            number,
            "s",
            draw(st.sampled_from(BEDS)),
            draw(st.sampled_from(PATIENTS)),
            draw(instants),
            draw(ends),
        )
        if _span(stay.from_ns, stay.until_ns) and not any(
            (other.bed == stay.bed or other.patient == stay.patient)
            and overlap(other.from_ns, other.until_ns, stay.from_ns, stay.until_ns)
            for other in kept
        ):
            kept.append(stay)
    return kept


@st.composite
def placements(draw: st.DrawFn, device: str = "d") -> list[PlacementEntry]:
    """Placements of one device, at beds and on patients, that contradict each other nowhere."""
    kept: list[PlacementEntry] = []
    for number in range(draw(st.integers(0, 5))):
        bed = draw(st.none() | st.sampled_from(BEDS))
        patient = draw(st.sampled_from(PATIENTS)) if bed is None else None
        placement = PlacementEntry(number, "s", device, bed, patient, draw(instants), draw(ends))
        if _span(placement.from_ns, placement.until_ns) and not any(
            overlap(other.from_ns, other.until_ns, placement.from_ns, placement.until_ns) for other in kept
        ):
            kept.append(placement)
    return kept


def whose(
    placed: list[PlacementEntry], stayed: list[StayEntry], now_ns: int
) -> tuple[str | None, str | None] | None:
    """Bed and patient of the device at one instant; None where it is nowhere."""
    for placement in placed:
        if now_ns in _span(placement.from_ns, placement.until_ns):
            for stay in stayed:
                if now_ns in _span(stay.from_ns, stay.until_ns) and (
                    stay.bed == placement.bed or stay.patient == placement.patient
                ):
                    return stay.bed, stay.patient
            return placement.bed, placement.patient
    return None


@given(instants, ends, instants, ends)
def test_two_periods_overlap_where_they_share_an_instant(
    a: int, b: int | None, c: int, d: int | None
) -> None:
    one, two = _span(a, b), _span(c, d)
    if one and two:
        assert overlap(a, b, c, d) == bool(one & two)


@given(instants, ends, instants, instants)
def test_a_clipped_period_holds_the_instants_of_both(a: int, b: int | None, start: int, end: int) -> None:
    clipped = clip(a, b, start, end)
    assert set(range(*clipped) if clipped else ()) == _span(a, b) & set(range(start, end))


@given(placements(), stays(), instants, instants)
def test_each_instant_of_a_device_belongs_to_who_was_there(
    placed: list[PlacementEntry], stayed: list[StayEntry], start: int, end: int
) -> None:
    periods = attribute(placed, stayed, start, end)
    found = {
        instant: (period.bed, period.patient)
        for period in periods
        for instant in range(period.start_ns, period.end_ns)
    }
    assert sum(period.end_ns - period.start_ns for period in periods) == len(found)
    assert found == {
        instant: place
        for instant in range(start, end)
        if (place := whose(placed, stayed, instant)) is not None
    }
    assert periods == sorted(periods, key=lambda period: period.start_ns)


@given(placements("d"), placements("e"), stays(), instants, instants)
def test_the_periods_of_a_patient_and_of_a_bed_are_the_devices_turned_round(
    one: list[PlacementEntry], two: list[PlacementEntry], stayed: list[StayEntry], start: int, end: int
) -> None:
    def instants_of(periods: list[DevicePeriod]) -> list[tuple[str, int]]:
        return [
            (period.device, instant)
            for period in periods
            for instant in range(period.start_ns, period.end_ns)
        ]

    there = [
        (device, instant, place)
        for device, placed in (("d", one), ("e", two))
        for instant in range(start, end)
        if (place := whose(placed, stayed, instant)) is not None
    ]
    for patient in PATIENTS:
        own = [stay for stay in stayed if stay.patient == patient]
        periods = device_periods([*two, *one], own, start, end, patient=patient)
        assert instants_of(periods) == [(device, at) for device, at, place in there if place[1] == patient]
    for bed in BEDS:
        inside = [stay for stay in stayed if stay.bed == bed]
        periods = device_periods([*two, *one], inside, start, end, bed=bed)
        assert instants_of(periods) == [(device, at) for device, at, place in there if place[0] == bed]
        # One period as long as the device stays, whoever is in the bed.
        touching = [(a, b) for a, b in pairwise(periods) if (a.device, a.end_ns) == (b.device, b.start_ns)]
        assert touching == []


@given(placements("d"), placements("e"), stays(), instants)
def test_what_is_in_memory_agrees_with_the_history(
    one: list[PlacementEntry], two: list[PlacementEntry], stayed: list[StayEntry], now_ns: int
) -> None:
    rows = Rows(
        1,
        [("s", bed, "ward") for bed in BEDS],
        {},
        [*one, *two],
        stayed,
        {"q": "neonatal"},
    )
    for instant in range(now_ns, END + 1):
        snapshot = take(rows, instant)
        for device, placed in (("d", one), ("e", two)):
            placement = snapshot.placement("s", device)
            place = whose(placed, stayed, instant)
            assert (placement.bed, placement.patient) == (place or (None, None))
            assert placement.ward == (None if placement.bed is None else "ward")
            assert placement.age_group == ("neonatal" if placement.patient == "q" else "adult")
            assert [bed.bed for bed in snapshot.beds if device in bed.devices] == (
                [placement.bed] if placement.bed else []
            )
        for bed in snapshot.beds:
            there = [
                s.patient for s in stayed if s.bed == bed.bed and instant in _span(s.from_ns, s.until_ns)
            ]
            assert [bed.patient] == (there or [None])
        if instant + 1 < snapshot.changes_ns:
            later = take(rows, instant + 1)
            assert (later.placements, later.beds) == (snapshot.placements, snapshot.beds)


def test_a_reading_at_the_instant_of_a_transfer_belongs_to_the_next_patient() -> None:
    placed = [PlacementEntry(1, "s", "d", "a", None, 0, None)]
    stayed = [StayEntry(1, "s", "a", "p", 10, 20), StayEntry(2, "s", "a", "q", 20, None)]
    assert attribute(placed, stayed, 19, 21) == [Period(19, 20, "a", "p"), Period(20, 21, "a", "q")]


def test_a_stay_at_another_site_is_not_joined() -> None:
    placed = [
        PlacementEntry(1, "s", "d", "a", None, 0, None),
        PlacementEntry(2, "s", "e", None, "p", 0, None),
    ]
    stayed = [StayEntry(1, "elsewhere", "a", "p", 0, None)]
    assert attribute(placed[:1], stayed, 0, 5) == [Period(0, 5, "a", None)]
    assert attribute(placed[1:], stayed, 0, 5) == [Period(0, 5, None, "p")]
    snapshot = take(Rows(1, [("s", "a", "w"), ("elsewhere", "a", "w")], {}, placed, stayed, {}), 1)
    assert snapshot.placement("s", "d").patient is None
    assert (snapshot.placement("s", "e").bed, snapshot.placement("s", "e").patient) == (None, "p")
