import logging
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from hub.ward.model import Identifier, PatientChange, PeriodChange, RegistryUnavailable
from hub.ward.registry import Registry
from tests.registry_contract import NAME, NUMBER, START, RegistryContract, ward_file


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'registry.db'}"


def holding(folder: Path, *texts: str) -> list[str]:
    """Files that hold any of these texts."""
    return [
        path.name for path in folder.iterdir() if any(text.encode() in path.read_bytes() for text in texts)
    ]


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


class TestOnSqlite(RegistryContract):
    async def test_an_erased_name_is_in_no_byte_of_the_files(
        self, registry: Registry, tmp_path: Path
    ) -> None:
        async def fill(number: int) -> str:
            patient = await registry.add_patient(f"{NAME} {number}", [Identifier(f"{NUMBER}-{number}")])
            await registry.update_patient(patient, PatientChange(name=f"{NAME} Smith {number}"))
            stay = await registry.admit(patient, "main", "icu-1", START - 100, START - 50)
            change = PeriodChange(from_ns=START - 90)
            await registry.correct_period("stay", stay, change, who="nurse", why=f"it was {NAME}")
            await registry.discharge(patient, START - 60)
            return patient

        for number in range(3):
            patient = await fill(number)
            assert holding(tmp_path, NAME, NUMBER) != []
            await registry.finish_erasure(patient, await registry.erase_patient(patient))
            assert holding(tmp_path, NAME, NUMBER) == []
            assert holding(tmp_path, patient) != []

    async def test_names_are_for_the_hub_alone(self, registry: Registry, tmp_path: Path) -> None:
        assert set(modes(tmp_path).values()) == {0o600}

    async def test_no_log_holds_a_name(self, registry: Registry, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        patient = await registry.add_patient(NAME, [Identifier(NUMBER)])
        stay = await registry.admit(patient, "main", "icu-1", START - 100, START - 50)
        await registry.correct_period(
            "stay", stay, PeriodChange(from_ns=0), who="nurse", why=f"it was {NAME}"
        )
        await registry.finish_erasure(patient, await registry.erase_patient(patient))
        await registry.seed(ward_file(patient=[{"name": NAME, "identifier": NUMBER}]))
        assert "has erased a patient" in caplog.text
        assert NAME not in caplog.text
        assert NUMBER not in caplog.text

    async def test_a_database_of_a_newer_hub_is_refused_as_that(
        self, registry: Registry, tmp_path: Path, url: str
    ) -> None:
        connection = sqlite3.connect(tmp_path / "registry.db")
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
        connection.close()
        with pytest.raises(RegistryUnavailable, match=r"another version of the hub .*9999.*newer one"):
            await Registry(url).start()

    async def test_a_missing_directory_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(
            RegistryUnavailable, match=r"nowhere/registry\.db: No such file.* create the directory"
        ):
            await Registry(f"sqlite:///{tmp_path}/nowhere/registry.db").start()

    async def test_a_file_that_is_no_database_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        path.write_bytes(os.urandom(4096))
        with pytest.raises(RegistryUnavailable, match="file is not a database"):
            await Registry(f"sqlite:///{path}").start()

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ("registry.db", "can't be read: expected sqlite:///FILE"),
            ("sqlite://", "names no file"),
            ("sqlite:///:memory:", "names no file"),
            ("mysql://host/db", "can't use a mysql database"),
        ],
    )
    async def test_a_url_that_can_not_be_used_says_what_was_expected(self, given: str, message: str) -> None:
        with pytest.raises(RegistryUnavailable, match=message):
            await Registry(given).start()

    async def test_before_its_start_a_registry_places_nothing_and_says_so(self, url: str) -> None:
        registry = Registry(url)
        assert registry.placement("main", "mon-1").bed is None
        with pytest.raises(RegistryUnavailable, match="not started"):
            await registry.wards()
