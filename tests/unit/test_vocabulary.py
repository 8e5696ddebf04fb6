import re
import tomllib
from pathlib import Path

import pytest
from lark.exceptions import LarkError
from pint import UndefinedUnitError
from ucumvert import PintUcumRegistry

from hub import vocabulary
from hub.vocabulary import PARAMETERS, VOCABULARY, VocabularyError, load

SOURCE = Path(vocabulary.__file__).with_name("vocabulary.toml").read_text(encoding="utf-8")
GLUCOSE_MOLAR_MASS = 180.16  # g/mol, as the code table's 18.016 mg/dL per mmol/L
ACCEPTED = [
    (parameter.name, unit)
    for parameter in PARAMETERS.values()
    for unit in parameter.units
    if unit not in VOCABULARY.spellings
]


@pytest.fixture(scope="module")
def ucum():
    return PintUcumRegistry()


def changed(change):
    document = tomllib.loads(SOURCE)
    change(document["parameter"])
    return document


def problems(change):
    with pytest.raises(VocabularyError) as error:
        load(changed(change))
    return error.value.problems


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=PARAMETERS)
def test_every_parameter_has_display_unit_and_codes_or_says_why_not(parameter):
    assert parameter.display
    assert parameter.is_number == (parameter.unit != "")
    assert parameter.is_number == (parameter.low < parameter.high)
    for system in ("loinc", "mdc"):
        assert getattr(parameter, system) or parameter.no_code[system]
    for code in parameter.loinc:
        assert re.fullmatch(r"\d{3,5}-\d", code.code)
        assert luhn(code.code), f"{code.code} has a wrong check digit"
    for code in parameter.mdc:
        assert re.fullmatch(r"\d{6,8}", code.code)
        assert code.display.startswith("MDC_")


def luhn(loinc):
    """Mod 10, as every LOINC number ends with (LOINC users' guide, appendix C)."""
    digits, check = loinc.split("-")
    total = sum(
        sum(divmod(int(digit) * 2, 10)) if position % 2 == 0 else int(digit)
        for position, digit in enumerate(reversed(digits))
    )
    return (10 - total % 10) % 10 == int(check)


@pytest.mark.parametrize(("name", "unit"), ACCEPTED)
def test_every_unit_is_ucum_and_its_conversion_is_the_one_of_pint(ucum, name, unit):
    parameter = PARAMETERS[name]
    conversion = parameter.units[unit]
    if unit.startswith("{"):
        assert unit == parameter.unit
        ucum.from_ucum(unit)
        return
    stored, sent = ucum.from_ucum(parameter.unit).units, ucum.from_ucum(unit).units
    for value in (0.0, 1.0, 98.6):
        quantity = ucum.Quantity(value, sent)
        if quantity.check("[mass]/[volume]") and ucum.Quantity(1, stored).check("[substance]/[volume]"):
            quantity = quantity / ucum.Quantity(GLUCOSE_MOLAR_MASS, "g/mol")
        expected = quantity.to(stored).magnitude
        assert value * conversion.scale + conversion.offset == pytest.approx(expected, rel=1e-12, abs=1e-10)


def test_a_vendors_spelling_is_accepted_only_where_its_unit_is():
    assert PARAMETERS["heart_rate"].units["bpm"] == PARAMETERS["heart_rate"].units["/min"]
    assert "bpm" not in PARAMETERS["spo2"].units
    assert "%" not in PARAMETERS["etco2"].units
    temperature = PARAMETERS["temperature"].units["°F"]
    assert 98.6 * temperature.scale + temperature.offset == pytest.approx(37.0, abs=1e-12)
    assert PARAMETERS["glucose"].units["mg/dl"].scale == pytest.approx(1 / 18.016, rel=1e-15)


def test_spellings_are_not_ucum_of_another_meaning(ucum):
    # "C" and "F" are coulomb and farad: never units of what is measured here, so no sense is lost.
    dimensional = {"C", "F"}
    for spelling, unit in VOCABULARY.spellings.items():
        if spelling in dimensional:
            continue
        try:
            quantity = ucum.from_ucum(spelling)
        except (LarkError, UndefinedUnitError):
            continue
        assert quantity == ucum.from_ucum(unit), spelling


def test_the_table_of_the_standards_is_covered():
    expected = {
        "heart_rate": (["8867-4"], ["147842"]),
        "pulse_rate": (["8889-8", "8867-4"], ["149530", "149546", "149514"]),
        "spo2": (["2708-6", "59408-5"], ["150456"]),
        "respiratory_rate": (["9279-1"], ["151578", "151594", "151562"]),
        "nibp_systolic": (["8480-6"], ["150021", "150301"]),
        "nibp_diastolic": (["8462-4"], ["150022", "150302"]),
        "nibp_mean": (["8478-0"], ["150023", "150303"]),
        "arterial_diastolic": (["76213-8"], ["150038", "150034"]),
        "fio2": (["3150-0"], ["152196"]),
        "fio2_set": (["19994-3"], []),
        "tidal_volume": (["76222-9"], ["151980"]),
        "tidal_volume_set": (["20112-9"], ["16929196"]),
        "pump_flow_rate": ([], ["157784"]),
    }
    for name, (loinc, mdc) in expected.items():
        assert [code.code for code in PARAMETERS[name].loinc] == loinc
        assert [code.code for code in PARAMETERS[name].mdc] == mdc


