"""Every hazard of the safety file is controlled by something that a test shows."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HAZARDS = tomllib.loads((ROOT / "docs/safety/hazards.toml").read_text(encoding="utf-8"))
SEVERITIES = ("critical", "serious", "minor")
LIKELIHOODS = ("improbable", "remote", "occasional", "probable", "frequent")


def exists(test: str) -> bool:
    """Tell whether a test is there: a timeline, or `path::function` or `path::Class.method`."""
    path, _, name = test.partition("::")
    file = ROOT / path
    if not file.is_file():
        return False
    if file.suffix == ".toml":
        return not name and bool(tomllib.loads(file.read_text(encoding="utf-8"))["do"])
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        found.add(getattr(node, "name", ""))
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return bool(name) and name in found


@pytest.mark.parametrize("hazard", HAZARDS)
def test_a_hazard_has_a_control_and_tests_that_exist(hazard):
    entry = HAZARDS[hazard]
    assert set(entry) - {"standard"} == {
        "hazard", "cause", "severity", "before", "control", "after", "tests",
    }  # fmt: skip
    assert entry["severity"] in SEVERITIES
    assert LIKELIHOODS.index(entry["after"]) < LIKELIHOODS.index(entry["before"])
    assert entry["tests"], "a hazard without a test is not controlled"
    assert [test for test in entry["tests"] if not exists(test)] == []


@pytest.mark.parametrize(
    "test",
    [
        "tests/alarms/no_such_timeline.toml",
        "tests/unit/test_safety_file.py::test_nothing_of_the_kind",
        "tests/unit/test_safety_file.py",
        "tests/unit/nowhere.py::test_a",
    ],
)
def test_a_test_that_does_not_exist_is_noticed(test):
    assert not exists(test)


def test_the_file_says_what_the_hub_is_for_and_what_it_is_not():
    text = (ROOT / "docs/safety/README.md").read_text(encoding="utf-8")
    assert "secondary notification" in text
    assert "never takes the place of a bedside device's own alarm" in " ".join(text.split())
    assert len(HAZARDS) >= 20
