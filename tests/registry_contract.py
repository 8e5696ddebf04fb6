"""What the registry promises, whatever database is behind it: run on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, inspect, select

from hub.ward.database import parse_url
from hub.ward.model import (
    FOREVER,
    BedEntry,
    DevicePeriod,
    Identifier,
    NotInRegistry,
    PatientChange,
    Period,
    PeriodChange,
    Placement,
    PlacementConflict,
    RegistryRefused,
)
from hub.ward.registry import Registry
from hub.ward.tables import Base
from hub.ward.wardfile import WardFile, parse

SECOND = 1_000_000_000
START = int(datetime(2026, 11, 24, tzinfo=UTC).timestamp()) * SECOND
"""When the clock of these tests begins."""
NAME = "Zacharias Quillfeather"
NUMBER = "MRN-774411"


class Clock:
    def __init__(self) -> None:
        self.now_ns = START

    def __call__(self) -> int:
        return self.now_ns


def ward_file(**more: object) -> WardFile:
    return parse(
        {
            "site": {"id": "main"},
            "ward": [
                {"id": "icu", "name": "Intensive care", "beds": ["icu-1", "icu-2"], "area": "north"},
                {"id": "med", "beds": ["med-1"]},
            ],
            "zone": [{"id": "room-4", "ward": "med", "beds": ["med-1"]}],
            "device": [
                {"id": "mon-1", "definition": "native", "bed": "icu-1", "interval_s": 1},
                {"id": "mon-2", "definition": "native", "bed": "icu-2"},
                {"id": "patch", "definition": "native", "area": "north", "gateway": "gw-1"},
            ],
            **more,
        },
        "ward.toml",
    )


def everything(url: str) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables."""
    engine = create_engine(parse_url(url))
    try:
        with engine.connect() as connection:
            return {
                table.name: [
                    tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))
                ]
                for table in Base.metadata.sorted_tables
                if table.name != "revision"
            }
    finally:
        engine.dispose()


