"""Trying out the disk, the clock, the registry, the stores and the way in, for `hub doctor`."""

import ctypes
import os
import shutil
import statistics
import time
from pathlib import Path

from hub.api.certificate import CertificateUnusable, examine, now, server_context
from hub.finding import Finding
from hub.openid.errors import ProviderUnavailable
from hub.openid.settings import OpenIdSettings
from hub.settings import (
    MB,
    DuckDbSettings,
    FhirPushSettings,
    HttpSettings,
    StoreSettings,
    VictoriaStoreSettings,
)
from hub.stores.fhir import NO_WARD, FhirStore
from hub.stores.influx import InfluxStore
from hub.stores.store import StoreRefused, StoreUnavailable
from hub.stores.victoria import VictoriaStore
from hub.ward.model import RegistryUnavailable
from hub.ward.registry import Registry

_FSYNCS = 50
_SLOW_FSYNC_MS = 50.0
_STA_UNSYNC = 0x0040
"""Of Linux's adjtimex(2): nobody keeps this clock in step."""


def probe_disk(folder: Path, quota_mb: int) -> list[Finding]:
    """Write and fsync in the data folder, and look at the room that is left. Removes what it wrote."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        took_ms = _time_fsyncs(folder / "doctor.tmp")
        free_mb = shutil.disk_usage(folder).free // MB
    except OSError as error:
        return [
            Finding(
                "disk",
                "error",
                f"{folder}: {error.strerror}",
                "Nothing can be journalled, so nothing is acknowledged.",
                "Set data_dir to a folder that the hub may write.",
            )
        ]
    median_ms = statistics.median(took_ms)
    slow = median_ms > _SLOW_FSYNC_MS
    room = free_mb >= 2 * quota_mb
    return [
        Finding(
            "disk: fsync",
            "warning" if slow else "ok",
            f"{median_ms:.1f} ms in the middle, {max(took_ms):.1f} ms at most, in {folder}",
            "Devices wait so long for an acknowledgement at least; alarms don't wait.",
            "Put data_dir on an SSD with power-loss protection." if slow else "",
        ),
        Finding(
            "disk: room",
            "ok" if room else "warning",
            f"{free_mb} MB are free; the journal may take {quota_mb} MB and the store comes on top",
            "A full disk stops acknowledging: the broker keeps messages, alarms go on, nothing is lost.",
            "" if room else "Free space, or lower journal.quota_mb.",
        ),
    ]


def probe_clock() -> list[Finding]:
    """Ask the kernel whether something keeps the clock in step."""
    state = _Timex()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.adjtimex(ctypes.byref(state)) < 0:
        error = os.strerror(ctypes.get_errno())
        return [
            Finding("clock", "warning", f"the kernel can't be asked: {error}", _CLOCK_MEANS, _CLOCK_CHANGE)
        ]
    if state.status & _STA_UNSYNC:
        return [
            Finding(
                "clock", "warning", "nothing keeps this machine's clock in step", _CLOCK_MEANS, _CLOCK_CHANGE
            )
        ]
    accuracy_ms = state.maxerror / 1000
    return [Finding("clock", "ok", f"in step, within {accuracy_ms:.0f} ms", _CLOCK_MEANS)]


_CLOCK_MEANS = "Devices' clocks are judged against this one, and readings without a time get it."
_CLOCK_CHANGE = "Run chrony or another NTP client on this machine; in a container, on its host."


class _Timex(ctypes.Structure):
    """struct timex of Linux, up to what is read here; the rest is room."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def probe_certificate(settings: HttpSettings) -> list[Finding]:
    """Look at the certificate that browsers are shown, where there is one."""
    cert_file, key_file = settings.cert_file, settings.key_file
    if cert_file is None or key_file is None:
        return []
    means = "Browsers reach the nurse station, and keep sessions, over TLS alone."
    try:
        certificate = examine(cert_file, key_file)
        server_context(cert_file, key_file)
    except CertificateUnusable as error:
        return [Finding("http: certificate", "error", str(error), "The hub does not start.", "See the text.")]
    remark = certificate.remark(now())
    if remark is not None:
        over = now() >= certificate.until
        return [Finding("http: certificate", "error" if over else "warning", remark, means, "See the text.")]
    if key_file.stat().st_mode & 0o007:
        found = f"http.key_file {key_file} can be read by every user of this machine"
        return [Finding("http: certificate", "warning", found, means, f"chmod 600 {key_file}")]
    found = f"good for {', '.join(certificate.names) or 'no name'} until {certificate.until:%Y-%m-%d}"
    return [Finding("http: certificate", "ok", found, means)]


