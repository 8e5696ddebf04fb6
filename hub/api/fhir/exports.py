"""$export: everything, or everything about patients, as NDJSON files made in the background."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from secrets import token_hex
from typing import Final

from msgspec import Struct

from hub.api.fhir import kinds, observations
from hub.api.fhir.errors import told, wrong
from hub.api.fhir.kinds import KINDS
from hub.api.fhir.query import Query
from hub.api.fhir.selection import select
from hub.api.fhir.services import FhirServices
from hub.fhir.resource import encode
from hub.fhir.times import instant, span
from hub.fhir.validate import Issue

log = logging.getLogger(__name__)

SYSTEM_KINDS: Final = (
    "Patient", "Encounter", "Location", "Device", "DeviceMetric", "DetectedIssue", "Flag", "Observation",
)  # fmt: skip
PATIENT_KINDS: Final = ("Patient", "Encounter", "DetectedIssue", "Flag", "Observation")
AT_ONCE: Final = 2
_KEPT: Final = 20
_PAUSE_EVERY: Final = 200
_PAUSE_S: Final = 0.01
"""A pause after so many resources: an export may take its time, the ward may not wait for it."""
_DAY_NS: Final = 86_400_000_000_000


class Job(Struct):
    """One export."""

    id: str
    owner: str
    request: str
    kinds: tuple[str, ...]
    since: str | None
    began_ns: int
    devices: int = 0
    devices_done: int = 0
    state: str = "running"
    """running, done or failed."""
    issue: Issue | None = None
    counts: dict[str, int] = {}
    """Resources of each kind that was found."""

    @property
    def progress(self) -> str:
        """Return what to tell who asks meanwhile."""
        share = self.devices_done / self.devices if self.devices else 0.0
        return f"{share:.0%} of devices, {sum(self.counts.values()):,} resources"


class Exports:
    """The exports of one hub, at most AT_ONCE of them running. Files lie in a folder, by job, for a day."""

    def __init__(self, fhir: FhirServices) -> None:
        self._fhir = fhir
        self._jobs: dict[str, Job] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Remove what an earlier run left behind."""
        shutil.rmtree(self._fhir.exports, ignore_errors=True)

    async def stop(self) -> None:
        """End what is running."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def begin(self, owner: str, request: str, query: Query, level: Sequence[str]) -> Job:
        """Begin an export. Refuses what can't be exported, and more than AT_ONCE."""
        query.known(("_type", "_since", "_outputFormat"))
        wanted = tuple(text for texts in query.every("_type") for text in texts) or tuple(level)
        odd = [kind for kind in wanted if kind not in level]
        if odd:
            raise wrong("not-supported", f"expected {', '.join(level)}, found {', '.join(odd)[:64]}", "_type")
        if query.one("_outputFormat") not in (
            None,
            "application/fhir+ndjson",
            "application/ndjson",
            "ndjson",
        ):
            raise wrong("not-supported", "expected application/fhir+ndjson", "_outputFormat")
        since = query.one("_since")
        if since is not None:
            try:
                span(since)
            except ValueError as error:
                raise wrong("value", str(error), "_since") from None
        if sum(job.state == "running" for job in self._jobs.values()) >= AT_ONCE:
            raise wrong("throttled", f"{AT_ONCE} exports are running: try again later", "", status=429)
        self._forget()
        job = Job(f"export-{token_hex(8)}", owner, request, wanted, since, self._fhir.now_ns())
        self._jobs[job.id] = job
        self._tasks[job.id] = asyncio.create_task(self._run(job), name=job.id)
        return job

    def job(self, job_id: str, owner: str) -> Job | None:
        """Return an export of its owner."""
        job = self._jobs.get(job_id)
        return job if job is not None and job.owner == owner else None

    def file(self, job: Job, name: str) -> Path | None:
        """Return a file of a finished export."""
        kind = name.removesuffix(".ndjson")
        return self._folder(job) / f"{kind}.ndjson" if job.state == "done" and kind in job.counts else None

    def cancel(self, job: Job) -> None:
        """End an export and remove its files."""
        self._tasks.pop(job.id).cancel()
        del self._jobs[job.id]
        shutil.rmtree(self._folder(job), ignore_errors=True)

    def _forget(self) -> None:
        old = [job for job in self._jobs.values() if job.began_ns < self._fhir.now_ns() - _DAY_NS]
        for job in [*old, *list(self._jobs.values())[: max(0, len(self._jobs) - _KEPT)]]:
            if job.id in self._jobs and job.state != "running":
                self.cancel(job)

    def _folder(self, job: Job) -> Path:
        return self._fhir.exports / job.id

    async def _run(self, job: Job) -> None:
        try:
            await asyncio.to_thread(self._folder(job).mkdir, mode=0o700, parents=True)
            for kind in job.kinds:
                await self._write(job, kind)
            job.state = "done"
        except Exception as error:  # noqa: BLE001 - who waits is told, and the log has what is none of ours
            job.state = "failed"
            try:
                _, (job.issue, *_), _ = told(error)
            except Exception:  # whatever it was, who waits is told that it failed
                log.exception("an export failed")
                job.issue = Issue("exception", "the export failed; the hub's log tells more", "")

    async def _write(self, job: Job, kind: str) -> None:
        path, lines = self._folder(job) / f"{kind}.ndjson", []
        async for line in self._lines(job, kind):
            lines.append(line)
            job.counts[kind] = job.counts.get(kind, 0) + 1
            if len(lines) == _PAUSE_EVERY:
                await asyncio.to_thread(_append, path, lines)
                lines = []
                await asyncio.sleep(_PAUSE_S)
        if lines:
            await asyncio.to_thread(_append, path, lines)

    async def _lines(self, job: Job, kind: str) -> AsyncIterator[bytes]:
        if kind != "Observation":
            query = Query([] if job.since is None else [("_lastUpdated", f"ge{job.since}")])
            # What has no time of change is always exported.
            timed = kind in ("DetectedIssue", "Flag")
            for resource in await kinds.search(self._fhir, KINDS[kind], query if timed else Query(())):
                yield encode(resource)
            return
        entries = await self._fhir.registry.devices()
        job.devices = len(entries)
        begun = [("_lastUpdated", f"lt{instant(job.began_ns)}")]
        if job.since is not None:
            begun.append(("_lastUpdated", f"ge{job.since}"))
        for entry in entries:
            device = kinds.device_resource(self._fhir, entry)["id"]
            selection = await select(self._fhir, Query([*begun, ("device", f"Device/{device}")]))
            async for found in observations.find(self._fhir, selection, "oldest", expected=1_000):
                yield found.entry.resource
            job.devices_done += 1


def _append(path: Path, lines: Sequence[bytes]) -> None:
    with path.open("ab") as file:
        file.write(b"\n".join(lines) + b"\n")
