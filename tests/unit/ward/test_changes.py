"""Any sequence of changes, refused ones included, against a plain list of periods."""

from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from hub.ward import changes, queries
from hub.ward.model import FOREVER, NotInRegistry, Period, PeriodChange, RegistryRefused
from hub.ward.seed import seed
from hub.ward.tables import Base
from tests.registry_contract import ward_file

END = 30
BEDS = ("icu-1", "icu-2", "med-1")
DEVICES = ("mon-1", "mon-2", "patch")
instants = st.integers(0, END)
ends = st.none() | instants


class Changes(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.engine = create_engine("sqlite://")
        Base.metadata.create_all(self.engine)
        self.session = Session(self.engine)
        seed(self.session, ward_file(), 0)
        for device in ("mon-1", "mon-2"):
            [placed] = queries.device_placements(self.session, "main", device)
            changes.strike_out(self.session, "placement", placed.id, "n", "an empty start", 0)
        self.patients = [changes.add_patient(self.session, f"Patient {n}") for n in range(3)]
        self.session.flush()

    def teardown(self) -> None:
        if hasattr(self, "session"):
            self.session.close()
            self.engine.dispose()

    def attempt(self, change: object, *args: object, **kwargs: object) -> None:
        """A change that is refused changes nothing, as in the registry's own transaction."""
        before = self.periods()
        try:
            with self.session.begin_nested():
                change(self.session, *args, **kwargs)
        except (RegistryRefused, NotInRegistry):
            assert self.periods() == before

    def periods(self) -> list[object]:
        return [stay for patient in self.patients for stay in queries.stays(self.session, patient)] + [
            placed for device in DEVICES for placed in queries.device_placements(self.session, "main", device)
        ]

    @rule(patient=st.integers(0, 2), bed=st.sampled_from(BEDS), at=instants, until=ends)
    def admit(self, patient: int, bed: str, at: int, until: int | None) -> None:
        self.attempt(changes.admit, self.patients[patient], "main", bed, at, until)

    @rule(patient=st.integers(0, 2), at=instants)
    def discharge(self, patient: int, at: int) -> None:
        self.attempt(changes.discharge, self.patients[patient], at)

    @rule(patient=st.integers(0, 2), bed=st.sampled_from(BEDS), at=instants)
    def transfer(self, patient: int, bed: str, at: int) -> None:
        self.attempt(changes.transfer, self.patients[patient], "main", bed, at)

    @rule(device=st.sampled_from(DEVICES), at=instants, bed=st.sampled_from(BEDS), until=ends)
    def place(self, device: str, at: int, bed: str, until: int | None) -> None:
        self.attempt(changes.place_device, "main", device, at, bed=bed, until_ns=until)

    @rule(device=st.sampled_from(DEVICES), at=instants, patient=st.integers(0, 2))
    def move_to_patient(self, device: str, at: int, patient: int) -> None:
        self.attempt(changes.move_device, "main", device, at, patient=self.patients[patient])

    @rule(
        chosen=st.lists(st.tuples(st.integers(0, 9), instants, ends, st.sampled_from(BEDS)), max_size=3),
    )
    def correct(self, chosen: list[tuple[int, int, int | None, str]]) -> None:
        stays = [stay for patient in self.patients for stay in queries.stays(self.session, patient)]
        corrections = [
            ("stay", stays[n].id, PeriodChange(from_ns=at, until_ns=until, bed=bed))
            for n, at, until, bed in chosen
            if n < len(stays)
        ]
        self.attempt(changes.correct, corrections, "n", "w", 0)

    @rule(device=st.sampled_from(DEVICES), number=st.integers(0, 3))
    def strike_out(self, device: str, number: int) -> None:
        placed = queries.device_placements(self.session, "main", device)
        if number < len(placed):
            self.attempt(changes.strike_out, "placement", placed[number].id, "n", "w", 0)

    @invariant()
    def no_instant_has_two_owners(self) -> None:
        if not hasattr(self, "session"):
            return
        stays = [stay for patient in self.patients for stay in queries.stays(self.session, patient)]
        for instant in range(END + 2):
            now = [s for s in stays if s.from_ns <= instant < (FOREVER if s.until_ns is None else s.until_ns)]
            assert len({stay.bed for stay in now}) == len({stay.patient for stay in now}) == len(now)
        for device in DEVICES:
            periods = queries.periods(self.session, "main", device, 0, END)
            for one, two in pairwise(periods):
                assert one.end_ns <= two.start_ns
            assert sorted(self._turned_round(device), key=lambda period: period.start_ns) == [
                period for period in periods if period.patient is not None
            ]

    def _turned_round(self, device: str) -> list[Period]:
        """What the queries by patient say of this device, bed by bed."""
        return [
            Period(max(own.start_ns, at.start_ns), min(own.end_ns, at.end_ns), at.bed, patient)
            for patient in self.patients
            for own in queries.periods_of_patient(self.session, patient, 0, END)
            if own.device == device
            for at in queries.periods(self.session, "main", device, own.start_ns, own.end_ns)
        ]


Changes.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestChanges = Changes.TestCase
