"""`hub patients`: erasing one for good."""

import asyncio
import sys
import time
from typing import Annotated

import typer

from hub.alarms.book import BookUnusable
from hub.alarms.log import EventLog
from hub.alarms.records import LogUnreadable, Records
from hub.alarms.score_log import ScoreLog
from hub.api.fhir.forgetting import Forgetting
from hub.api.fhir.ledger import Ledger, LedgerUnavailable
from hub.app import open_store
from hub.commands.outcome import FAILED, UNAVAILABLE, fail
from hub.commands.run import ConfigOption, settings_or_fail
from hub.datadir import DataDir, DataDirInUse, DataDirUnusable
from hub.erasure import Forgets, finish_erasures
from hub.journal import Journal, JournalError
from hub.settings import Settings
from hub.stores.store import StoreRefused, StoreUnavailable
from hub.ward.model import NotInRegistry, RegistryRefused, RegistryUnavailable
from hub.ward.registry import Registry

app = typer.Typer(no_args_is_help=True, help="Patients' data.")
_WAIT_S = 120.0


@app.callback()
def _group() -> None:
    """Keep `erase` a command of its own, however many there are."""


@app.command()
def erase(
    patient: Annotated[str, typer.Argument(help="Surrogate id, for instance pt-0123456789ab.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    config: ConfigOption = None,
) -> None:
    """Erase a patient: name, stays, readings in every store, the journal, rejects and alarm events. For good.

    A running hub carries it out itself; otherwise this command does. What an unreachable store keeps from
    being finished is finished when the hub next reaches it.

    For example:

        hub patients erase pt-0123456789ab --yes
    """
    if not yes:
        typer.confirm(f"Erase everything about {patient}? This can't be undone", abort=True)
    settings = settings_or_fail(config)
    try:
        asyncio.run(_erase(settings, patient))
    except (NotInRegistry, RegistryRefused) as error:
        fail(str(error), FAILED)
    except (
        DataDirUnusable,
        JournalError,
        BookUnusable,
        LedgerUnavailable,
        LogUnreadable,
        RegistryUnavailable,
        StoreRefused,
        StoreUnavailable,
    ) as error:
        fail(f"{error}\nthe erasure is noted and goes on when the hub runs", UNAVAILABLE)
    print(f"{patient} is erased", file=sys.stderr)


async def _erase(settings: Settings, patient: str) -> None:
    registry = Registry(settings.registry_url)
    await registry.start()
    try:
        await registry.erase_patient(patient)
        try:
            with DataDir(settings.data_dir) as data:
                await _carry_out(settings, data, registry)
        except DataDirInUse:
            await _wait_for_hub(registry, patient)
    finally:
        await registry.stop()


async def _carry_out(settings: Settings, data: DataDir, registry: Registry) -> None:
    journal, log = Journal(data.journal), EventLog(Records(data.alarms))
    ledger, scores = Ledger(data.fhir), ScoreLog(data.scores)
    stores = [open_store(store, data) for store in settings.stores]
    await journal.start()
    await log.start()
    try:
        for store in stores:
            await store.start()
        await ledger.start()
        await scores.start()
        others: list[Forgets] = [Forgetting(registry, ledger), scores]
        await finish_erasures(registry, stores, journal, log, draining=False, others=others)
    finally:
        await scores.stop()
        await ledger.stop()
        for store in stores:
            await store.stop()
        await log.stop()
        await journal.stop()


async def _wait_for_hub(registry: Registry, patient: str) -> None:
    """Wait until the running hub has carried the erasure out."""
    deadline = time.monotonic() + _WAIT_S
    while patient in await registry.unfinished_erasures():
        if time.monotonic() > deadline:
            raise StoreUnavailable("the running hub has not finished yet; see its log")
        await asyncio.sleep(1)
