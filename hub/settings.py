"""The hub's settings: `hub.toml`, then environment variables `HUB_…`; every error is told at once."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    DirectoryPath,
    Field,
    FilePath,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from hub.alarms.channels import NotifySettings
from hub.clock import SECOND_NS, ClockLimits
from hub.location.settings import LocationSettings
from hub.mqtt.address import BrokerAddress
from hub.mqtt.broker_settings import BrokerSettings, BrokerTls, BrokerUser
from hub.openid.settings import OpenIdSettings
from hub.stores.fhir import FhirStoreSettings
from hub.stores.influx import InfluxSettings
from hub.stores.store import Retention
from hub.stores.victoria import VictoriaSettings

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MB = 1 << 20
_SECRET = re.compile("password|secret|token|url")
"""Keys whose values no error repeats."""


class SettingsInvalid(ValueError):  # noqa: N818 - names the state of the settings
    """Settings that can't be used; the message has a line an error, each saying what to change."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class EmbeddedBrokerSettings(_Section):
    """The broker that the hub starts itself when `brokers` is empty."""

    host: str = "127.0.0.1"
    """Loopback by default. To let devices in from a network, give TLS and users as well."""
    port: int = Field(default=1883, ge=0, le=65535)
    """0: any free one."""
    store_mb: int = Field(default=2048, ge=64)
    """What the broker may keep on disk for a hub that is away."""
    max_connections: int = Field(default=19_000, ge=1)
    """A process here may have 20,000 open files; `ulimit -n` tells yours."""
    sync_always: bool = False
    """Fsync every message before its PUBACK: survives a power cut, at about a tenth of the speed."""
    tls: BrokerTls | None = None
    users: tuple[BrokerUser, ...] = ()
    """Where there are none, everyone who reaches the port may connect."""

    def of_broker(self, data_dir: Path, filters: Sequence[str]) -> BrokerSettings:
        """Return what the broker is told. Raises SettingsInvalid where definitions take too many topics."""
        try:
            return BrokerSettings(
                data_dir=data_dir,
                host=self.host,
                port=self.port,
                filters=tuple(filters),
                max_store_bytes=self.store_mb * MB,
                max_connections=self.max_connections,
                sync_interval="always" if self.sync_always else "2m",
                tls=self.tls,
                users=self.users,
            )
        except ValidationError as error:
            faults = [one["msg"].removeprefix("Value error, ") for one in error.errors()]
            raise SettingsInvalid("\n".join(f"embedded_broker: {fault}" for fault in faults)) from error


class JournalSettings(_Section):
    """The spool between the line and the stores."""

    quota_mb: int = Field(default=4096, ge=1)
    raw_mb: int = Field(default=256, ge=0)
    """Raw payloads kept, so that a wrongly mapped device can be run again; 0 keeps none."""
    rejects_days: float = Field(default=30, gt=0)
    rejects_mb: int = Field(default=64, ge=1)


class DuckDbSettings(_Section):
    """The embedded store."""

    kind: Literal["duckdb"] = "duckdb"
    name: Literal["duckdb"] = "duckdb"
    memory_mb: int = Field(default=128, ge=64)
    """What the store may keep in memory; more makes long looks back quicker."""


class InfluxStoreSettings(InfluxSettings):
    """An InfluxDB 1.x, 2.x or 3 server."""

    kind: Literal["influxdb"] = "influxdb"


class VictoriaStoreSettings(VictoriaSettings):
    """A VictoriaMetrics server."""

    kind: Literal["victoriametrics"] = "victoriametrics"


class FhirPushSettings(FhirStoreSettings):
    """Another FHIR server, which Observations are sent to."""

    kind: Literal["fhir"] = "fhir"


StoreSettings = Annotated[
    DuckDbSettings | InfluxStoreSettings | VictoriaStoreSettings | FhirPushSettings,
    Field(discriminator="kind"),
]


class RetentionSettings(_Section):
    """How long each kind of data is kept, in days."""

    readings_days: float = Field(default=365, gt=0)
    waveforms_days: float = Field(default=3, gt=0)
    trends_days: float = Field(default=3650, gt=0)
    alarms_days: float = Field(default=365, gt=0)
    accesses_days: float = Field(default=3650, gt=0)
    """The record of who asked for what over FHIR."""

    def of_stores(self) -> Retention:
        """Return what a store keeps."""
        return Retention(self.readings_days, self.waveforms_days, self.trends_days)


class HttpSettings(_Section):
    """Where the API is served."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0: any free one."""
    public_url: str | None = None
    """Where other programs find this hub, such as `https://hub.example`. FHIR links begin with it, and
    clients that sign (`hub client`) name it in what they sign; without it they are refused."""
    cert_file: FilePath | None = None
    key_file: FilePath | None = None

    @field_validator("public_url")
    @classmethod
    def _usable_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "")
        if url is not None and (
            parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment
        ):
            raise ValueError("expected an address such as https://hub.example or https://proxy.example/hub")
        return None if url is None else url.rstrip("/")

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: give both or none")
        return self


class ClockSettings(_Section):
    """Devices' clocks, and the scale of the hub's own for replays."""

    tolerance_s: float = Field(default=2, gt=0, le=60)
    evidence_s: float = Field(default=10, gt=0)
    ahead_h: float = Field(default=24, gt=0)
    """A time further ahead is no time at all: its values are questionable and taken at receipt."""
    behind_days: float = Field(default=30, gt=0)
    alarm_s: float = Field(default=60, gt=0)
    time_scale: float = Field(default=1, gt=0, le=1000)
    """For replays: how many times as fast as real time the hub's clock runs from `time_epoch`."""
    time_epoch: AwareDatetime | None = None

    def limits(self) -> ClockLimits:
        """Return what the estimate works with. A scaled clock scales delays too."""
        return ClockLimits(
            tolerance_ns=round(self.tolerance_s * self.time_scale * SECOND_NS),
            evidence_ns=round(self.evidence_s * self.time_scale * SECOND_NS),
            ahead_ns=round(self.ahead_h * 3600 * SECOND_NS),
            behind_ns=round(self.behind_days * 86_400 * SECOND_NS),
            alarm_ns=round(self.alarm_s * self.time_scale * SECOND_NS),
        )


