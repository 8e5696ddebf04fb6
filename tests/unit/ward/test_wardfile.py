import json
from pathlib import Path

import pytest

import hub.ward
from device_sims.devices.gateway import Gateway
from device_sims.ward import Plan, build, plan_beds
from hub.ward.demo import demo_ward
from hub.ward.wardfile import WardFile, WardFileError, load, parse

GOOD: dict[str, object] = {
    "site": {"id": "main"},
    "ward": [{"id": "icu", "beds": ["icu-1", "icu-2"]}],
    "device": [{"id": "mon-1", "definition": "native", "bed": "icu-1"}],
}


def faults(data: dict[str, object], definitions: set[str] | None = None) -> list[str]:
    with pytest.raises(WardFileError) as error:
        parse(data, "ward.toml", definitions)
    return error.value.faults


def test_the_demo_file_is_what_the_generator_makes() -> None:
    assert load(Path(hub.ward.__file__).parent / "demo.toml") == demo_ward(8)


@pytest.mark.parametrize("beds", [1, 6, 7, 30, 500])
def test_a_demo_ward_has_as_many_beds_as_asked_for_each_with_monitor_pump_and_patient(beds: int) -> None:
    made = demo_ward(beds)
    ids = [bed for ward in made.ward for bed in ward.beds]
    assert len(set(ids)) == beds
    devices = {device.id for device in made.device}
    assert {f"mon-{bed}" for bed in ids} | {f"pump-{bed}" for bed in ids} <= devices
    assert [patient.bed for patient in made.patient] == ids
    assert all(patient.name.startswith("Demo Patient ") for patient in made.patient)


def test_the_demo_ward_registers_every_device_that_is_simulated_at_its_beds() -> None:
    plan = Plan("main", plan_beds(14, 1, ["stable"]), beacons=True)
    simulated = {device.id for _, device in build(plan)}
    made = demo_ward(14)
    beacons = {beacon.id for beacon in made.beacon}
    assert simulated == {device.id for device in made.device} - beacons
    heard = {
        sighting["beacon"]
        for second in range(0, 240, 2)
        for _, device in build(plan)
        if isinstance(device, Gateway)
        for publication in device.tick(second, 1_795_488_192_123)
        for sighting in json.loads(publication.payload).get("sightings", ())
    }
    assert heard == beacons


def test_beds_can_be_counted_instead_of_listed() -> None:
    made = parse(
        {**GOOD, "ward": [{"id": "icu", "beds": {"count": 11, "pattern": "icu-##-w"}}], "device": []},
        "ward.toml",
    )
    assert made.ward[0].beds[0] == "icu-01-w"
    assert made.ward[0].beds[10] == "icu-11-w"


def test_every_fault_of_a_file_is_told_at_once_with_key_and_what_was_expected() -> None:
    found = faults(
        {
            "site": {"id": "main"},
            "ward": [{"id": "icu", "beds": ["icu-1", "icu-2"]}],
            "device": [
                {"id": "mon-1", "definition": "native", "bed": "icu-9"},
                {"id": "mon 2", "definition": "native", "bed": "icu-1", "interval_s": 0},
                {"id": "mon-3", "definition": "nativ", "bed": "icu-1", "colour": "red"},
                {"id": "mon-4", "definition": "native"},
                {"id": "mon-4", "definition": "native", "area": "icu"},
            ],
            "patient": [{"name": "Ada", "identifier": "1", "bed": "icu-2", "age_group": "elderly"}],
        },
        {"native", "other"},
    )
    assert found == [
        "device[1].id: expected 1 to 128 printable characters without spaces, got 'mon 2'",
        "device[1].interval_s: Input should be greater than 0, got 0",
        "device[2].colour: Extra inputs are not permitted, got 'red'",
        "patient[0].age_group: Input should be 'adult', 'paediatric' or 'neonatal'",
        "device.id: 'mon-4' is given 2 times: expected once",
        "device 'mon-1'.bed: expected a bed of a [[ward]], got 'icu-9'",
        "device 'mon-4'.area: expected an area, since the device has no bed",
        "device[2].definition: expected one of native, other; got 'nativ'",
    ]


