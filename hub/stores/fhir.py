"""The store that sends: Observations to another FHIR server, an EHR's for instance. Nothing is read from it.

High-rate numbers go as windows of SampledData; blood pressures, codes and other spot readings, waveforms and
alarms go at once. Everything has an identifier and is put by it, so sending again makes nothing twice.
"""

# ruff: noqa: ARG002 - the promise of every store has arguments that one that only sends has no use for

import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from msgspec import DecodeError, json
from msgspec.structs import replace
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr

from hub.alarms.alarm import AlarmEvent
from hub.fhir.alarm import detected_issue
from hub.fhir.codes import GROUP_OF
from hub.fhir.device import IDENTIFIER as DEVICE
from hub.fhir.observation import NOBODY, Attribution, groups_in, observation
from hub.fhir.resource import Resource
from hub.fhir.waveform import is_sampled, waveform, windows
from hub.model import Batch, Reading, Waveform
from hub.stores.only_sends import OnlySends
from hub.stores.store import Retention, StoreUnavailable
from hub.ward.model import Identifier

if TYPE_CHECKING:
    import aiohttp

log = logging.getLogger(__name__)

IDENTIFIER: Final = "urn:wardhub:observation"
SPOT: Final = frozenset({"laboratory", "survey", "exam"})
"""Categories whose readings are rare, and each of interest."""
_PATIENT: Final = "urn:wardhub:patient"
_MEDIA: Final = "application/fhir+json"
_SECOND_NS: Final = 1_000_000_000
_MOST_WAITING: Final = 500_000
"""Readings that wait for the end of their window; beyond it windows are closed early."""
_ALARMS: Final = 200

Channel = tuple[str, str, str]
"""Site, device, channel."""


class FhirStoreSettings(BaseModel):
    """Where the server is, how to get in, and how readings are put together."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: HttpUrl
    """The server's base address, for instance https://ehr.example/fhir/r4."""
    token: SecretStr | None = None
    """Sent as a bearer token."""
    name: str = Field(default="fhir", pattern=r"^[a-z][a-z0-9_-]{0,31}$")
    """Names this store's cursor in the journal: a different one for each store."""
    window_s: int = Field(default=60, ge=1, le=3600)
    """Length of a window of SampledData."""
    period_s: float = Field(default=1.0, gt=0, le=3600)
    """Time between two samples of a window; of several values the last counts."""
    entries: int = Field(default=200, ge=1, le=5000)
    """Resources in one Bundle."""
    waveforms: bool = False
    """Whether waveforms are sent too."""
    timeout_s: float = Field(default=30.0, gt=0)


class Ward(Protocol):
    """What the store must know of patients and alarms."""

    async def attribution(self, site: str, device: str, time_ns: int) -> Attribution:
        """Return whose a reading is."""

    async def identifiers(self, patient: str) -> Sequence[Identifier]:
        """Return the numbers by which others know a patient."""

    async def alarms(self, limit: int) -> list[AlarmEvent]:
        """Return the next alarm events that are not yet sent."""

    async def sent(self, event: AlarmEvent) -> None:
        """Note that alarm events up to this one are sent."""


class _NoWard:
    """Knows nobody: for a store that is opened to forget, not to send."""

    async def attribution(self, site: str, device: str, time_ns: int) -> Attribution:
        """Return that it is nobody's."""
        return NOBODY

    async def identifiers(self, patient: str) -> Sequence[Identifier]:
        """Return none."""
        return ()

    async def alarms(self, limit: int) -> list[AlarmEvent]:
        """Return none."""
        return []

    async def sent(self, event: AlarmEvent) -> None:
        """Do nothing."""


NO_WARD: Final[Ward] = _NoWard()


