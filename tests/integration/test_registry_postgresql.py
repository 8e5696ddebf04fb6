import logging
from collections.abc import Iterator

import pytest

from hub.ward.model import Identifier, RegistryUnavailable
from hub.ward.registry import Registry
from tests.postgres import Postgres, postgres
from tests.registry_contract import NAME, NUMBER, START, RegistryContract

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.fixture
def url(server: Postgres) -> str:
    return server.database()


class TestOnPostgresql(RegistryContract):
    async def test_an_erased_name_is_in_no_table_file(
        self, registry: Registry, server: Postgres, url: str
    ) -> None:
        def found() -> list[str]:
            return [
                path.name
                for path in server.files(url.rpartition("/")[2]).iterdir()
                if NAME.encode() in path.read_bytes() or NUMBER.encode() in path.read_bytes()
            ]

        patient = await registry.add_patient(NAME, [Identifier(NUMBER)])
        assert found() != []
        await registry.finish_erasure(patient, await registry.erase_patient(patient))
        assert found() == []

    async def test_a_database_that_went_away_and_came_back_is_told_once_each_way(
        self, registry: Registry, server: Postgres, caplog: pytest.LogCaptureFixture
    ) -> None:
        patient = await registry.add_patient("Someone")
        await registry.admit(patient, "main", "icu-1", START)
        server.stop()
        try:
            for _ in range(3):
                await registry.follow()
            assert registry.placement("main", "mon-1").patient == patient
            with pytest.raises(RegistryUnavailable):
                await registry.discharge(patient, START + 1)
        finally:
            server.start()
        for _ in range(3):
            await registry.follow()
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(told) == 2
        assert told[0].startswith("registry unreachable, going on with what is in memory")
        assert told[1] == "registry reachable again"
        await registry.discharge(patient, START + 1)

    async def test_an_unreachable_server_is_named_and_the_password_is_not(self) -> None:
        url = "postgresql://hub:open-sesame@127.0.0.1:1/hub"
        with pytest.raises(RegistryUnavailable, match=r"127\.0\.0\.1:1/hub.*refused") as unavailable:
            await Registry(url).start()
        assert "open-sesame" not in str(unavailable.value)
