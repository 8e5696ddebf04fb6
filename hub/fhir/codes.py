"""What each parameter is in FHIR: its codes, category and subject, and which are told in one Observation."""

from typing import Any, Literal

from msgspec import Struct

from hub.vocabulary import LOINC_SYSTEM, MDC_SYSTEM, PARAMETERS, SNOMED_SYSTEM, UCUM_SYSTEM, Code, Parameter

CATEGORY_SYSTEM = "http://terminology.hl7.org/CodeSystem/observation-category"
ABSENT_SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
STATUS_SYSTEM = "http://terminology.hl7.org/CodeSystem/measurement-status"
"""Of HL7's Point-of-Care Device guide."""
PARAMETER_SYSTEM = "urn:wardhub:parameter"
"""The hub's own names, where there is no code in LOINC or MDC."""
PROFILES = "http://hl7.org/fhir/StructureDefinition/"

Concept = dict[str, Any]
Category = Literal["vital-signs", "laboratory", "survey", "exam", "therapy", "procedure"]

_CATEGORIES: dict[Category, str] = {
    "vital-signs": "Vital Signs",
    "laboratory": "Laboratory",
    "survey": "Survey",
    "exam": "Exam",
    "therapy": "Therapy",
    "procedure": "Procedure",
}

_CATEGORY_OF: dict[str, Category] = {
    "heart_rate": "vital-signs",
    "pulse_rate": "vital-signs",
    "spo2": "vital-signs",
    "respiratory_rate": "vital-signs",
    "temperature": "vital-signs",
    "nibp_systolic": "vital-signs",
    "arterial_systolic": "vital-signs",
    "cvp": "vital-signs",
    "etco2": "vital-signs",
    "fio2": "therapy",
    "o2_flow": "therapy",
    "glucose": "laboratory",
    "glucose_capillary": "laboratory",
    "gcs_total": "survey",
    "gcs_eye": "survey",
    "gcs_motor": "survey",
    "gcs_verbal": "survey",
    "acvpu": "exam",
    "urine_output": "exam",
}
"""Of what is about the patient. What is not listed is about the device: therapy."""

_PROFILE_OF = {
    "heart-rate": "heartrate",
    "pulse-rate": "heartrate",
    "spo2": "oxygensat",
    "respiratory-rate": "resprate",
    "temperature": "bodytemp",
    "blood-pressure": "bp",
}


class Group(Struct, frozen=True):
    """Parameters that are told in one Observation; most are told alone."""

    name: str
    members: tuple[str, ...]
    """Vocabulary names; with more than one, each is a component."""
    code: Concept
    category: Category
    of_patient: bool
    """Whether it is about the patient; settings and what a device says about itself are about the device."""
    profile: str | None
    required: tuple[str, ...] = ()
    """Components that are there even without a value."""

    @property
    def is_panel(self) -> bool:
        """Tell whether the members are components."""
        return bool(self.required) or len(self.members) > 1


def concept(parameter: Parameter) -> Concept:
    """Return the codes of a parameter: LOINC, MDC, SNOMED CT, or the hub's own name where there are none."""
    codings = [_coding(LOINC_SYSTEM, code) for code in _loinc(parameter)]
    if parameter.mdc:
        codings.append(_coding(MDC_SYSTEM, _preferred(parameter.mdc)))
    codings += [{"system": SNOMED_SYSTEM, "code": code} for code in parameter.snomed]
    if not codings:
        codings = [{"system": PARAMETER_SYSTEM, "code": parameter.name}]
    return {"coding": codings, "text": parameter.display}


def category(name: Category) -> Concept:
    """Return an observation category."""
    return {"coding": [{"system": CATEGORY_SYSTEM, "code": name, "display": _CATEGORIES[name]}]}


def coded_value(parameter: str, value: str) -> Concept:
    """Return the value of a coded parameter, in a code system of the hub's own."""
    meanings = PARAMETERS[parameter].meanings if parameter in PARAMETERS else {}
    display = meanings.get(value, value)
    return {
        "coding": [{"system": f"{PARAMETER_SYSTEM}:{parameter}", "code": value, "display": display}],
        "text": display,
    }


def quantity(value: float, unit: str) -> dict[str, Any]:
    """Return a Quantity in UCUM."""
    return {"value": plain(value), "unit": unit, "system": UCUM_SYSTEM, "code": unit}


def plain(value: float) -> int | float:
    """Return a whole number as one: 72, not 72.0, which would claim a digit that nobody measured."""
    return int(value) if value == value // 1 and abs(value) < 1e15 else value


def _loinc(parameter: Parameter) -> list[Code]:
    own = [code for code in parameter.loinc if code.unit in ("", parameter.unit)]
    return [code for code in own if code.verified] or own[:1]


def _preferred(codes: tuple[Code, ...]) -> Code:
    """Return the code that claims no method, where there is a sure one; else the first."""
    generic = [code for code in codes if code.note == "generic" and code.verified]
    sure = [code for code in codes if code.verified]
    return (generic or sure or list(codes))[0]


def _coding(system: str, code: Code) -> dict[str, str]:
    coding = {"system": system, "code": code.code}
    return {**coding, "display": code.display} if code.display else coding


def _panel(name: str, members: tuple[str, ...], code: Concept, required: tuple[str, ...] = ()) -> Group:
    return Group(
        name=name,
        members=members,
        code=code,
        category=_CATEGORY_OF[members[0]],
        of_patient=True,
        profile=_profile(name),
        required=required,
    )


def _profile(name: str) -> str | None:
    return PROFILES + _PROFILE_OF[name] if name in _PROFILE_OF else None


def _alone(parameter: Parameter) -> Group:
    name = parameter.name.replace("_", "-")
    wave = parameter.kind == "waveform"
    return Group(
        name=name,
        members=(parameter.name,),
        code=concept(parameter),
        category="procedure" if wave else _CATEGORY_OF.get(parameter.name, "therapy"),
        of_patient=wave or parameter.name in _CATEGORY_OF,
        profile=_profile(name),
    )


_PANELS = (
    _panel(
        "blood-pressure",
        ("nibp_systolic", "nibp_diastolic", "nibp_mean"),
        {
            "coding": [
                {
                    "system": LOINC_SYSTEM,
                    "code": "85354-9",
                    "display": "Blood pressure panel with all children optional",
                },
                {"system": MDC_SYSTEM, "code": "150020", "display": "MDC_PRESS_BLD_NONINV"},
            ],
            "text": "Blood pressure, cuff",
        },
        # The bp profile wants both, with a reason where there is no value.
        required=("nibp_systolic", "nibp_diastolic"),
    ),
    _panel(
        "arterial-blood-pressure",
        ("arterial_systolic", "arterial_diastolic", "arterial_mean"),
        {
            "coding": [{"system": MDC_SYSTEM, "code": "150036", "display": "MDC_PRESS_BLD_ART_ABP"}],
            "text": "Arterial pressure",
        },
    ),
)
_IN_PANELS = {member for panel in _PANELS for member in panel.members}

HIDDEN = frozenset({"hub_canary"})
"""The hub's own; nothing that anybody observes."""

GROUPS: dict[str, Group] = {
    group.name: group
    for group in (
        *_PANELS,
        *(
            _alone(parameter)
            for parameter in PARAMETERS.values()
            if parameter.name not in _IN_PANELS and parameter.name not in HIDDEN
        ),
    )
}
"""Every Observation that the hub makes of readings and waveforms, by the last part of its id."""

GROUP_OF: dict[str, Group] = {member: group for group in GROUPS.values() for member in group.members}
"""By vocabulary name."""