def test_unverified_codes_are_marked():
    unverified = {
        code.code
        for parameter in PARAMETERS.values()
        for code in (*parameter.loinc, *parameter.mdc)
        if not code.verified
    }
    assert {"8889-8", "151562", "76215-3", "76213-8", "76214-6", "41653-7", "67775-7"} <= unverified


def test_the_sweep_catches_diastolic_coded_as_heart_rate():
    def change(parameters):
        parameters["nibp_diastolic"]["loinc"] = [{"code": "8867-4"}]

    assert any("8867-4 serves" in problem and "nibp_diastolic" in problem for problem in problems(change))


def test_the_sweep_catches_systolic_under_the_panels_code():
    def change(parameters):
        parameters["nibp_systolic"]["loinc"] = [{"code": "85354-9"}]

    assert any(problem.startswith("nibp_systolic: loinc:85354-9 groups") for problem in problems(change))


def test_the_sweep_catches_sao2_labelled_as_spo2():
    def change(parameters):
        parameters["spo2"]["mdc"] = [{"code": 150324, "id": "MDC_SAT_O2_ART"}]

    assert any(problem.startswith("spo2: mdc:150324 means") for problem in problems(change))


def test_the_sweep_catches_a_setting_with_the_code_of_a_measurement():
    def change(parameters):
        parameters["tidal_volume_set"]["mdc"] = [{"code": 151980, "id": "MDC_VENT_VOL_TIDAL"}]

    assert any("151980 serves" in problem for problem in problems(change))
    document = changed(change)
    document["shared"]["mdc:151980"] = ["tidal_volume", "tidal_volume_set"]
    with pytest.raises(VocabularyError, match="never share a code"):
        load(document)


def test_the_sweep_tells_all_contradictions_at_once():
    def change(parameters):
        parameters["spo2"]["display"] = " "
        parameters["cvp"]["range"] = [3, 3]
        del parameters["etco2"]["unit"]
        parameters["peep"]["coded"] = {"a": "A"}
        parameters["pump_drug"]["coded"] = {"a": "A"}

    text = " / ".join(problems(change))
    for part in ("spo2: has no display", "cvp: has an empty", "etco2: has neither"):
        assert part in text
    for name in ("peep", "pump_drug"):
        assert f"{name}: is more than one of a number with a unit, coded values and free text" in text


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("Noradrenaline 4 mg/50 mL", True),
        ("去甲肾上腺素", True),
        ("", False),
        ("a" * 65, False),
        ("a\nb", False),
    ],
)
def test_free_text_is_short_and_printable(text, holds):
    assert PARAMETERS["pump_drug"].holds(text) is holds


def test_codes_lead_back_to_their_parameter():
    assert vocabulary.by_mdc(150301) is PARAMETERS["nibp_systolic"]
    assert vocabulary.by_mdc("147842") is PARAMETERS["heart_rate"]
    assert vocabulary.by_loinc("59408-5") is PARAMETERS["spo2"]
    assert vocabulary.by_loinc("8867-4") is PARAMETERS["heart_rate"]
    assert vocabulary.by_mdc(150020) is None


def test_a_near_name_is_suggested():
    assert vocabulary.unknown("hart_rate") == "hart_rate is not in the vocabulary; did you mean heart_rate?"
    assert vocabulary.suggest("Heart-Rate") == "did you mean heart_rate?"
    assert vocabulary.unknown("qqqq") == "qqqq is not in the vocabulary"


def test_mdc_units_are_found_by_code_and_by_reference_id():
    assert vocabulary.MDC_UNITS["266016"] == vocabulary.MDC_UNITS["MDC_DIM_MMHG"] == "mm[Hg]"
    assert vocabulary.by_mdc_name("MDC_ECG_HEART_RATE") is PARAMETERS["heart_rate"]
    assert vocabulary.by_mdc_name("MDC_UNHEARD_OF") is None


def test_the_sweep_catches_an_mdc_unit_that_no_parameter_takes():
    document = tomllib.loads(SOURCE)
    document["mdc_units"]["MDC_DIM_ODD"] = {"code": 270000, "unit": "furlong"}
    with pytest.raises(VocabularyError, match="MDC_DIM_ODD: no parameter accepts"):
        load(document)