async def probe_provider(settings: OpenIdSettings) -> list[Finding]:
    """Ask the OpenID provider what it is and what it signs with."""
    from hub.openid.provider import Provider  # 20 MB: only who has one pays for it

    name, means = "OpenID provider", "People sign in at it."
    others = (
        "local users can sign in" if settings.local_users else "nobody can sign in: oidc.local_users is off"
    )
    provider = Provider(settings)
    try:
        metadata, keys = await provider.ask()
        settings.secret()
    except (ProviderUnavailable, OSError) as error:
        return [Finding(name, "error", str(error), f"Meanwhile {others}.", "See the text.")]
    leaves = "signs out there too" if metadata.end_session_endpoint else "has no sign-out of its own"
    findings = [
        Finding(
            name,
            "ok",
            f"{metadata.issuer} answers, {len(keys.keys)} keys, {leaves}; it must know"
            f" {settings.redirect_uri} and {settings.signed_out_uri}",
            means,
        )
    ]
    if not settings.local_users:
        findings.append(
            Finding(
                f"{name}: alone",
                "warning",
                "oidc.local_users is off",
                "While the provider is away nobody can sign in, and nobody can acknowledge an alarm.",
                "Keep a local user for emergencies, and oidc.local_users on.",
            )
        )
    return findings


async def probe_registry(url: str) -> list[Finding]:
    """Open the registry's database, which brings its tables up to date."""
    registry = Registry(url)
    try:
        await registry.start()
    except RegistryUnavailable as error:
        return [
            Finding(
                "registry",
                "error",
                str(error),
                "Nobody knows which patient is at which device; the hub does not start.",
                "Change what the text names.",
            )
        ]
    await registry.stop()
    return [
        Finding("registry", "ok", "it opens and its tables are up to date", "Readings find their patient.")
    ]


async def probe_store(settings: StoreSettings) -> list[Finding]:
    """Connect to a store and ask it for something."""
    name = f"store: {settings.kind}"
    if isinstance(settings, DuckDbSettings):
        return [
            Finding(
                name,
                "ok",
                "embedded, a file in data_dir",
                "What it acknowledged survives a kill; one process at a time can read it.",
            )
        ]
    if isinstance(settings, FhirPushSettings):
        return await _try_sending(name, settings)
    victoria = isinstance(settings, VictoriaStoreSettings)
    store = VictoriaStore(settings) if isinstance(settings, VictoriaStoreSettings) else InfluxStore(settings)
    means = (
        "It keeps milliseconds and numbers only; the hub sends again what it may have lost in a crash."
        if victoria
        else "What it acknowledged is safe; an outage makes the journal longer and loses nothing."
    )
    began = time.perf_counter()
    try:
        await store.start()
        await store.totals("wardhub-doctor", "nobody")
    except (StoreUnavailable, StoreRefused) as error:
        return [
            Finding(
                name, "error", str(error), "Readings spool in the journal; none is lost.", "See the text."
            )
        ]
    finally:
        await store.stop()
    return [Finding(name, "ok", f"answers in {(time.perf_counter() - began) * 1000:.0f} ms", means)]


async def _try_sending(name: str, settings: FhirPushSettings) -> list[Finding]:
    """Ask the FHIR server that readings are sent to what it is."""
    store = FhirStore(settings, NO_WARD)
    await store.start()
    try:
        software = await store.probe()
    except StoreUnavailable as error:
        means = "Readings spool in the journal; none is lost."
        return [Finding(name, "error", str(error), means, "Set its url and token, or see to the server.")]
    finally:
        await store.stop()
    return [Finding(name, "ok", f"{software} answers", "Readings are sent to it; nothing is read from it.")]


def _time_fsyncs(path: Path) -> list[float]:
    took_ms = []
    try:
        with path.open("wb", buffering=0) as file:
            for _ in range(_FSYNCS):
                file.write(b"\0" * 4096)
                began = time.perf_counter()
                os.fsync(file.fileno())
                took_ms.append((time.perf_counter() - began) * 1000)
    finally:
        path.unlink(missing_ok=True)
    return took_ms
