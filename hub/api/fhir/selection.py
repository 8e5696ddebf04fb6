"""Which Observations a search means: whose, of what, from when."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from msgspec import Struct

from hub.api.fhir import directory
from hub.api.fhir.errors import wrong
from hub.api.fhir.query import Query, TokenText, prefixed, tokens_of
from hub.api.fhir.services import FhirServices
from hub.api.fhir.whose import Span
from hub.fhir.codes import GROUPS, Group, category, concept
from hub.fhir.ids import parts_of, resource_id
from hub.fhir.observation import metric_id
from hub.model import Reading
from hub.vocabulary import PARAMETERS, UCUM_SYSTEM

PARAMETERS_OF_SEARCH: Final = (
    "patient",
    "subject",
    "encounter",
    "device",
    "code",
    "combo-code",
    "component-code",
    "category",
    "status",
    "date",
    "value-quantity",
)
FEWEST: Final = 500
"""Devices that one search may walk: more take a patient, a device or an encounter."""

_BEYOND: Final = -1
"""Stands for the time beyond the newest reading that the hub has heard."""
_DAY_NS: Final = 86_400_000_000_000
_QUANTITY: Final = re.compile(r"-?\d{1,12}(?:\.(\d{1,9}))?(?:[eE][+-]?\d{1,2})?")

Test = Callable[[Reading, Span, Group], bool]


class Selection(Struct, frozen=True):
    """What a search means."""

    spans: list[Span]
    groups: dict[str, Group]
    tests: list[Test]
    """All must hold for one Observation."""
    waveforms: list[str]
    """Waveforms that were asked for by code."""
    of_some: bool
    """Whether groups is not simply all of them."""
    of_devices: bool = False
    """Whether the subject is a device."""
    by_category: bool = False
    patients: tuple[str, ...] = ()
    """Whose, by surrogate id; empty where the search names none."""

    def takes(self, reading: Reading, span: Span, group: Group) -> bool:
        """Tell whether one Observation is meant."""
        return self.possible(span, group.name) and (
            not self.tests or all(test(reading, span, group) for test in self.tests)
        )

    def possible(self, span: Span, name: str) -> bool:
        """Tell whether a group can have an Observation that is meant, in a span."""
        group = self.groups.get(name)
        if group is None:
            return False
        unplaced = group.of_patient and span.attribution.patient is None
        if self.of_devices and group.of_patient and not unplaced:
            return False
        # A vital sign of nobody has no category: it would claim a profile that wants a patient.
        return not (self.by_category and unplaced and group.category == "vital-signs")

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return what to look for in readings; empty for everything."""
        if not self.of_some:
            return ()
        return tuple(member for group in self.groups.values() for member in group.members)


class _Meaning(Struct, frozen=True):
    """What a query means by itself: whoever it is asked by, and whenever."""

    start_ns: int
    end_ns: int
    groups: dict[str, Group]
    """Those without waveforms."""
    tests: list[Test]
    patients: list[str] | None
    """Ids as they were asked for; None where the search names none."""
    asked_by: str
    """The parameter that names the patients."""
    subjects: set[str] | None
    encounters: list[list[str]]
    """One of each list."""
    devices: set[str] | None
    """Ids of Devices that are named, as subject or otherwise; None where none is."""
    waveforms: list[str]
    by_code: bool
    narrowed: bool
    by_category: bool
    nothing: bool
    """Whether no Observation can be meant."""


def _meaning(query: Query) -> _Meaning:
    start_ns, end_ns = query.within("date")
    received = query.within("_lastUpdated")
    if received != (0, 2**62):
        # A determination time is at most 30 days before its receipt and one after it: else receipt counts.
        start_ns, end_ns = max(start_ns, received[0] - 31 * _DAY_NS), min(end_ns, received[1] + 2 * _DAY_NS)
    groups = _groups(query)
    tests: list[Test] = []
    if received != (0, 2**62):
        tests.append(lambda reading, _span, _group: received[0] <= reading.received_ns < received[1])
    tests += [_outside(*hole, "time_ns") for hole in query.without("date")]
    tests += [_outside(*hole, "received_ns") for hole in query.without("_lastUpdated")]
    patients, subjects = _subjects(query)
    if patients is not None:
        groups = {name: group for name, group in groups.items() if group.of_patient}
    encounters = [[text for _, text in choices] for choices in query.references("encounter", "Encounter")]
    devices = subjects
    if patients is None and subjects is None and not encounters:
        devices = _named_devices(query)
    if devices is None or subjects is not None or not _by_device_alone(query):
        tests += _device_tests(query)
    tests += [_quantity_test(texts) for texts in query.every("value-quantity")]
    final = all(any(one.takes(None, "final") for one in choices) for choices in query.tokens("status"))
    waves = [
        name for group in groups.values() for name in group.members if PARAMETERS[name].kind == "waveform"
    ]
    numeric = {
        name: group for name, group in groups.items() if PARAMETERS[group.members[0]].kind != "waveform"
    }
    return _Meaning(
        start_ns,
        end_ns,
        numeric,
        tests,
        None if patients is None else sorted(patients),
        "patient" if query.every("patient") else "subject",
        subjects,
        encounters,
        devices,
        waves,
        by_code=bool(query.tokens("code") or query.tokens("combo-code")),
        narrowed=len(numeric) < sum(PARAMETERS[one.members[0]].kind != "waveform" for one in GROUPS.values()),
        by_category=bool(query.tokens("category")),
        nothing=not final,
    )


