"""How an EHR tells who lies where: Patient, Encounter, Location and Device, put together in one step."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from msgspec import Struct

from hub.api.fhir.errors import FhirError, wrong
from hub.api.fhir.query import Query, tokens_of
from hub.fhir import patient as people
from hub.fhir.device import EUI64, IDENTIFIER, device_id
from hub.fhir.encounter import Chain, chains
from hub.fhir.ids import resource_id
from hub.fhir.times import span
from hub.fhir.validate import Issue, validate
from hub.ward.model import FOREVER, Identifier, PatientChange, StayEntry
from hub.ward.transaction import Changes

WRITABLE: Final = ("Patient", "Location", "Encounter", "Device")
"""In the order in which a transaction applies them: a patient before the stay, a stay before the device."""
_ENDED: Final = ("finished", "cancelled")


class Put(Struct, frozen=True):
    """One resource that is put."""

    kind: str
    resource: Mapping[str, Any]
    id: str | None
    """Of the resource that is meant; None where `condition` says which."""
    condition: str = ""
    """The search, such as identifier=system|value."""
    path: str = ""
    """FHIRPath of the resource in what was sent, for errors."""


class Done(Struct, frozen=True):
    """What became of a put."""

    kind: str
    id: str
    created: bool
    identifiers: tuple[Identifier, ...] | None = None
    """What the ledger is to keep; None for what the registry keeps itself."""


class Known(Struct, frozen=True):
    """What is known beside the registry's database, as of the start of the step."""

    identifiers: Mapping[str, Mapping[str, Sequence[Identifier]]]
    """Of Encounters, Locations and Devices, by kind and id."""
    locations: Mapping[str, tuple[str, str | None, list[tuple[str | None, str | None]]]]
    """By Location id: site, bed (None for a site or ward) and identifiers."""


def check(put: Put) -> None:
    """Refuse a resource that can't be taken, before anything is changed."""
    path = put.path or put.kind
    if put.kind not in WRITABLE:
        raise wrong("not-supported", f"{put.kind} can't be written; use {', '.join(WRITABLE)}", path)
    if put.resource.get("resourceType") != put.kind:
        raise wrong("invalid", f"expected a {put.kind}", f"{path}.resourceType")
    own = put.resource.get("id")
    if put.id is not None and own is not None and own != put.id:
        raise wrong("invalid", "the id differs from that of the address", f"{path}.id")
    issues = validate(put.resource)
    if issues:
        raise FhirError(
            400,
            [
                Issue(one.code, one.diagnostics, path + one.expression.removeprefix(put.kind), one.severity)
                for one in issues
            ],
        )


