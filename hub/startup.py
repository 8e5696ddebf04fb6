"""Starting a hub: everything or nothing, and one clear error."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from hub.alarms.book import BookUnusable
from hub.alarms.records import LogUnreadable
from hub.alarms.rules import LimitsInvalid
from hub.api.fhir.ledger import LedgerUnavailable
from hub.api.server import CannotServe
from hub.app import Hub
from hub.datadir import DataDir, DataDirUnusable
from hub.devices.problem import DefinitionErrors
from hub.journal import JournalError
from hub.mqtt.broker import BrokerFailed
from hub.mqtt.session import BrokerRefused, BrokerUnreachable
from hub.settings import Settings, SettingsInvalid
from hub.stores.store import StoreRefused, StoreUnavailable
from hub.ward.model import RegistryRefused, RegistryUnavailable
from hub.ward.wardfile import WardFile, WardFileError, load

_log = logging.getLogger(__name__)


class CannotStart(Exception):  # noqa: N818 - a state, told to whoever starts the hub
    """The hub can't start now; the message says what to change. Nothing is left running."""


class Wrong(CannotStart):
    """The hub can't start until someone changes settings or files."""


_MUST_CHANGE = (
    BrokerRefused,
    DefinitionErrors,
    LimitsInvalid,
    RegistryRefused,
    SettingsInvalid,
    StoreRefused,
    WardFileError,
)
_MAY_PASS = (
    BookUnusable,
    BrokerFailed,
    BrokerUnreachable,
    CannotServe,
    DataDirUnusable,
    JournalError,
    LedgerUnavailable,
    LogUnreadable,
    RegistryUnavailable,
    StoreUnavailable,
)


@asynccontextmanager
async def opened(settings: Settings, ward: WardFile | None = None) -> AsyncIterator[Hub]:
    """Run a hub for as long as the context is entered, beginning with `ward` or the settings' ward file.

    Raises CannotStart, or Wrong.
    """
    async with AsyncExitStack() as stack:
        try:
            hub = Hub(settings, stack.enter_context(DataDir(settings.data_dir)))
            for doubt in hub.catalog.doubts:
                _log.warning("%s", doubt)
            if ward is None and settings.ward_file is not None:
                ward = load(settings.ward_file, hub.catalog.definitions)
            await stack.enter_async_context(hub.started(ward))
        except _MUST_CHANGE as error:
            raise Wrong(str(error)) from error
        except _MAY_PASS as error:
            raise CannotStart(str(error)) from error
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(hub.run())
            yield hub
            running.cancel()