async def select(services: FhirServices, query: Query) -> Selection:
    """Work out what a search means."""
    meant = query.once(_meaning)
    # No reading is from further ahead than clocks are trusted.
    start_ns, end_ns = meant.start_ns, min(meant.end_ns, services.now_ns() + _DAY_NS)
    who: tuple[str, ...] = ()
    if meant.patients is not None:
        found = [await directory.patient(services.registry, one, meant.asked_by) for one in meant.patients]
        who = tuple(one.id for one in found)
        spans = [span for one in who for span in await services.whose.of_patient(one, start_ns, end_ns)]
    elif meant.encounters and meant.subjects is None:
        spans = await _of_encounters(services, meant.encounters, start_ns, end_ns)
    else:
        spans = await _of_devices(services, meant.devices, start_ns, end_ns)
    for choices in meant.encounters:
        spans = [span for span in spans if span.attribution.encounter in choices]
    if meant.nothing or start_ns >= end_ns:
        spans = []
    elif not (meant.by_code and meant.waveforms):
        spans = await _parted(services, spans)
    return Selection(
        spans=spans,
        groups=meant.groups,
        tests=meant.tests,
        waveforms=meant.waveforms if meant.by_code else [],
        of_some=meant.narrowed,
        of_devices=meant.subjects is not None,
        by_category=meant.by_category,
        patients=who,
    )


async def _parted(services: FhirServices, spans: Iterable[Span]) -> list[Span]:
    """Cut spans of readings behind the newest that the hub knows of, or behind the present.

    Stores look for the newest from the end of a span on, and there is rarely anything from the future: what
    clocks were wrong about, and is looked for once.
    """
    found = []
    for span in spans:
        record = services.find_device(span.site, span.device)
        newest_ns = max((one.time_ns for one in record.latest.values()), default=0) if record else 0
        cut_ns = newest_ns + 1 if span.start_ns < newest_ns < span.end_ns else services.now_ns()
        if not span.start_ns < cut_ns < span.end_ns:
            found.append(span)
            continue
        found.append(Span(span.site, span.device, span.start_ns, cut_ns, span.attribution))
        # What the hub hears from now on is before the cut: it need not be looked for again each time.
        key = (span.site, span.device, _BEYOND, frozenset[str]())
        if record is not None and services.absence.holds(key, services.now_ns()):
            continue
        if await services.store.readings(span.site, span.device, cut_ns, span.end_ns, 1):
            found.append(Span(span.site, span.device, cut_ns, span.end_ns, span.attribution))
        elif span.end_ns > services.now_ns():
            services.absence.note(key, services.now_ns())
    return found


def _outside(start_ns: int, end_ns: int, name: Literal["time_ns", "received_ns"]) -> Test:
    return lambda reading, _span, _group: not start_ns <= getattr(reading, name) < end_ns


def _groups(query: Query) -> dict[str, Group]:
    groups = dict(GROUPS)
    for name, codings in (
        ("code", _own),
        ("combo-code", lambda group: _own(group) + _of_components(group)),
        ("component-code", _of_components),
    ):
        for choices in query.tokens(name):
            groups = {key: one for key, one in groups.items() if _any(choices, codings(one))}
    for choices in query.tokens("category"):
        groups = {key: one for key, one in groups.items() if _any(choices, tokens_of(category(one.category)))}
    return groups


def _own(group: Group) -> list[tuple[str | None, str | None]]:
    return tokens_of(group.code)


def _of_components(group: Group) -> list[tuple[str | None, str | None]]:
    if not group.is_panel:
        return []
    return [one for member in group.members for one in tokens_of(concept(PARAMETERS[member]))]


def _any(choices: Iterable[TokenText], codings: Iterable[tuple[str | None, str | None]]) -> bool:
    found = list(codings)
    return any(choice.takes(system, code) for choice in choices for system, code in found)


async def _of_devices(
    services: FhirServices, named: set[str] | None, start_ns: int, end_ns: int
) -> list[Span]:
    """Return the spans of devices, by Device id; of every device where none is named."""
    if named is None:
        entries = await services.registry.devices()
        if len(entries) > FEWEST:
            text = "this asks for every device of the hub: give patient, subject, encounter or device"
            raise wrong("too-costly", text, "patient", status=403)
    else:
        found = [await directory.device(services.registry, text) for text in sorted(named)]
        entries = [entry for entry in found if entry is not None]
    spans: list[Span] = []
    for entry in entries:
        spans += await services.whose.of_device(entry.site, entry.id, start_ns, end_ns)
    return spans