class LineSettings(_Section):
    """Bounds of the line."""

    max_pending: int = Field(default=16_000, ge=100, le=60_000)
    """Messages taken from the broker and not yet durable; beyond it the hub takes no more for a while."""
    max_devices: int = Field(default=100_000, ge=1)
    backlog_s: float = Field(default=60, gt=0)
    """Readings older than this in corrected time are stored, never alarmed."""


class Settings(BaseSettings):
    """All settings of one hub."""

    model_config = SettingsConfigDict(
        env_prefix="HUB_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )

    id: Id = "hub-1"
    """Unique among the hubs of a hospital: the client id at the broker follows from it."""
    data_dir: Path = Path("var/hub")
    """Everything that the hub keeps itself; one hub at a time, on a local disk."""
    site: Id = "main"
    """The site of devices whose topics name none."""
    time_zone: str = "UTC"
    """Of device times without a zone."""
    brokers: tuple[BrokerAddress, ...] = ()
    """Empty: the hub starts the embedded one."""
    broker_url: str | None = None
    """Short for one broker in `brokers`."""
    embedded_broker: EmbeddedBrokerSettings = EmbeddedBrokerSettings()
    database_url: str | None = None
    """The ward registry's; SQLite in `data_dir` where absent. `postgresql+psycopg://…` for PostgreSQL."""
    ward_file: FilePath | None = None
    """Sites, wards, beds and devices to begin with."""
    definitions: tuple[DirectoryPath, ...] = ()
    """Folders with device definitions of the hospital's own."""
    limits_file: FilePath | None = None
    """Alarm limits in place of the built-in ones."""
    notify: NotifySettings = NotifySettings()
    """Who outside the hub is told of alarms."""
    journal: JournalSettings = JournalSettings()
    stores: tuple[StoreSettings, ...] = (DuckDbSettings(),)
    """The first is the one that trends are read from."""
    retention: RetentionSettings = RetentionSettings()
    http: HttpSettings = HttpSettings()
    oidc: OpenIdSettings | None = None
    """Let people sign in at the hospital's OpenID provider."""
    clock: ClockSettings = ClockSettings()
    line: LineSettings = LineSettings()
    location: LocationSettings = LocationSettings()
    """How sightings of beacons become zones."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError(f"{zone!r} is no time zone; use a name such as Asia/Shanghai or Europe/Berlin")
        return str(ZoneInfo(zone))

    @field_validator("broker_url")
    @classmethod
    def _usable_url(cls, url: str | None) -> str | None:
        try:
            if url:
                BrokerAddress(url=url)
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return url

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.broker_url and self.brokers:
            raise ValueError("give broker_url or brokers, not both")
        names = [store.name for store in self.stores]
        if not names:
            raise ValueError('stores: name at least one, for instance kind = "duckdb"')
        if self.stores[0].kind == "fhir":
            raise ValueError("stores: kind fhir only sends; name one that readings are read from before it")
        if len(set(names)) != len(names):
            raise ValueError("stores: two have the same name; give each one its own `name`")
        return self

    @property
    def broker_addresses(self) -> tuple[BrokerAddress, ...]:
        """Every broker to read from; empty for the embedded one."""
        return (BrokerAddress(url=self.broker_url),) if self.broker_url else self.brokers

    @property
    def registry_url(self) -> str:
        """Where the ward registry is."""
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'registry.sqlite'}"

    @property
    def epoch_ns(self) -> int | None:
        """When scaled time and real time are equal."""
        epoch: datetime | None = self.clock.time_epoch
        return None if epoch is None else round(epoch.timestamp() * 1000) * 1_000_000


def load_settings(
    path: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    default_file: bool = True,
) -> Settings:
    """Read the settings. Raises SettingsInvalid, which names every wrong key and what was expected.

    Without a path, `hub.toml` in the working directory is read if it is there and `default_file` is set.
    Environment variables (`HUB_HTTP__PORT=9000`) go before the file, `overrides` before both.
    """
    file = path or Path("hub.toml")
    document: dict[str, Any] = {}
    if path is not None or (default_file and file.is_file()):
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise SettingsInvalid(f"{file}: can't be read: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"{file}: not TOML: {error}") from error

    class FromFile(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the hook's signature
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, document)

    try:
        return FromFile(**(overrides or {}))
    except ValidationError as error:
        raise SettingsInvalid("\n".join(_lines(file, error))) from error
    except SettingsError as error:
        raise SettingsInvalid(f"environment: {error}: lists and tables are written as JSON") from error


def _lines(file: Path, error: ValidationError) -> list[str]:
    lines = []
    for one in error.errors():
        # The tag of a store's kind is part of pydantic's path but no key of the file.
        keys = [
            str(part) for part in one["loc"] if part not in ("duckdb", "influxdb", "victoriametrics", "fhir")
        ]
        message = one["msg"].removeprefix("Value error, ")
        if one["type"] == "extra_forbidden":
            message = "no such setting; see docs/reference/settings.md"
        elif isinstance(one["input"], str | int | float) and not _SECRET.search(".".join(keys)):
            message += f" (found {one['input']!r})"
        lines.append(f"{file}: {'.'.join(keys) or 'settings'}: {message}")
    return lines