class RegistryContract:
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    async def registry(self, url: str, clock: Clock) -> AsyncIterator[Registry]:
        registry = Registry(url, clock)
        await registry.start()
        await registry.seed(ward_file())
        yield registry
        await registry.stop()

    @pytest.fixture
    async def other(self, url: str, registry: Registry, clock: Clock) -> AsyncIterator[Registry]:
        """A second hub, or the command line, on the same database."""
        other = Registry(url, clock)
        await other.start()
        yield other
        await other.stop()

    # Seeding.

    async def test_a_seeded_device_is_at_its_bed(self, registry: Registry) -> None:
        assert registry.placement("main", "mon-1") == Placement("icu", "icu-1", None)
        assert registry.placement("main", "patch") == Placement(None, None, None)
        assert registry.placement("elsewhere", "mon-1") == Placement(None, None, None)
        assert registry.beds() == [
            BedEntry("main", "icu", "icu-1", None, ("mon-1",)),
            BedEntry("main", "icu", "icu-2", None, ("mon-2",)),
            BedEntry("main", "med", "med-1", None, ()),
        ]
        device = registry.device("main", "mon-1")
        assert device is not None
        assert (device.area, device.interval_s, device.registered) == ("north", 1.0, True)
        assert [(ward.id, ward.name, ward.area, ward.beds) for ward in await registry.wards()] == [
            ("icu", "Intensive care", "north", ("icu-1", "icu-2")),
            ("med", "med", "med", ("med-1",)),
        ]

    async def test_seeding_again_changes_nothing(self, registry: Registry, url: str, clock: Clock) -> None:
        file = ward_file(patient=[{"name": NAME, "identifier": NUMBER, "bed": "icu-1"}])
        await registry.seed(file)
        before = everything(url)
        assert [row[1] for row in before["patient"]] == [NAME]
        clock.now_ns += 3600 * SECOND
        await registry.seed(file)
        assert everything(url) == before

    async def test_a_ward_file_moves_nothing_that_a_person_moved(self, registry: Registry) -> None:
        await registry.move_device("main", "mon-1", START, bed="med-1")
        await registry.seed(ward_file())
        assert registry.placement("main", "mon-1").bed == "med-1"
        await registry.remove_device("main", "mon-1", START + SECOND)
        await registry.seed(ward_file())
        assert len(await registry.device_placements("main", "mon-1")) == 2

    # Unknown devices.

    async def test_an_unknown_device_is_kept_as_unassigned_and_reads_nobody(
        self, registry: Registry, clock: Clock
    ) -> None:
        topic = "wards/v1/main/icu/stranger/observations"
        assert await registry.knock("main", "stranger", "native", "icu", topic)
        clock.now_ns += SECOND
        assert await registry.knock("main", "stranger", "native", "icu", topic)
        [entry] = await registry.unassigned()
        assert (entry.id, entry.registered, entry.first_seen_ns, entry.last_topic) == (
            "stranger",
            False,
            START,
            topic,
        )
        assert registry.placement("main", "stranger") == Placement(None, None, None)
        assert await registry.placements("main", "stranger", 0, FOREVER) == []

    async def test_a_knock_does_not_change_how_a_registered_device_is_provisioned(
        self, registry: Registry
    ) -> None:
        await registry.knock("main", "mon-1", "some-other", "south", "a/topic")
        device = registry.device("main", "mon-1")
        assert device is not None
        assert (device.definition, device.area, device.first_seen_ns) == ("native", "north", START)
        assert await registry.unassigned() == []

    async def test_a_knock_of_what_is_no_id_keeps_nothing(self, registry: Registry) -> None:
        for device in ("", "with space", "nul\0", "\ud800", "x" * 129, "ü"):
            assert not await registry.knock("main", device, "native", "icu", "t")
        assert await registry.knock("main", "AC:23:3F:A0", "native", "icu", "topic\0with a zero byte")
        assert [device.id for device in await registry.unassigned()] == ["AC:23:3F:A0"]

    async def test_unknown_devices_are_kept_up_to_a_bound(
        self, registry: Registry, other: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hub.ward.registry.UNASSIGNED_LIMIT", 2)
        kept = [await registry.knock("main", f"x-{n}", "native", "icu", "t") for n in range(4)]
        assert kept == [True, True, False, False]
        assert await registry.knock("main", "mon-1", "native", "icu", "t")

    async def test_devices_that_knock_together_are_kept_together_up_to_the_bound(
        self, registry: Registry, other: Registry, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("hub.ward.registry.UNASSIGNED_LIMIT", 2)
        names = ["x-1", "x-1", "no id", "x-2", "mon-1", "x-3"]
        assert await registry.knock_all([("main", name, "native", "icu", "t") for name in names]) == 4
        assert [device.id for device in await registry.unassigned()] == ["x-1", "x-2"]
        assert registry.device("main", "mon-1").first_seen_ns is not None

    async def test_placing_an_unassigned_device_registers_it(self, registry: Registry) -> None:
        await registry.knock("main", "stranger", "native", "icu", "t")
        await registry.place_device("main", "stranger", START, bed="icu-2")
        assert registry.placement("main", "stranger").bed == "icu-2"
        assert await registry.unassigned() == []

    # Who had this device when.

    async def test_the_next_patient_in_the_bed_inherits_nothing(self, registry: Registry) -> None:
        first = await registry.add_patient("First")
        second = await registry.add_patient("Second", age_group="paediatric")
        await registry.admit(first, "main", "icu-1", START - 100)
        await registry.discharge(first, START - 40)
        assert registry.placement("main", "mon-1").patient is None
        await registry.admit(second, "main", "icu-1", START - 20)
        assert registry.placement("main", "mon-1") == Placement(
            "icu", "icu-1", second, "paediatric", START - 20
        )
        assert await registry.placements("main", "mon-1", START - 200, START) == [
            Period(START - 200, START - 100, "icu-1", None),
            Period(START - 100, START - 40, "icu-1", first),
            Period(START - 40, START - 20, "icu-1", None),
            Period(START - 20, START, "icu-1", second),
        ]
        assert await registry.device_periods_of_patient(first, 0, START) == [
            DevicePeriod("main", "mon-1", START - 100, START - 40)
        ]
        assert await registry.device_periods_of_patient(second, 0, START) == [
            DevicePeriod("main", "mon-1", START - 20, START)
        ]

    async def test_a_device_on_a_patient_goes_with_the_patient(self, registry: Registry) -> None:
        patient = await registry.add_patient("Walker")
        await registry.admit(patient, "main", "icu-1", START - 100)
        await registry.place_device("main", "patch", START - 90, patient=patient)
        assert registry.placement("main", "patch") == Placement("icu", "icu-1", patient, since_ns=START - 90)
        await registry.transfer(patient, "main", "med-1", START - 50)
        assert registry.placement("main", "patch") == Placement("med", "med-1", patient, since_ns=START - 90)
        assert registry.beds()[2] == BedEntry("main", "med", "med-1", patient, ("patch",))
        assert (await registry.patient(patient)).bed == "med-1"
        await registry.discharge(patient, START - 10)
        assert registry.placement("main", "patch") == Placement(None, None, patient, since_ns=START - 90)
        assert await registry.placements("main", "patch", 0, START) == [
            Period(START - 90, START - 50, "icu-1", patient),
            Period(START - 50, START - 10, "med-1", patient),
            Period(START - 10, START, None, patient),
        ]
        assert await registry.device_periods_of_bed("main", "med-1", 0, START) == [
            DevicePeriod("main", "patch", START - 50, START - 10)
        ]
        assert await registry.device_periods_of_bed("main", "icu-1", START - 60, START) == [
            DevicePeriod("main", "mon-1", START - 60, START),
            DevicePeriod("main", "patch", START - 60, START - 50),
        ]

    async def test_a_device_that_comes_to_a_bed_reads_its_patient_from_then_on(
        self, registry: Registry
    ) -> None:
        patient = await registry.add_patient("Here for long")
        await registry.admit(patient, "main", "icu-1", START - 100)
        await registry.add_device("main", "carried", "native", "icu")
        await registry.place_device("main", "carried", START - 30, bed="med-1")
        assert registry.placement("main", "carried") == Placement("med", "med-1", None, since_ns=START - 30)
        await registry.move_device("main", "carried", START - 20, bed="icu-1")
        there = registry.placement("main", "carried")
        assert there == Placement("icu", "icu-1", patient, since_ns=START - 20)

    async def test_a_planned_admission_takes_effect_when_it_is_due(
        self, registry: Registry, clock: Clock
    ) -> None:
        patient = await registry.add_patient("Planned")
        await registry.admit(patient, "main", "icu-1", START + 10, START + 20)
        version = registry.version
        registry.refresh(START + 9)
        assert (registry.placement("main", "mon-1").patient, registry.version) == (None, version)
        registry.refresh(START + 10)
        assert registry.placement("main", "mon-1").patient == patient
        assert registry.version > version
        registry.refresh(START + 20)
        assert registry.placement("main", "mon-1").patient is None

    # Corrections.

    async def test_a_corrected_placement_corrects_history(self, registry: Registry) -> None:
        patient = await registry.add_patient("Correct")
        await registry.admit(patient, "main", "icu-2", START - 100)
        period = await registry.place_device("main", "patch", START - 100, bed="med-1")
        assert await registry.device_periods_of_patient(patient, 0, START) == [
            DevicePeriod("main", "mon-2", START - 100, START)
        ]
        await registry.correct_period(
            "placement",
            period,
            PeriodChange(bed="icu-2", from_ns=START - 80),
            who="nurse 7",
            why="entered at the wrong bed",
        )
        assert await registry.device_periods_of_patient(patient, 0, START) == [
            DevicePeriod("main", "mon-2", START - 100, START),
            DevicePeriod("main", "patch", START - 80, START),
        ]
        [record] = await registry.corrections("placement", period)
        assert (record.who, record.why, record.at_ns) == ("nurse 7", "entered at the wrong bed", START)
        assert record.before == ("med-1", None, START - 100, None)
        assert record.after == ("icu-2", None, START - 80, None)

    async def test_two_patients_who_were_mixed_up_are_put_right_in_one_step(self, registry: Registry) -> None:
        one, two = await registry.add_patient("One"), await registry.add_patient("Two")
        stay_one = await registry.admit(one, "main", "icu-1", START - 100)
        stay_two = await registry.admit(two, "main", "icu-2", START - 100)
        swap = PeriodChange(bed="icu-2"), PeriodChange(bed="icu-1")
        with pytest.raises(PlacementConflict):
            await registry.correct_period("stay", stay_one, swap[0], who="n", why="mixed up")
        await registry.correct_periods(
            [("stay", stay_one, swap[0]), ("stay", stay_two, swap[1])], who="n", why="mixed up"
        )
        assert registry.placement("main", "mon-1").patient == two
        assert registry.placement("main", "mon-2").patient == one

    async def test_a_period_that_never_was_is_struck_out_and_the_record_stays(
        self, registry: Registry
    ) -> None:
        patient = await registry.add_patient("Elsewhere")
        stay = await registry.admit(patient, "main", "icu-1", START - 100)
        await registry.strike_out("stay", stay, who="nurse 7", why="wrong patient")
        assert await registry.stays(patient) == []
        assert await registry.placements("main", "mon-1", START - 5, START) == [
            Period(START - 5, START, "icu-1", None)
        ]
        [record] = await registry.corrections("stay", stay)
        assert (record.before, record.after) == (("icu-1", patient, START - 100, None), None)

    async def test_a_correction_says_who_and_why(self, registry: Registry) -> None:
        patient = await registry.add_patient("Someone")
        stay = await registry.admit(patient, "main", "icu-1", START)
        with pytest.raises(RegistryRefused, match="who makes it and why"):
            await registry.strike_out("stay", stay, who="nurse 7", why=" ")

    # What is refused.

    async def test_periods_never_overlap(self, registry: Registry, url: str) -> None:
        one, two = await registry.add_patient("One"), await registry.add_patient("Two")
        await registry.admit(one, "main", "icu-1", START)
        before = everything(url)
        with pytest.raises(PlacementConflict, match=f"patient {one} is in bed icu-1"):
            await registry.admit(two, "main", "icu-1", START + 5)
        with pytest.raises(PlacementConflict, match=f"patient {one} is in bed icu-1"):
            await registry.admit(one, "main", "icu-2", START - 5, START + 1)
        with pytest.raises(
            PlacementConflict, match=r"device mon-1 is at bed icu-1 from .* until further notice"
        ):
            await registry.place_device("main", "mon-1", START, bed="icu-2")
        assert everything(url) == before
        await registry.admit(two, "main", "icu-1", START - 5, START)
        assert registry.placement("main", "mon-1").patient == one

    async def test_what_is_not_there_is_named(self, registry: Registry) -> None:
        patient = await registry.add_patient("Someone")
        attempts: list[tuple[Callable[[], object], str]] = [
            (lambda: registry.admit(patient, "main", "icu-9", START), "no bed icu-9"),
            (lambda: registry.admit("pt-000000000000", "main", "icu-1", START), "no patient pt-000000000000"),
            (lambda: registry.place_device("main", "nil", START, bed="icu-1"), "no device nil"),
            (lambda: registry.discharge(patient, START), "in no bed"),
            (lambda: registry.remove_device("main", "patch", START), "placed nowhere"),
            (lambda: registry.patient("pt-0"), "no patient pt-0"),
            (lambda: registry.strike_out("stay", 99, who="n", why="w"), "no stay 99"),
            (lambda: registry.erase_patient("pt-0"), "no patient pt-0"),
            (lambda: registry.finish_erasure(patient, []), "nobody asked"),
        ]
        for attempt, message in attempts:
            with pytest.raises(NotInRegistry, match=message):
                await attempt()

    async def test_a_period_ends_after_it_begins(self, registry: Registry) -> None:
        patient = await registry.add_patient("Someone")
        with pytest.raises(RegistryRefused, match="ends after it begins"):
            await registry.admit(patient, "main", "icu-1", START, START)
        stay = await registry.admit(patient, "main", "icu-1", START)
        with pytest.raises(RegistryRefused, match=f"strike out stay {stay}"):
            await registry.discharge(patient, START)
        with pytest.raises(RegistryRefused, match="one of them"):
            await registry.place_device("main", "patch", START, bed="icu-1", patient=patient)

    async def test_a_number_belongs_to_one_patient_and_the_refusal_does_not_quote_it(
        self, registry: Registry
    ) -> None:
        first = await registry.add_patient(NAME, [Identifier(NUMBER)])
        with pytest.raises(RegistryRefused, match=f"already that of patient {first}") as refused:
            await registry.add_patient("Another", [Identifier(NUMBER)])
        assert NUMBER not in str(refused.value)
        assert len(await registry.patients()) == 1

    async def test_what_the_database_itself_refuses_is_told_without_the_row(self, registry: Registry) -> None:
        with pytest.raises(RegistryRefused) as refused:
            await registry.add_patient(NAME, [Identifier(NUMBER)], spo2_scale=3)
        assert NAME not in str(refused.value)
        assert refused.value.__cause__ is None

    # Patients.

    async def test_a_patient_is_kept_under_a_surrogate_id(self, registry: Registry) -> None:
        patient = await registry.add_patient(
            NAME, [Identifier(NUMBER)], date(1950, 2, 3), pregnant=False, spo2_scale=2
        )
        assert patient.startswith("pt-")
        assert len(patient) == 15
        entry = await registry.patient(patient)
        assert (entry.name, entry.identifiers, entry.birth_date, entry.spo2_scale) == (
            NAME,
            (Identifier(NUMBER),),
            date(1950, 2, 3),
            2,
        )
        assert NAME not in repr(entry)
        assert NUMBER not in repr(entry.identifiers)

    async def test_a_changed_patient_is_changed_in_the_line_too(self, registry: Registry) -> None:
        patient = await registry.add_patient(NAME, [Identifier(NUMBER)])
        await registry.admit(patient, "main", "icu-1", START)
        await registry.update_patient(
            patient, PatientChange(age_group="neonatal", identifiers=(Identifier("2", "ehr"),))
        )
        assert registry.placement("main", "mon-1").age_group == "neonatal"
        entry = await registry.patient(patient)
        assert (entry.name, entry.identifiers, entry.bed) == (NAME, (Identifier("2", "ehr"),), "icu-1")

    # Erasure.

    async def test_an_erasure_that_a_crash_cut_short_is_finished_after_the_restart(
        self, registry: Registry, url: str, clock: Clock
    ) -> None:
        patient = await registry.add_patient(NAME, [Identifier(NUMBER)])
        stay = await registry.admit(patient, "main", "icu-1", START - 100)
        await registry.correct_period(
            "stay", stay, PeriodChange(from_ns=START - 90), who="n", why=f"was {NAME}"
        )
        await registry.discharge(patient, START - 50)
        periods = await registry.erase_patient(patient)
        assert periods == [DevicePeriod("main", "mon-1", START - 90, START - 50)]
        assert (await registry.patient(patient)).erasing
        await registry.stop()

        again = Registry(url, clock)
        await again.start()
        assert await again.unfinished_erasures() == {patient: periods}
        assert await again.erase_patient(patient) == periods
        await again.finish_erasure(patient, periods)
        await again.finish_erasure(patient, periods)
        assert await again.unfinished_erasures() == {}
        with pytest.raises(NotInRegistry):
            await again.patient(patient)
        await again.stop()
        left = everything(url)
        assert left["erasure"] == [(patient, START, START)]
        assert (left["patient"], left["patient_identifier"], left["stay"], left["placement_change"]) == (
            [],
            [],
            [],
            [],
        )

    async def test_a_patient_who_is_still_here_is_not_erased(self, registry: Registry) -> None:
        patient = await registry.add_patient(NAME)
        await registry.admit(patient, "main", "icu-1", START - 100)
        await registry.place_device("main", "patch", START - 100, patient=patient)
        with pytest.raises(RegistryRefused, match="still has bed icu-1"):
            await registry.erase_patient(patient)
        await registry.discharge(patient, START)
        with pytest.raises(RegistryRefused, match="still has device patch"):
            await registry.erase_patient(patient)
        assert await registry.unfinished_erasures() == {}

    async def test_nothing_is_entered_about_a_patient_who_is_being_erased(self, registry: Registry) -> None:
        patient = await registry.add_patient(NAME)
        stay = await registry.admit(patient, "main", "icu-1", START - 100, START - 50)
        await registry.erase_patient(patient)
        for attempt in (
            lambda: registry.admit(patient, "main", "icu-1", START),
            lambda: registry.place_device("main", "patch", START, patient=patient),
            lambda: registry.update_patient(patient, PatientChange(pregnant=True)),
            lambda: registry.correct_period("stay", stay, PeriodChange(from_ns=0), who="n", why="w"),
        ):
            with pytest.raises(RegistryRefused, match="is being erased"):
                await attempt()

    async def test_a_placement_corrected_during_an_erasure_makes_it_ask_again(
        self, registry: Registry
    ) -> None:
        patient = await registry.add_patient(NAME)
        await registry.admit(patient, "main", "icu-1", START - 100, START - 50)
        periods = await registry.erase_patient(patient)
        await registry.place_device("main", "patch", START - 100, bed="icu-1")
        with pytest.raises(RegistryRefused, match="ask again"):
            await registry.finish_erasure(patient, periods)
        await registry.finish_erasure(patient, await registry.erase_patient(patient))

    async def test_a_ward_file_does_not_bring_an_erased_patient_back(self, registry: Registry) -> None:
        file = ward_file(
            patient=[{"name": NAME, "identifier": NUMBER, "bed": "icu-1", "since": "2026-01-01T00:00:00Z"}]
        )
        await registry.seed(file)
        [entry] = await registry.patients()
        await registry.discharge(entry.id, START)
        await registry.finish_erasure(entry.id, await registry.erase_patient(entry.id))
        await registry.seed(file)
        assert await registry.patients() == []

    # Several processes.

    async def test_another_process_follows(self, registry: Registry, other: Registry) -> None:
        patient = await registry.add_patient("Someone")
        await registry.admit(patient, "main", "icu-1", START)
        assert other.placement("main", "mon-1").patient is None
        await other.follow()
        assert other.placement("main", "mon-1").patient == patient
        version = other.version
        await other.follow()
        assert other.version == version

    async def test_of_two_who_give_away_one_bed_at_once_one_is_refused(
        self, registry: Registry, other: Registry
    ) -> None:
        patients = [await registry.add_patient(f"Patient {n}") for n in range(8)]
        outcomes = await asyncio.gather(
            *(
                (registry, other)[n % 2].admit(patient, "main", "icu-1", START + n)
                for n, patient in enumerate(patients)
            ),
            return_exceptions=True,
        )
        refused = [outcome for outcome in outcomes if isinstance(outcome, PlacementConflict)]
        assert len(refused) == len(patients) - 1
        assert len(await registry.stays_in_bed("main", "icu-1")) == 1

    async def test_two_hubs_that_start_at_once_on_an_empty_database_both_work(self, url: str) -> None:
        hubs = [Registry(url) for _ in range(3)]
        await asyncio.gather(*(hub.start() for hub in hubs))
        await asyncio.gather(*(hub.seed(ward_file()) for hub in hubs))
        for hub in hubs:
            await hub.follow()
            assert hub.placement("main", "mon-1").bed == "icu-1"
            await hub.stop()

    # Migrations.

    async def test_migrations_make_exactly_what_the_tables_say(self, registry: Registry, url: str) -> None:
        engine = create_engine(parse_url(url))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            assert compare_metadata(context, Base.metadata) == []
            checks = {
                table.name: {check["name"] for check in inspect(connection).get_check_constraints(table.name)}
                for table in Base.metadata.sorted_tables
            }
        engine.dispose()
        assert checks["placement"] == {"ck_placement_order", "ck_placement_one_place"}
        assert checks["stay"] == {"ck_stay_order"}
        assert checks["patient"] == {"ck_patient_age_group", "ck_patient_spo2_scale"}
        assert checks["token"] == {"ck_token_role"}
        assert checks["placement_change"] == {"ck_placement_change_kind"}
