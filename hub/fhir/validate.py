"""Checks of resources: structure by the models of fhir.resources, and what those let pass.

The models accept a status that is none, a value beside the reason for having none, references to kinds that
can't be there, units that are no UCUM, and a vital sign without a patient. So required bindings, reference
types, units, invariants and the vital signs profiles are checked here.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec
from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.resource import Resource
from msgspec import Struct
from pydantic import BaseModel, ValidationError

from hub.fhir import invariants
from hub.vocabulary import UCUM_SYSTEM

Severity = Literal["error", "warning", "information"]


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


_RESULT = _codes("registered preliminary final amended corrected cancelled entered-in-error unknown")
_ENCOUNTER = _codes("planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown")
_COMPLETE: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("Observation", "status"): _RESULT,
    ("DetectedIssue", "status"): _RESULT,
    ("Encounter", "status"): _ENCOUNTER,
    ("EncounterStatusHistory", "status"): _ENCOUNTER,
    ("DeviceUseStatement", "status"): _codes("active completed entered-in-error intended stopped on-hold"),
    ("DeviceUdiCarrier", "entryType"): _codes("barcode rfid manual card self-reported unknown"),
    ("Quantity", "comparator"): frozenset(("<", "<=", ">=", ">")),
    ("AuditEvent", "action"): frozenset("CRUDE"),
    ("AuditEvent", "outcome"): frozenset(("0", "4", "8", "12")),
    ("AuditEventAgentNetwork", "type"): frozenset("12345"),
}
"""Required value sets of R4 that the models shorten ("+") or leave out."""
_FREE: Final = {("CapabilityStatement", "format"), ("CapabilityStatement", "patchFormat")}
"""What the models take for a list of codes and is none: media types."""

_REFERENCE: Final = re.compile(
    r"(?:(?:https?://\S+|urn:\S+)/)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/\S+)?"
)


class Issue(Struct, frozen=True):
    """One thing that is wrong with a resource."""

    code: str
    """Of FHIR's issue-type: structure, value, invariant, code-invalid, required, not-supported."""
    diagnostics: str
    """What was expected."""
    expression: str
    """FHIRPath of the element."""
    severity: Severity = "error"


def validate(resource: object) -> list[Issue]:
    """Return everything that is wrong with a resource, given as parsed JSON; nothing for a valid one."""
    if not isinstance(resource, dict):
        return [Issue("structure", "expected a JSON object", "Resource")]
    kind = resource.get("resourceType")
    model = _model(kind) if isinstance(kind, str) else None
    if model is None:
        return [Issue("structure", f"resourceType: {kind!r} is no resource of R4", "Resource")]
    issues = [*_empty(resource, str(kind))]
    if issues:
        return issues
    try:
        built = model.model_validate_json(msgspec.json.encode(resource))
    except ValidationError as error:
        return [_structural(one, str(kind)) for one in error.errors(include_url=False, include_input=False)]
    except (ValueError, TypeError) as error:
        return [Issue("structure", str(error)[:200], str(kind))]
    return [*_walk(built, str(kind)), *_invariants(resource, str(kind))]


def is_ucum(code: str) -> bool:
    """Tell whether a code is a unit of UCUM."""
    return len(code) <= 128 and _is_ucum(code)


@lru_cache(maxsize=1_024)
def _is_ucum(code: str) -> bool:
    # Lark and a unit library: loaded when the first unit that isn't the hub's own is checked.
    from lark.exceptions import LarkError

    try:
        _ucum().parse(code)
    except LarkError:
        return False
    return True


@lru_cache(maxsize=1)
def _ucum() -> Any:  # noqa: ANN401 - a lark parser; the package has no types
    from ucumvert import get_ucum_parser

    return get_ucum_parser()


@lru_cache(maxsize=256)
def _model(kind: str) -> type[BaseModel] | None:
    try:
        found: type[BaseModel] = get_fhir_model_class(kind)
    except (LookupError, ImportError, ValueError):
        return None
    return found if issubclass(found, Resource) else None


