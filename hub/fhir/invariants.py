"""Invariants of R4 and the vital signs profiles, on parsed JSON: code, text and FHIRPath of each fault."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hub.fhir.codes import CATEGORY_SYSTEM
from hub.fhir.times import span
from hub.vocabulary import LOINC_SYSTEM, UCUM_SYSTEM

Found = Iterator[tuple[str, str, str]]

_UNITS: Final[dict[str, frozenset[str]]] = {
    "8867-4": frozenset({"/min"}),
    "9279-1": frozenset({"/min"}),
    "2708-6": frozenset({"%"}),
    "59408-5": frozenset({"%"}),
    "8310-5": frozenset({"Cel", "[degF]"}),
    "8480-6": frozenset({"mm[Hg]"}),
    "8462-4": frozenset({"mm[Hg]"}),
    "8302-2": frozenset({"cm", "[in_i]"}),
    "29463-7": frozenset({"g", "kg", "[lb_av]"}),
    "39156-5": frozenset({"kg/m2"}),
}
"""Units that the vital signs profiles require, by LOINC code."""
_BP, _SYSTOLIC, _DIASTOLIC, _SPO2, _OXIMETRY = "85354-9", "8480-6", "8462-4", "2708-6", "59408-5"


def observation(resource: Mapping[str, Any]) -> Found:
    """Check obs-6, obs-7 and, where the category says so, the vital signs profiles."""
    value = _value(resource)
    if value is not None and "dataAbsentReason" in resource:
        yield "invariant", "a value and a reason for its absence exclude each other (obs-6)", "Observation"
    own = _codings(resource.get("code"))
    for index, component in enumerate(resource.get("component", ())):
        if value is not None and own & _codings(component.get("code")):
            path = f"Observation.component[{index}].code"
            yield "invariant", "a component with the Observation's own code takes its value (obs-7)", path
    if any((CATEGORY_SYSTEM, "vital-signs") in _codings(one) for one in resource.get("category", ())):
        yield from _vital_sign(resource, value)


def _vital_sign(resource: Mapping[str, Any], value: object) -> Found:
    subject = resource.get("subject")
    if not isinstance(subject, Mapping):
        yield "required", "a vital sign has a subject", "Observation.subject"
    elif "/Patient/" not in f"/{subject.get('reference', 'Patient/')}" and not str(
        subject.get("reference")
    ).startswith("urn:uuid:"):
        yield "value", "the subject of a vital sign is a Patient", "Observation.subject"
    times = [resource[name] for name in ("effectiveDateTime", "effectivePeriod") if name in resource]
    if not times:
        yield "required", "a vital sign has an effectiveDateTime or effectivePeriod", "Observation.effective"
    elif isinstance(times[0], str) and len(times[0]) < 10:
        yield (
            "invariant",
            "the time of a vital sign is known to the day at least (vs-1)",
            "Observation.effective",
        )
    components = resource.get("component", ())
    if (
        value is None
        and "dataAbsentReason" not in resource
        and not components
        and "hasMember" not in resource
    ):
        text = "a vital sign has a value or a dataAbsentReason, unless it has components or members (vs-2)"
        yield "invariant", text, "Observation"
    for index, component in enumerate(components):
        if _value(component) is None and "dataAbsentReason" not in component:
            path = f"Observation.component[{index}]"
            yield "invariant", "a component has a value or a dataAbsentReason (vs-3)", path
    yield from _units(resource, "Observation")
    for index, component in enumerate(components):
        yield from _units(component, f"Observation.component[{index}]")
    yield from _profiles(resource, value)


def _profiles(resource: Mapping[str, Any], value: object) -> Found:
    codes = {code for system, code in _codings(resource.get("code")) if system == LOINC_SYSTEM}
    if _OXIMETRY in codes and _SPO2 not in codes:
        yield "required", f"oxygen saturation needs the code {_SPO2} beside {_OXIMETRY}", "Observation.code"
    if _BP in codes:
        if value is not None:
            yield "invariant", "a blood pressure has its values in components", "Observation.value"
        inner = {code for one in resource.get("component", ()) for _, code in _codings(one.get("code"))}
        for code, name in ((_SYSTOLIC, "systolic"), (_DIASTOLIC, "diastolic")):
            if code not in inner:
                yield "required", f"a blood pressure has a {name} component ({code})", "Observation.component"


def _units(element: Mapping[str, Any], path: str) -> Found:
    quantity = element.get("valueQuantity")
    codes = {code for system, code in _codings(element.get("code")) if system == LOINC_SYSTEM}
    if not isinstance(quantity, Mapping):
        return
    expected = next((_UNITS[code] for code in sorted(codes) if code in _UNITS), None)
    if expected is None:
        return
    for part in ("value", "unit", "system", "code"):
        if part not in quantity:
            yield "required", f"the value of a vital sign has a {part}", f"{path}.value.{part}"
    if quantity.get("system", UCUM_SYSTEM) != UCUM_SYSTEM or quantity.get("code", "") not in {"", *expected}:
        text = f"expected {' or '.join(sorted(expected))} in UCUM for this code"
        yield "code-invalid", text, f"{path}.value.code"


def patient(resource: Mapping[str, Any]) -> Found:
    """Check pat-1."""
    for index, contact in enumerate(resource.get("contact", ())):
        if not {"name", "telecom", "address", "organization"} & set(contact):
            text = "a contact has a name, telecom, address or organization (pat-1)"
            yield "invariant", text, f"Patient.contact[{index}]"


def bundle(resource: Mapping[str, Any]) -> Found:
    """Check bdl-1 to bdl-5 and bdl-7."""
    kind = str(resource.get("type"))
    if "total" in resource and kind not in ("searchset", "history"):
        yield "invariant", "a total belongs to searchset and history (bdl-1)", "Bundle.total"
    needs_request = kind in ("transaction", "batch", "history")
    needs_response = kind in ("transaction-response", "batch-response", "history")
    urls: set[tuple[object, object]] = set()
    for index, entry in enumerate(resource.get("entry", ())):
        path = f"Bundle.entry[{index}]"
        if "search" in entry and kind != "searchset":
            yield "invariant", "search belongs to searchset (bdl-2)", f"{path}.search"
        if ("request" in entry) != needs_request:
            yield (
                "invariant",
                "a request is in transaction, batch and history only (bdl-3)",
                f"{path}.request",
            )
        if ("response" in entry) != needs_response:
            text = "a response is in transaction-response, batch-response and history only (bdl-4)"
            yield "invariant", text, f"{path}.response"
        if not {"resource", "request", "response"} & set(entry):
            yield "invariant", "an entry has a resource, a request or a response (bdl-5)", path
        meta = entry.get("resource", {}).get("meta", {})
        url = (entry.get("fullUrl"), meta.get("versionId") if isinstance(meta, Mapping) else None)
        if url[0] is not None and kind != "history" and url in urls:
            yield "invariant", "fullUrl is unique in a bundle (bdl-7)", f"{path}.fullUrl"
        urls.add(url)


def periods(value: object, path: str) -> Found:
    """Check that every Period begins before it ends (per-1)."""
    if isinstance(value, Mapping):
        start, end = value.get("start"), value.get("end")
        if isinstance(start, str) and isinstance(end, str):
            try:
                if span(start)[0] >= span(end)[1]:
                    yield "invariant", "a period begins before it ends (per-1)", path
            except ValueError:
                return  # a time of another kind: the structure says what is wrong
        for name, child in value.items():
            yield from periods(child, f"{path}.{name}")
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from periods(child, f"{path}[{index}]")


def _value(element: Mapping[str, Any]) -> object:
    return next((value for name, value in element.items() if name.startswith("value")), None)


def _codings(concept: object) -> set[tuple[str, str]]:
    if not isinstance(concept, Mapping):
        return set()
    return {(str(one.get("system")), str(one.get("code"))) for one in concept.get("coding", ())}