class Step:
    """The puts of one request, applied within one change of the registry."""

    def __init__(self, changes: Changes, known: Known) -> None:
        self._changes = changes
        self._known = known
        self._links: dict[str, str] = {}
        """From a fullUrl to the reference that became of it."""

    def apply(self, puts: Sequence[tuple[Put, str | None]]) -> list[Done]:
        """Apply puts, each with its fullUrl; return what became of each, in their order."""
        done: dict[int, Done] = {}
        for kind in WRITABLE:
            for index, (put, url) in enumerate(puts):
                if put.kind == kind:
                    done[index] = self._one(put)
                    if url:
                        self._links[url] = f"{kind}/{done[index].id}"
        return [done[index] for index in range(len(puts))]

    def _one(self, put: Put) -> Done:
        if put.kind == "Patient":
            return self._patient(put)
        if put.kind == "Encounter":
            return self._encounter(put)
        return self._location(put) if put.kind == "Location" else self._device(put)

    # Patients.

    def _patient(self, put: Put) -> Done:
        path = put.path or "Patient"
        identifiers = _merged(people.identifiers(put.resource), put.condition, people.system_of)
        name = people.name(put.resource)
        if not name:
            raise wrong("required", "the hub needs a name to show", f"{path}.name", status=422)
        born = people.birth_date(put.resource)
        found = self._meant(put, self._patients())
        today = datetime.fromtimestamp(self._changes.now_ns / 1e9, UTC).date()
        if found is None:
            who = self._changes.add_patient(name, identifiers, born, people.age_group(born, today))
            return Done("Patient", resource_id(who), created=True)
        change = PatientChange(name=name, identifiers=identifiers)
        if born is not None:
            change = PatientChange(
                name=name, identifiers=identifiers, birth_date=born, age_group=people.age_group(born, today)
            )
        self._changes.update_patient(self._surrogate(found), change)
        return Done("Patient", found, created=False)

    def _patients(self) -> dict[str, list[tuple[str | None, str | None]]]:
        return {
            resource_id(one.id): [(people.system_uri(own.system), own.value) for own in one.identifiers]
            for one in self._changes.patients()
        }

    def _surrogate(self, text: str) -> str:
        return next(one.id for one in self._changes.patients() if resource_id(one.id) == text)

    # Encounters.

    def _encounter(self, put: Put) -> Done:
        path = put.path or "Encounter"
        identifiers = _merged(_identifiers(put.resource), put.condition, str)
        who = self._surrogate(self._refer(put.resource.get("subject"), "Patient", f"{path}.subject"))
        everyone = {chain.id: chain for chain in self._chains()}
        meant = self._meant(put, {text: self._given("Encounter", text) for text in everyone})
        chain = None if meant is None else everyone[meant]
        if chain is not None and chain.patient != who:
            raise wrong("conflict", "this Encounter is another patient's", f"{path}.subject", status=409)
        ended = put.resource.get("status") in _ENDED
        start_ns, end_ns = self._period(put.resource.get("period"))
        if chain is None:
            # A stay that was entered at the hub, and goes on, is the one that is meant.
            chain = next(
                (one for one in everyone.values() if one.patient == who and one.end_ns is None), None
            )
        if chain is None:
            site, bed, at_ns = self._bed(put, path, start_ns)
            until_ns = (end_ns or self._changes.now_ns) if ended else None
            number = self._changes.admit(who, site, bed, at_ns, until_ns)
            return Done("Encounter", f"stay-{number}", created=True, identifiers=identifiers)
        if ended:
            if chain.end_ns is None:
                self._changes.discharge(who, end_ns or self._changes.now_ns)
        else:
            self._move(put, path, chain, who)
        return Done("Encounter", chain.id, created=meant is None, identifiers=identifiers)

    def _move(self, put: Put, path: str, chain: Chain, who: str) -> None:
        if not put.resource.get("location"):
            return
        if chain.end_ns is not None:
            text = "this Encounter is over: a new stay is a new Encounter, with an identifier of its own"
            raise wrong("conflict", text, f"{path}.status", status=409)
        site, bed, at_ns = self._bed(put, path, None)
        last = chain.stays[-1]
        if (last.site, last.bed) != (site, bed):
            self._changes.transfer(who, site, bed, at_ns)

    def _chains(self) -> list[Chain]:
        stays: dict[str, list[StayEntry]] = {}
        for stay in self._changes.all_stays():
            stays.setdefault(stay.patient, []).append(stay)
        return [chain for own in stays.values() for chain in chains(own)]

    def _bed(self, put: Put, path: str, start_ns: int | None) -> tuple[str, str, int]:
        """Return site and bed of the Encounter's active location, and since when."""
        places = put.resource.get("location", [])
        if not places:
            raise wrong(
                "required", "the bed is needed: a location of type bed", f"{path}.location", status=422
            )
        ranks = {"active": 0, None: 1, "planned": 2, "reserved": 3, "completed": 4}
        # Of several the last one counts, as they follow each other.
        index = min(range(len(places)), key=lambda one: (ranks.get(places[one].get("status"), 4), -one))
        at = f"{path}.location[{index}].location"
        text = self._refer(places[index].get("location"), "Location", at)
        site, bed, _ = self._known.locations[text]
        if bed is None:
            raise wrong("value", "expected a bed, found a ward or site", at, status=422)
        since_ns, _ = self._period(places[index].get("period"))
        return site, bed, since_ns or start_ns or self._changes.now_ns

    def _period(self, period: object) -> tuple[int | None, int | None]:
        if not isinstance(period, Mapping):
            return None, None
        times: list[int | None] = []
        for name in ("start", "end"):
            try:
                times.append(span(str(period[name]))[0] if name in period else None)
            except ValueError as error:
                raise wrong("value", str(error), f"period.{name}", status=422) from None
        return times[0], times[1]

    # Locations and devices.

    def _location(self, put: Put) -> Done:
        meant = self._meant(
            put,
            {
                text: [*own, *self._given("Location", text)]
                for text, (_, _, own) in self._known.locations.items()
            },
        )
        meant = meant or self._by_own_identifier(
            put, {text: own for text, (_, _, own) in self._known.locations.items()}
        )
        if meant is None:
            text = (
                "beds and wards come with the hub's ward file; give one of them an identifier of yours by"
                " naming its own (urn:wardhub:location) beside it"
            )
            raise wrong("not-supported", text, f"{put.path or 'Location'}.identifier", status=422)
        own = {value for _, value in self._known.locations[meant][2]}
        given = tuple(
            one
            for one in _merged(_identifiers(put.resource), put.condition, str)
            if not (one.system == "urn:wardhub:location" and one.value in own)
        )
        return Done("Location", meant, created=False, identifiers=given)

    def _device(self, put: Put) -> Done:
        path = put.path or "Device"
        entries = {device_id(one.site, one.id): one for one in self._changes.devices()}
        own = {
            text: [
                (IDENTIFIER, f"{one.site}/{one.id}"),
                (EUI64, one.id.replace("-", "").replace(":", "").upper()),
            ]
            for text, one in entries.items()
        }
        meant = self._meant(put, {text: [*ids, *self._given("Device", text)] for text, ids in own.items()})
        meant = meant or self._by_own_identifier(put, own)
        if meant is None:
            text = f"the hub knows no such device; it enters when it first sends, as {IDENTIFIER}|site/device"
            raise wrong("not-supported", text, f"{path}.identifier", status=422)
        entry = entries[meant]
        bed = who = None
        if "location" in put.resource:
            place = self._refer(put.resource["location"], "Location", f"{path}.location")
            site, bed, _ = self._known.locations[place]
            if bed is None or site != entry.site:
                text = f"expected a bed of the device's site, {entry.site}"
                raise wrong("value", text, f"{path}.location", status=422)
        elif "patient" in put.resource:
            who = self._surrogate(self._refer(put.resource["patient"], "Patient", f"{path}.patient"))
        self._place(entry.site, entry.id, bed, who)
        given = tuple(
            one
            for one in _merged(_identifiers(put.resource), put.condition, str)
            if (one.system, one.value) not in own[meant]
        )
        return Done("Device", meant, created=False, identifiers=given)

    def _place(self, site: str, device: str, bed: str | None, who: str | None) -> None:
        now_ns = self._changes.now_ns
        current = next(
            (
                one
                for one in self._changes.device_placements(site, device)
                if one.from_ns <= now_ns < (FOREVER if one.until_ns is None else one.until_ns)
            ),
            None,
        )
        if current is not None and (current.bed, current.patient) == (bed, who):
            return
        if current is not None:
            self._changes.remove_device(site, device, now_ns)
        if bed is not None or who is not None:
            self._changes.place_device(site, device, now_ns, bed=bed, patient=who)

    # Which one is meant.

    def _given(self, kind: str, text: str) -> list[tuple[str | None, str | None]]:
        return [(one.system, one.value) for one in self._known.identifiers.get(kind, {}).get(text, ())]

    def _meant(self, put: Put, ids: Mapping[str, Sequence[tuple[str | None, str | None]]]) -> str | None:
        """Return the id that a put means; None for a new one."""
        path = put.path or put.kind
        if put.id is not None:
            if put.id in ids:
                return put.id
            text = f"there is no {put.kind} {put.id}, and the hub chooses ids itself: put by identifier"
            raise wrong("not-supported", text, path, status=405)
        return self._search(put.kind, put.condition, ids, path)

    def _search(
        self, kind: str, condition: str, ids: Mapping[str, Sequence[tuple[str | None, str | None]]], path: str
    ) -> str | None:
        choices = _condition(condition, path)
        found = [
            text
            for text, own in ids.items()
            if all(any(one.takes(*pair) for one in some for pair in own) for some in choices)
        ]
        if len(found) > 1:
            raise wrong("multiple-matches", f"{len(found)} {kind}s have this identifier", path, status=412)
        return found[0] if found else None

    def _by_own_identifier(
        self, put: Put, ids: Mapping[str, Sequence[tuple[str | None, str | None]]]
    ) -> str | None:
        given = set(tokens_of(put.resource.get("identifier")))
        found = [text for text, own in ids.items() if given.intersection(own)]
        return found[0] if len(found) == 1 else None

    def _refer(self, reference: object, kind: str, path: str) -> str:
        """Return the id that a reference means: relative, conditional, or a fullUrl of the same bundle."""
        text = str(reference.get("reference", "")) if isinstance(reference, Mapping) else ""
        if not text and isinstance(reference, Mapping) and isinstance(reference.get("identifier"), Mapping):
            own = reference["identifier"]
            text = f"{kind}?identifier={own.get('system', '')}|{own.get('value', '')}"
        text = self._links.get(text, text)
        ids: Mapping[str, Sequence[tuple[str | None, str | None]]]
        if kind == "Patient":
            ids = self._patients()
        else:
            ids = {
                one: [*own, *self._given("Location", one)]
                for one, (_, _, own) in self._known.locations.items()
            }
        head, _, condition = text.partition("?")
        if head == kind and condition:
            found = self._search(kind, condition, ids, path)
        else:
            start, _, found = text.rpartition("/")
            found = found if start.rpartition("/")[2] == kind and found in ids else None
        if found is None:
            raise wrong("not-found", f"expected a reference to a {kind} that the hub knows", path, status=422)
        return found


def _condition(condition: str, path: str) -> list[Any]:
    from urllib.parse import parse_qsl

    query = Query(parse_qsl(condition, keep_blank_values=True))
    choices = query.tokens("identifier")
    if not choices or {name for name, _ in query.items} != {"identifier"}:
        raise wrong("required", "name the one that is meant: identifier=system|value", path, status=412)
    if any(one.code is None for some in choices for one in some):
        raise wrong("value", "an identifier has a value: identifier=system|value", path, status=412)
    return choices


def _identifiers(resource: Mapping[str, Any]) -> tuple[Identifier, ...]:
    return tuple(
        Identifier(str(one["value"]), str(one.get("system", "")))
        for one in resource.get("identifier", ())
        if one.get("value")
    )


def _merged(own: tuple[Identifier, ...], condition: str, system_of: Any) -> tuple[Identifier, ...]:  # noqa: ANN401
    """Return identifiers with the one of the condition, by which the resource is found again."""
    if not condition:
        return own
    found = list(own)
    for some in _condition(condition, ""):
        for one in some:
            identifier = Identifier(str(one.code), system_of(one.system or ""))
            if one.system is not None and identifier not in found:
                found.append(identifier)
    return tuple(found)