def _structural(error: Mapping[str, Any], kind: str) -> Issue:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    code = "required" if error["type"] == "missing" else "structure"
    return Issue(code, str(error["msg"]).removeprefix("Value error, ")[:300], kind + path)


def _empty(value: object, path: str) -> Iterator[Issue]:
    """Find what is empty: an element has a value or children (ele-1)."""
    if isinstance(value, dict):
        if not value:
            yield Issue("invariant", "an element has a value or children (ele-1)", path)
        for name, child in value.items():
            yield from _empty(child, f"{path}.{name}")
    elif isinstance(value, list):
        if not value:
            yield Issue("invariant", "a list has at least one element", path)
        for index, child in enumerate(value):
            yield from _empty(child, f"{path}[{index}]")
    elif value == "":
        yield Issue("value", "a string has at least one character", path)


def _walk(model: BaseModel, path: str) -> Iterator[Issue]:
    kind = type(model).__name__
    if kind == "Quantity" or "Quantity" in {base.__name__ for base in type(model).__mro__}:
        yield from _quantity(model, path)
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is None or name == "resource_type":
            continue
        extra: Mapping[str, Any] = (
            field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
        )
        element = str(extra.get("one_of_many") or field.alias or name)
        here = f"{path}.{element}"
        allowed = _allowed(kind, name, extra)
        if allowed is not None:
            for one in value if isinstance(value, list) else [value]:
                if isinstance(one, str) and one not in allowed:
                    expected = ", ".join(sorted(allowed))
                    yield Issue("code-invalid", f"expected one of {expected}", here)
        targets = extra.get("enum_reference_types")
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, BaseModel):
                at = f"{here}[{index}]" if isinstance(value, list) else here
                if targets and type(child).__name__ == "Reference":
                    yield from _reference(child, targets, at)
                yield from _walk(child, at)


def _allowed(kind: str, name: str, extra: Mapping[str, Any]) -> frozenset[str] | None:
    if (kind, name) in _FREE:
        return None
    complete = _COMPLETE.get((kind, name))
    if complete is not None:
        return complete
    values = extra.get("enum_values")
    return None if not values or "+" in values else frozenset(values)


def _quantity(model: Any, path: str) -> Iterator[Issue]:  # noqa: ANN401 - a Quantity of the models
    system = str(model.system) if model.system is not None else None
    if model.code is not None and system is None:
        yield Issue("invariant", "a code of a unit needs a system (qty-3)", path)
    if system == UCUM_SYSTEM and model.code is not None and not is_ucum(str(model.code)):
        yield Issue("code-invalid", f"{str(model.code)[:32]!r} is no UCUM unit", f"{path}.code")


def _reference(model: Any, targets: list[str], path: str) -> Iterator[Issue]:  # noqa: ANN401 - a Reference
    if model.reference is None:
        kind = model.type
    else:
        match = _REFERENCE.fullmatch(str(model.reference))
        kind = match.group(1) if match else None
    if kind is not None and "Resource" not in targets and kind not in targets:
        yield Issue("value", f"expected a reference to {' or '.join(targets)}, found {kind}", path)


_OF_KIND: Final[dict[str, Callable[[Mapping[str, Any]], Iterator[tuple[str, str, str]]]]] = {
    "Observation": invariants.observation,
    "Patient": invariants.patient,
    "Bundle": invariants.bundle,
}


def _invariants(resource: Mapping[str, Any], kind: str) -> Iterator[Issue]:
    for code, text, path in invariants.periods(resource, kind):
        yield Issue(code, text, path)
    if kind in _OF_KIND:
        for code, text, path in _OF_KIND[kind](resource):
            yield Issue(code, text, path)
    if kind == "Bundle":
        for index, entry in enumerate(resource.get("entry", ())):
            inner = entry.get("resource")
            if isinstance(inner, dict):
                at = f"Bundle.entry[{index}].resource"
                inner_kind = str(inner.get("resourceType"))
                for issue in _invariants(inner, inner_kind):
                    yield Issue(issue.code, issue.diagnostics, at + issue.expression.removeprefix(inner_kind))
