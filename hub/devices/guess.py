"""What a field of a vendor's payload usually is, by what it is called and how it looks."""

import re
from typing import Final

from hub.vocabulary import PARAMETERS, by_mdc, by_mdc_name

_PARAMETERS: Final = (
    (r"n?dia(?:stolic)?(?:_?bp)?|bp_?low", "nibp_diastolic"),
    (r"n?sys(?:tolic)?(?:_?bp)?|bp_?high", "nibp_systolic"),
    (r"map|mean", "nibp_mean"),
    (r"etco2", "etco2"),
    (r"fio2", "fio2"),
    (r"sp_?o2|sat(?:_?o2)?|saturation|oxygen_?saturation", "spo2"),
    (r"(?:pulse|puls)(?:_?rate)?|pr", "pulse_rate"),
    (r"(?:heart|cardiac|ecg)_?rate|hr|heart", "heart_rate"),
    (r"resp(?:iration|iratory)?(?:_?rate)?|rr", "respiratory_rate"),
    (r"(?:room|ambient)_?temp(?:erature)?", "ambient_temperature"),
    (r"(?:body_?)?temp(?:erature)?(?:_?\d|_?c|_?f)?|t1", "temperature"),
    (r"humidity", "ambient_humidity"),
    (r"(?:blood_?)?glucose|sugar", "glucose_capillary"),
    (r"cvp", "cvp"),
    (r"peep", "peep"),
    (r"(?:infusion|flow)_?rate.*|rate_[mu]l_h(?:r|our)?", "pump_flow_rate"),
    (r"(?:volume_?)?infused.*", "pump_volume_infused"),
    (r"(?:volume_?)?remaining.*", "pump_volume_remaining"),
    (r"drug(?:_?name)?|medication", "pump_drug"),
    (r"drip_?rate", "drip_rate"),
    (r"bat(?:t(?:ery)?)?(?:_.*)?", "battery"),
    (r"(?:body_?)?weight", "body_weight"),
)
_SCALED: Final = re.compile(r"(.+?)_?[cx](10{1,3})")
_UNITS: Final = {  # by the ending of a name; mmHg is `mm_hg` once words are apart
    "_ul_h": "uL/h",
    "_ml_h": "mL/h",
    "_ul": "uL",
    "_ml": "mL",
    "_mmhg": "mm[Hg]",
    "_mm_hg": "mm[Hg]",
    "_kpa": "kPa",
    "_k_pa": "kPa",
    "_cmh2o": "cm[H2O]",
    "_cm_h2_o": "cm[H2O]",
    "_mmol_l": "mmol/L",
    "_mg_dl": "mg/dL",
    "_bpm": "/min",
    "_brpm": "/min",
    "_per_min": "/min",
    "_pct": "%",
    "_percent": "%",
    "_deg_c": "Cel",
    "_degc": "Cel",
    "_celsius": "Cel",
    "_c": "Cel",
    "_deg_f": "[degF]",
    "_degf": "[degF]",
    "_fahrenheit": "[degF]",
    "_f": "[degF]",
    "_kg": "kg",
}
VALUE: Final = frozenset({"value", "val", "v", "reading", "result", "num", "pct", "percent"})
"""Names that say only that there is a value; what is above them says of what."""
UNIT: Final = frozenset({"unit", "units", "u", "uom"})
QUALITY: Final = frozenset({"quality", "qual", "q", "status", "st", "grade", "validity"})
GOOD: Final = frozenset({"ok", "valid", "good", "final", "normal", "1", "true"})
"""Words of a quality that mean `valid`."""
ALARMS: Final = re.compile(r"alarm|alert|fault|warning")
"""Where a payload tells of alarms."""
FLAG: Final = re.compile(
    r".*(?:alarm|alert|fault|occlu|lead.?s?_?off|disconnect|air_in_line|low_?bat|bat.*_?low|malfunction).*"
)
"""What a field is called that is true while an alarm condition is there."""
TIME: Final = re.compile(
    r"(?:.*_)?(?:date_?time|time_?stamp|time|date|ts|t|at|clock|when|epoch)(?:_(?:utc|[mun]?s))?"
)
DEVICE: Final = re.compile(r"(?:.*_)?(?:device_?id|deviceid|device|serial(?:_?n.*)?|mac|imei|monitor_?id|sn)")
_STYLES: Final = (
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)", ""),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?", 'zone = "site"'),
    (r"\d{8}T\d{6}(?:Z|[+-]\d\d:?\d\d)", 'style = "strptime", pattern = "%Y%m%dT%H%M%S%z"'),
    (r"\d{8}T\d{6}", 'style = "strptime", pattern = "%Y%m%dT%H%M%S", zone = "site"'),
    (
        r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d\.\d+",
        'style = "strptime", pattern = "%d-%m-%Y %H:%M:%S.%f", zone = "site"',
    ),
    (r"\d\d-\d\d-\d{4} \d\d:\d\d:\d\d", 'style = "strptime", pattern = "%d-%m-%Y %H:%M:%S", zone = "site"'),
    (r"\d\d\.\d\d\.\d{4} \d\d:\d\d:\d\d", 'style = "strptime", pattern = "%d.%m.%Y %H:%M:%S", zone = "site"'),
    (r"\d\d/\d\d/\d{4} \d\d:\d\d:\d\d", 'style = "strptime", pattern = "%d/%m/%Y %H:%M:%S", zone = "site"'),
    (r"\d{14}(?:\.\d+)?(?:[+-]\d{4})?", 'style = "hl7", zone = "site"'),
    (r"\d{9,10}(?:\.\d+)?", 'style = "s"'),
    (r"\d{12,13}", 'style = "ms"'),
    (r"\d{15,16}", 'style = "us"'),
    (r"\d{18,19}", 'style = "ns"'),
)


def guess(name: str) -> str | None:
    """Return the parameter that a field of this name usually is."""
    known = by_mdc(name) or by_mdc_name("MDC_" + name.removeprefix("NOM_").removeprefix("MDC_"))
    if known is not None and known.kind != "waveform":
        return known.name
    said = words(name)
    if said in PARAMETERS and PARAMETERS[said].kind != "waveform":
        return said
    found = next((parameter for pattern, parameter in _PARAMETERS if re.fullmatch(pattern, said)), None)
    if found is not None:
        return found
    scaled = _SCALED.fullmatch(said)
    ending = next((one for one in _UNITS if said.endswith(one)), None)
    if ending is not None:
        return guess(said.removesuffix(ending))
    return guess(scaled[1]) if scaled else None


def scale(name: str) -> int:
    """Return how many times too large a field of this name is sent: 100 for `temp_c100`."""
    scaled = _SCALED.fullmatch(words(name))
    return int(scaled[2]) if scaled else 1


def unit(name: str) -> str | None:
    """Return the unit that the name of a field ends with."""
    said = words(name)
    return next((meant for ending, meant in _UNITS.items() if said.endswith((ending, ending + "r"))), None)


def time_style(sent: object) -> str | None:
    """Return the keys that read a time which looks so; None for what looks like none."""
    if not isinstance(sent, str | int | float) or isinstance(sent, bool):
        return None
    return next((keys for pattern, keys in _STYLES if re.fullmatch(pattern, str(sent).strip())), None)


def words(name: str) -> str:
    """Return a name in small letters with _ between its words."""
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()).strip("_")
