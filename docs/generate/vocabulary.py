"""Writes docs/reference/vocabulary.md from the vocabulary: `python docs/generate/vocabulary.py`."""

from pathlib import Path

from hub.fhir.codes import concept
from hub.vocabulary import LOINC_SYSTEM, MDC_SYSTEM, PARAMETERS, SNOMED_SYSTEM, VOCABULARY, Code, Parameter

PAGE = Path(__file__).parents[1] / "reference" / "vocabulary.md"

INTRODUCTION = """\
# Vocabulary

<!-- Generated from hub/vocabulary.toml by docs/generate/vocabulary.py; don't edit. -->

The names that a device's `values` may have, and what the hub makes of them: codes, unit, accepted units,
plausible range. A value outside its range is kept, flagged invalid, and never shown or alarmed as a value.
Codes marked * are unverified: one source alone, or memory, says so. MDC is ISO/IEEE 11073-10101, units are
UCUM.
"""

OWN = "the hub's own"
IN_FHIR = """
## What an Observation says

A parameter is what was measured, not by what: a pulse rate may be an oximeter's or a cuff's, a temperature
may be a core temperature. So of several codes the one goes out that claims no method, and a verified one
before others. Definitions with `codes = "mdc"` take every code of the tables above for the parameter. What
measured it is the Observation's `device`.

| name | codes in FHIR |
| --- | --- |
"""

MISSING = """
## A parameter that is missing

What the vocabulary lacks is not stored: leave it out of a definition, `hub devices check --samples` goes on
naming it. The vocabulary is one file, `hub/vocabulary.toml`, and no site adds to it alone: stores, alarms,
FHIR and the page go by it. To propose a parameter, send an entry such as this, with where its codes and its
range are from:

```toml
[parameter.perfusion_index]
display = "Perfusion index"
kind = "measurement"               # setting, device-status: about the device, not the patient
unit = "%"                         # UCUM
range = [0, 100]                   # the widest that a living patient or a working device can show
source = "manual of the oximeter, section 9"
loinc = { none = "looked for, not found" }   # or [{ code = "…", display = "…", verified = false }]
mdc = { none = "looked for, not found" }
```

Put into the file, `python -m pytest tests/unit/test_vocabulary.py` says what contradicts the others.
"""

TITLES = {
    "measurement": "Measurements",
    "setting": "Settings",
    "device-status": "About the device",
    "waveform": "Waveforms",
}


def page() -> str:
    """Return the whole page."""
    parts = [INTRODUCTION]
    for kind, title in TITLES.items():
        parts.append(
            f"\n## {title}\n\n| name | display | unit | range | LOINC | MDC | other accepted units |\n"
        )
        parts.append("| --- | --- | --- | --- | --- | --- | --- |\n")
        parts += [row(parameter) for parameter in PARAMETERS.values() if parameter.kind == kind]
    parts.append(IN_FHIR)
    parts += [
        f"| `{known.name}` | {in_fhir(known)} |\n"
        for known in PARAMETERS.values()
        if known.kind != "waveform"
    ]
    parts.append("\n## Coded values\n\n")
    for parameter in PARAMETERS.values():
        if parameter.coded:
            meanings = ", ".join(f"`{code}` {meaning}" for code, meaning in parameter.meanings.items())
            parts.append(f"- `{parameter.name}`: {meanings}\n")
    parts.append("\n## Where the ranges come from\n\n")
    parts += [f"- `{known.name}`: {known.source}\n" for known in PARAMETERS.values() if known.source]
    parts.append("\n## Where there is no code\n\n")
    for parameter in PARAMETERS.values():
        reasons = [f"{system.upper()}: {reason}" for system, reason in parameter.no_code.items()]
        if reasons:
            parts.append(f"- `{parameter.name}`: {'; '.join(reasons)}\n")
    parts.append(MISSING)
    return "".join(parts)


def in_fhir(parameter: Parameter) -> str:
    """Return the codes that an Observation of a parameter has."""
    names = {code.code: f" {code.display}" for code in parameter.mdc}
    marks = {LOINC_SYSTEM: "LOINC", MDC_SYSTEM: "MDC", SNOMED_SYSTEM: "SNOMED CT"}
    return ", ".join(
        f"{marks.get(coding['system'], OWN)} {coding['code']}" + names.get(coding["code"], "")
        for coding in concept(parameter)["coding"]
    )


def pages() -> dict[str, str]:
    """Return the page by its path."""
    return {"docs/reference/vocabulary.md": page()}


def row(parameter: Parameter) -> str:
    """Return one line of a table."""
    spellings = VOCABULARY.spellings
    others = [unit for unit in parameter.units if unit != parameter.unit and unit not in spellings]
    spelled = [unit for unit in parameter.units if unit in spellings]
    range_ = f"{parameter.low:g} to {parameter.high:g}" if parameter.is_number else "text"
    range_ = "coded" if parameter.coded else range_
    cells = [
        f"`{parameter.name}`",
        parameter.display,
        f"`{parameter.unit}`" if parameter.unit else "",
        range_,
        codes(parameter.loinc),
        codes(parameter.mdc),
        ", ".join(f"`{unit}`" for unit in others) + (f"; also {', '.join(spelled)}" if spelled else ""),
    ]
    return "| " + " | ".join(cells) + " |\n"


def codes(entries: tuple[Code, ...]) -> str:
    """Return the codes of one system, with their reference ids and what they are for."""
    shown = []
    for entry in entries:
        notes = [note for note in (entry.unit, entry.note) if note]
        name = f" {entry.display}" if entry.display.startswith("MDC_") else ""
        mark = "" if entry.verified else "*"
        shown.append(f"{entry.code}{mark}{name}" + (f" ({', '.join(notes)})" if notes else ""))
    return "<br>".join(shown)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