def _subjects(query: Query) -> tuple[set[str] | None, set[str] | None]:
    """Return the Patient ids and the Device ids that are asked for; None where none is."""
    patients: set[str] | None = None
    devices: set[str] | None = None
    every = [
        *query.references("patient", "Patient"),
        *query.references("subject", "Patient", "Device"),
    ]
    for choices in every:
        of_patients = {text for kind, text in choices if kind == "Patient"}
        of_devices = {text for kind, text in choices if kind == "Device"}
        if of_patients and of_devices:
            raise wrong("not-supported", "patients and devices can't be mixed in one search", "subject")
        if of_patients:
            patients = of_patients if patients is None else patients & of_patients
        if of_devices:
            devices = of_devices if devices is None else devices & of_devices
    if patients is not None and devices is not None:
        return set(), None
    return patients, devices


async def _of_encounters(
    services: FhirServices, named: Iterable[Iterable[str]], start_ns: int, end_ns: int
) -> list[Span]:
    found: list[Span] = []
    for text in sorted({one for choices in named for one in choices}):
        chain = await directory.encounter(services.registry, text, "encounter")
        begin_ns = max(start_ns, chain.start_ns)
        until_ns = end_ns if chain.end_ns is None else min(end_ns, chain.end_ns)
        if begin_ns < until_ns:
            found += await services.whose.of_patient(chain.patient, begin_ns, until_ns)
    return found


def _named_devices(query: Query) -> set[str] | None:
    """Return the Device ids of what is asked for; None where the search names none."""
    named: set[str] | None = None
    for choices in query.references("device", "DeviceMetric", "Device"):
        found = set()
        for kind, text in choices:
            parts = parts_of(text) or ()
            if kind == "Device":
                found.add(text)
            elif len(parts) > 2:
                found.add(resource_id(*parts[:2]))
            else:
                raise wrong("not-supported", "this id is too long to search by: give the Device", "device")
        named = found if named is None else named & found
    return named


def _by_device_alone(query: Query) -> bool:
    choices = query.references("device", "DeviceMetric", "Device")
    return all(kind == "Device" for one in choices for kind, _ in one)


def _device_tests(query: Query) -> list[Test]:
    tests: list[Test] = []
    for choices in query.references("device", "DeviceMetric", "Device"):
        wanted = set(choices)

        def test(reading: Reading, _span: Span, group: Group, wanted: set[tuple[str, str]] = wanted) -> bool:
            if ("Device", resource_id(reading.site, reading.device)) in wanted:
                return True
            metric = metric_id(reading.site, reading.device, reading.channel, group.name)
            return ("DeviceMetric", metric) in wanted

        tests.append(test)
    return tests


def _quantity_test(texts: Sequence[str]) -> Test:
    choices = [_quantity(text) for text in texts]

    def test(reading: Reading, _span: Span, group: Group) -> bool:
        if group.is_panel:
            return False
        name = group.members[0]
        value = reading.values.get(name)
        if not isinstance(value, float | int) or (reading.exceptions or {}).get(name, ("",))[0] == "invalid":
            return False
        return any(holds(value) for holds, unit in choices if unit in ("", PARAMETERS[name].unit))

    return test


def _quantity(text: str) -> tuple[Callable[[float], bool], str]:
    """Return the test of a quantity and the unit that it is for; empty for any."""
    one = prefixed(text)
    number, _, rest = one.text.partition("|")
    system, _, unit = rest.partition("|")
    match = _QUANTITY.fullmatch(number)
    if match is None:
        raise wrong(
            "value",
            "expected a number, such as gt100 or 36.8|http://unitsofmeasure.org|Cel",
            "value-quantity",
        )
    if system not in ("", UCUM_SYSTEM):
        raise wrong("value", f"units are of {UCUM_SYSTEM}", "value-quantity")
    wanted = float(number)
    # A number stands for all that rounds to it: 100 is 99.5 to 100.5.
    margin = 0.5 * 10 ** -len(match.group(1) or "")
    tests: dict[str, Callable[[float], bool]] = {
        "eq": lambda value: wanted - margin <= value < wanted + margin,
        "ne": lambda value: not wanted - margin <= value < wanted + margin,
        "gt": lambda value: value > wanted,
        "sa": lambda value: value > wanted,
        "lt": lambda value: value < wanted,
        "eb": lambda value: value < wanted,
        "ge": lambda value: value >= wanted,
        "le": lambda value: value <= wanted,
        "ap": lambda value: abs(value - wanted) <= abs(wanted) * 0.1,
    }
    return tests[one.prefix], unit
