"""Limits files that can't be used: every fault at once, with file, key and what was expected."""

from pathlib import Path

import pytest

from hub.alarms.limits import DEFAULTS, load_limits
from hub.alarms.rules import LimitsInvalid

GOOD = "version = 2\n[adult.heart_rate]\nlow = 50\nhigh = 120\n"


def faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "limits.toml"
    path.write_text(text)
    with pytest.raises(LimitsInvalid) as told:
        load_limits(path)
    lines = str(told.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines), lines
    return [line.removeprefix(f"{path}: ") for line in lines]


def test_the_built_in_limits_and_a_minimal_file_are_good(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(GOOD)
    limits = load_limits(path).of("adult")
    assert set(limits.by_parameter) == {"heart_rate", "hub_canary"}
    assert limits.policies == load_limits(DEFAULTS).of("adult").policies, "what it leaves out is built in"
    assert load_limits(path).of("neonatal").by_parameter == limits.by_parameter


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        'version = 2\n[adult.hart_rate]\nlow = 50\n[adult.spo2]\nlow = "ninety"\nlwo = 90\n'
        "[paediatric.heart_rate]\nlow = 100\nhigh = 90\n",
    )
    text = "\n".join(found)
    assert len(found) == 4
    for part in ("adult.hart_rate", "adult.spo2.low", "adult.spo2.lwo", "paediatric.heart_rate"):
        assert part in text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[adult.heart_rate]\nlow = 50\n", "version: expected 2"),
        ("version = 3\n[adult]\n", "version: expected 2"),
        ("version = 2\n", "adult: the adult limits are missing"),
        ("version = 2\n[adult]\n[geriatric]\n", "geriatric: expected a table named adult, paediatric"),
        ("version = 2\nadult = 5\n", "adult: expected a table"),
        ("version = 2\n[adult.ecg_ii]\nlow = 1\n", "adult.ecg_ii: ecg_ii is a waveform"),
        ("version = 2\n[adult.acvpu]\nlow = 1\n", "acvpu is coded"),
        ("version = 2\n[adult.heart_rate]\nlow = 50\npriority = 'urgent'\n", "adult.heart_rate.priority"),
        ("version = 2\n[adult.heart_rate]\nlow = 50\ndelay_s = 3600\n", "adult.heart_rate.delay_s"),
        ("version = 2\n[adult.heart_rate]\nlow = 50\ncritical_low = 60\n", "critical_low < low"),
        ("version = 2\n[adult]\n[coded.acvpu.Q]\n", "acvpu has no code Q"),
        ("version = 2\n[adult.spo2]\nlow = nan\n", "adult.spo2.low: Input should be a finite number"),
        (
            "version = 2\n[adult]\n[[adult.combination]]\ncondition = 'x'\ntext = 't'\nall = []\n",
            "adult.combination.x.all",
        ),
        ("version = 2\n[adult]\n[[adult.combination]]\n", "adult.combination.0.condition"),
        ("version = 2\n[adult]\ncombination = 5\n", "adult.combination: write [[adult.combination]]"),
        (
            "version = 2\n[adult]\n" + "[[adult.combination]]\ncondition = 'x'\n" * 2,
            "adult.combination.x: there are several",
        ),
        ("version = 2\n[adult]\n[signals.high]\nlatching = 'yes please'\n", "signals.high.latching"),
    ],
)
def test_a_fault_names_its_key_and_what_was_expected(text: str, says: str, tmp_path: Path) -> None:
    assert any(says in fault for fault in faults(tmp_path, text)), faults(tmp_path, text)


def test_an_unknown_parameter_comes_with_a_name_that_is_near(tmp_path: Path) -> None:
    (fault,) = faults(tmp_path, "version = 2\n[adult.hart_rate]\nlow = 50\n")
    assert "heart_rate" in fault


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(LimitsInvalid, match=r"none\.toml: can't be read: No such file"):
        load_limits(tmp_path / "none.toml")
    assert "not TOML" in faults(tmp_path, "version = ")[0]