class FhirStore(OnlySends):
    """Sends what the journal holds to another FHIR server.

    Windows are cut where the time of receipt, as the journal tells it, passes a multiple of their length:
    all of them behind the same row. So `write` may return before everything of a row is sent; `position`
    tells the last row before the open windows. What waits is lost with the process and sent again from there:
    the same windows with the same identifiers. A resource that the server refuses by itself is counted,
    logged and left out; where the server refuses to talk, everything waits.
    """

    def __init__(self, settings: FhirStoreSettings, ward: Ward) -> None:
        self.name = settings.name
        self.settle_s = settings.window_s + 1.0
        self.sent = 0
        """Resources that the server took."""
        self.refused = 0
        """Resources that the server will never take."""
        self._settings = settings
        self._ward = ward
        self._url = str(settings.url).rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._waiting: dict[Channel, list[Reading]] = {}
        self._count = 0
        """Readings in `_waiting`."""
        self._slot = 0
        """Number of the open windows: receipt over their length."""
        self._row = 0
        """The last row that `write` was given."""
        self._settled = 0
        """The last row of which nothing waits."""

    async def start(self) -> None:
        """Make the session; begin anew where the last one failed. Connects to nothing."""
        # The drain begins again at `position` or its own cursor: what waited comes again.
        self._waiting.clear()
        self._count = self._row = 0
        # The first look decides where alarms begin: one that is raised while the first row is sent is sent.
        await self._ward.alarms(1)
        if self._session is None:
            import aiohttp  # 10 MB: only a hub that sends pays for it

            headers = {"Content-Type": _MEDIA, "Accept": _MEDIA, "Prefer": "return=minimal"}
            if self._settings.token is not None:
                headers["Authorization"] = f"Bearer {self._settings.token.get_secret_value()}"
            timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
            self._session = aiohttp.ClientSession(headers=headers, timeout=timeout)

    async def stop(self) -> None:
        """Close the session; open windows are sent again after the next start."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def position(self) -> int | None:
        """Return the last row of which everything is sent; None before anything was."""
        return self._settled if self._row else None

    async def write(self, rows: Sequence[tuple[int, Batch]]) -> None:
        """Send what is due of these rows, and keep the rest for its window."""
        due: list[Resource] = []
        row, settled = self._row, self._settled
        for number, batch in rows:
            slot = batch.received_ns // (self._settings.window_s * _SECOND_NS)
            if not row:
                self._slot, settled = slot, number - 1
            elif slot > self._slot or self._count > _MOST_WAITING:
                due += [one async for one in self._closed()]
                self._slot, settled = max(slot, self._slot), row
            for reading in batch.readings:
                due += await self._spot(reading)
                self._put(reading)
            for window in batch.waveforms if self._settings.waveforms else ():
                due.append(await self._known(window, waveform(window, await self._attribution(window))))
            row = max(row, number)
        await self._send(due)
        self._row, self._settled = row, settled
        await self._send_alarms()

    # What goes at once, and what waits.

    async def _spot(self, reading: Reading) -> list[Resource]:
        found = []
        for group in groups_in(reading):
            if not _windowed(group.members[0]):
                attribution = await self._attribution(reading)
                found.append(await self._known(reading, observation(reading, group, attribution)))
        return found

    def _put(self, reading: Reading) -> None:
        values = {name: value for name, value in reading.values.items() if _windowed(name)}
        if values:
            key = (reading.site, reading.device, reading.channel)
            self._waiting.setdefault(key, []).append(replace(reading, values=values, exceptions=None))
            self._count += 1

    async def _closed(self) -> AsyncIterator[Resource]:
        """Give all open windows, and forget them."""
        waiting, self._waiting, self._count = self._waiting, {}, 0
        for readings in waiting.values():
            readings.sort(key=lambda one: one.time_ns)
            for attribution, part in await self._parts(readings):
                for text in windows(part, self._settings.period_s, attribution):
                    yield await self._known(part[0], text)

    async def _parts(self, readings: list[Reading]) -> list[tuple[Attribution, list[Reading]]]:
        """Part readings where they begin to be another's, or are further apart than a window is long."""
        longest_ns = self._settings.window_s * _SECOND_NS
        parts: list[tuple[Attribution, list[Reading]]] = []
        for reading in readings:
            attribution = await self._attribution(reading)
            if (
                not parts
                or parts[-1][0] != attribution
                or reading.time_ns - parts[-1][1][0].time_ns >= longest_ns
            ):
                parts.append((attribution, []))
            parts[-1][1].append(reading)
        return parts

    async def _attribution(self, item: Reading | Waveform) -> Attribution:
        return await self._ward.attribution(item.site, item.device, item.time_ns)

    # As another server can take it.

    async def _known(self, item: Reading | Waveform, text: bytes) -> Resource:
        """Return an Observation whose references another server understands: by identifier."""
        return await self._by_identifier(json.decode(text), f"{item.site}/{item.device}")

    async def _by_identifier(self, resource: Resource, device: str) -> Resource:
        own = {"type": "Device", "identifier": {"system": DEVICE, "value": device}, "display": device}
        identifier = {"system": IDENTIFIER, "value": resource.pop("id")}
        resource.pop("encounter", None)
        resource["meta"].pop("versionId", None)
        for name in ("subject", "patient"):
            text = resource.get(name, {}).get("reference", "")
            kind, _, who = text.partition("/")
            if kind == "Patient":
                known = await self._ward.identifiers(who)
                if known:
                    value = {"system": known[0].system, "value": known[0].value}
                    resource[name] = {"type": "Patient", "identifier": value}
                else:
                    resource[name] = {"type": "Patient", "identifier": {"system": _PATIENT, "value": who}}
            elif kind == "Device":
                resource[name] = own
        for name in ("device", "author"):
            if name in resource:
                resource[name] = own
        resource.pop("implicated", None)
        resource.setdefault("identifier", [identifier])
        return resource

    async def _send_alarms(self) -> None:
        while events := await self._ward.alarms(_ALARMS):
            await self._send(
                [
                    await self._by_identifier(
                        detected_issue(event), f"{event.alarm.site}/{event.alarm.device}"
                    )
                    for event in {event.alarm.id: event for event in events}.values()
                ]
            )
            await self._ward.sent(events[-1])

    # On the wire.

    async def _send(self, resources: Sequence[Resource]) -> None:
        size = self._settings.entries
        for start in range(0, len(resources), size):
            await self._bundle(resources[start : start + size])

    async def _bundle(self, resources: Sequence[Resource]) -> None:
        """Send one batch; halve it where the server takes it not as a whole."""
        entries = []
        for resource in resources:
            identifier = resource["identifier"][0]
            url = f"{resource['resourceType']}?identifier={identifier['system']}|{identifier['value']}"
            entries.append({"resource": resource, "request": {"method": "PUT", "url": url}})
        status, content = await self._post({"resourceType": "Bundle", "type": "batch", "entry": entries})
        if status in (401, 403, 404, 405) or status >= 500 or status in (408, 429):
            raise StoreUnavailable(f"{self.name}: {self._url} answers {status}")
        if status >= 400:
            if len(resources) > 1:
                await self._bundle(resources[: len(resources) // 2])
                await self._bundle(resources[len(resources) // 2 :])
            else:
                self._refuse(1, status)
            return
        statuses = _statuses(content, len(resources))
        again = [code for code in statuses if code >= 500 or code in (401, 403, 408, 429)]
        if again:
            raise StoreUnavailable(f"{self.name}: {self._url} answers {again[0]} to {len(again)} resources")
        refused = [code for code in statuses if code >= 400]
        if refused:
            self._refuse(len(refused), refused[0])
        self.sent += len(resources) - len(refused)

    def _refuse(self, count: int, status: int) -> None:
        if not self.refused:
            log.warning("%s refuses a resource (%d); it and others like it are counted", self.name, status)
        self.refused += count

    async def _post(self, bundle: Resource) -> tuple[int, bytes]:
        import aiohttp

        if self._session is None:
            raise StoreUnavailable(f"{self.name} is not started")
        try:
            async with self._session.post(self._url, data=json.encode(bundle)) as answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise StoreUnavailable(
                f"{self.name}: {self._url} can't be reached: {type(error).__name__}"
            ) from error

    async def probe(self) -> str:
        """Ask the server what it is and return its software's name. Raises StoreUnavailable."""
        import aiohttp

        if self._session is None:
            raise StoreUnavailable(f"{self.name} is not started")
        try:
            async with self._session.get(f"{self._url}/metadata") as answer:
                found: Any = json.decode(await answer.read())
                if answer.status != 200 or found.get("resourceType") != "CapabilityStatement":
                    raise StoreUnavailable(f"{self.name}: {self._url}/metadata answers {answer.status}")
                return str(found.get("software", {}).get("name", "a FHIR server"))
        except (aiohttp.ClientError, OSError, DecodeError, AttributeError) as error:
            reason = f"{self.name}: {self._url} is no FHIR server that answers: {type(error).__name__}"
            raise StoreUnavailable(reason) from error

    async def expire(self, now_ns: int, retention: Retention) -> None:
        """Do nothing: how long the other server keeps what it took is its own affair."""

    async def erase(self, site: str, device: str, start_ns: int, end_ns: int) -> None:
        """Forget what waits; what was sent is the other server's to erase, as its operator must."""
        for (of_site, of_device, _), readings in self._waiting.items():
            if (of_site, of_device) == (site, device):
                readings[:] = [one for one in readings if not start_ns <= one.time_ns < end_ns]

    async def size_bytes(self) -> int | None:
        """Return None: it keeps nothing here."""
        return None


def _windowed(name: str) -> bool:
    """Tell whether a parameter goes into windows; that it had no value is told by a window's gap."""
    return is_sampled(name) and GROUP_OF[name].category not in SPOT


def _statuses(content: bytes, expected: int) -> list[int]:
    """Return the status of each entry of a batch's answer; 200 where the server tells none."""
    try:
        answer: Any = json.decode(content)
        found = [int(str(one["response"]["status"])[:3]) for one in answer["entry"]]
    except (DecodeError, ValueError, KeyError, TypeError):
        return [200] * expected
    return found