def test_each_line_of_the_error_names_the_file() -> None:
    with pytest.raises(WardFileError) as error:
        parse({"site": {}, "ward": []}, "etc/ward.toml")
    lines = str(error.value).splitlines()
    assert lines == [
        "etc/ward.toml: site.id: Field required",
        "etc/ward.toml: ward: List should have at least 1 item after validation, not 0, got []",
    ]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"site": {"id": "main/x"}}, "site.id: expected 1 to 64 letters, digits, _ or -, got 'main/x'"),
        (
            {"ward": [{"id": "a", "beds": ["icu-1"]}, {"id": "b", "beds": ["icu-1"]}]},
            "ward: bed 'icu-1' is listed 2 times: expected once",
        ),
        (
            {"ward": [{"id": "a", "beds": ["icu-1"]}, {"id": "a", "beds": ["icu-2"]}]},
            "ward.id: 'a' is given 2 times: expected once",
        ),
        (
            {"zone": [{"id": "room-4", "ward": "icu", "beds": ["icu-7"]}]},
            "zone 'room-4'.beds: expected beds of a [[ward]], got 'icu-7'",
        ),
        (
            {"zone": [{"id": "room-4", "beds": ["icu-1"]}]},
            "zone 'room-4'.ward: expected 'icu', the ward of its bed 'icu-1'",
        ),
        (
            {"zone": [{"id": one, "ward": "icu", "beds": ["icu-1"]} for one in ("a", "b")]},
            "zone.beds: 'icu-1' is given 2 times: expected once",
        ),
        (
            {"zone": [{"id": "a", "x": 0, "y": 0, "width": 4}]},
            "zone 'a': expected x, y, width and height together, or a polygon instead",
        ),
        (
            {"zone": [{"id": "a", "polygon": [[0, 0], [4, 0], [0, 0]]}]},
            "zone 'a'.polygon: expected at least three corners, [x, y] in metres",
        ),
        (
            {"zone": [{"id": "a", "x": -1, "y": 0, "width": 4, "height": 4}]},
            "zone[0].x: Input should be greater than or equal to 0, got -1",
        ),
        (
            {"patient": [{"name": "A", "identifier": "1", "bed": "x-1"}]},
            "patient[0].bed: expected a bed of a [[ward]], got 'x-1'",
        ),
        (
            {"patient": [{"name": n, "identifier": n, "bed": "icu-1"} for n in "AB"]},
            "patient.bed: 'icu-1' is given 2 times: expected once",
        ),
        (
            {"device": [{"id": "m", "definition": "native", "bed": "icu-1", "since": "2026-01-01T00:00:00"}]},
            "device[0].since: Input should have timezone info, got '2026-01-01T00:00:00'",
        ),
    ],
)
def test_a_contradiction_is_named(change: dict[str, object], fault: str) -> None:
    assert fault in faults({**GOOD, **change})


def test_a_bed_series_says_what_is_wrong_with_it() -> None:
    [fault] = faults({**GOOD, "ward": [{"id": "icu", "beds": {"count": 0, "pattern": "icu"}}], "device": []})
    assert "count: Input should be greater than or equal to 1" in fault
    assert "pattern: expected letters, digits, _ or - around one run of #" in fault


def test_no_fault_quotes_a_patient() -> None:
    patients = [
        {"name": "Zacharias" * 20, "identifier": "MRN-77", "age_group": "Quill"},
        {"name": "A", "identifier": "MRN-78", "birth_date": "MRN-78"},
        {"name": "B", "identifier": "MRN-79"},
        {"name": "C", "identifier": "MRN-79"},
    ]
    text = "\n".join(faults({**GOOD, "patient": patients}))
    assert "patient[0].name" in text
    assert "patient.identifier: one value is given 2 times" in text
    for secret in ("Zacharias", "MRN-77", "MRN-78", "MRN-79", "Quill"):
        assert secret not in text
    made = parse({**GOOD, "patient": [{"name": "Zacharias", "identifier": "MRN-77"}]}, "ward.toml")
    assert "Zacharias" not in repr(made)
    assert "MRN-77" not in repr(made)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"[site", "is not TOML: "),
        (b"\xff", "is not UTF-8 text"),
        (None, "can't be read: No such file or directory"),
    ],
)
def test_a_file_that_can_not_be_read_is_one_clear_fault(
    tmp_path: Path, content: bytes | None, fault: str
) -> None:
    path = tmp_path / "ward.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WardFileError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {fault}")


def test_a_device_without_an_area_has_that_of_its_ward() -> None:
    made = parse({**GOOD, "ward": [{"id": "icu", "beds": ["icu-1"], "area": "north"}]}, "ward.toml")
    assert made.areas() == {"icu-1": "north"}


def test_a_ward_file_made_in_code_is_checked_too() -> None:
    with pytest.raises(ValueError, match="expected a bed"):
        WardFile.model_validate({**GOOD, "device": [{"id": "m", "definition": "d", "bed": "none"}]})
