"""How alarms leave the hub: MQTT for pagers and lights, webhooks, e-mail."""

import asyncio
import hmac
import smtplib
import ssl
import time
from collections import deque
from collections.abc import Callable
from email.message import EmailMessage
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from itertools import accumulate
from typing import Final, Literal, NamedTuple
from urllib.parse import urlsplit

from msgspec import Raw, json
from msgspec.structs import asdict, replace
from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr

from hub.alarms.alarm import RANK, AlarmEvent
from hub.alarms.delivery import DeliveryFailed
from hub.alarms.signal import is_visible
from hub.events import ToldAlarm, told_alarm, told_event
from hub.model import Priority
from hub.mqtt.topics import is_id, native_topic

_TIMEOUT_S: Final = 10.0
CALLS: Final = frozenset({"start", "signalled", "escalate", "re-alarmed", "reassigned"})
"""Events that ask somebody to come."""

_WAITING: Final = 20_000
"""Events that wait for a publisher that is full."""

_LIST_BYTES: Final = 256 << 10
"""Of an area's alarms in one message: a broker refuses one that is too large, and the list with it."""
_DEVICES: Final = 1_000
"""Of those that a lost broker took with it, named in one message; the alarm's text has their number."""

Area = tuple[str, str]
"""Site and area."""
Publish = Callable[[str, bytes, bool], bool]
"""Take a topic, a payload, and whether to retain it; never waits. False: not now, offer it again."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class WebhookSettings(_Section):
    """Another system that is told every alarm event by HTTP POST."""

    name: str = "webhook"
    url: AnyHttpUrl
    secret: SecretStr
    """Signs each request: `Wardhub-Signature: t=<seconds>,v1=<HMAC-SHA256 of "<t>.<body>", hexadecimal>`."""
    priorities: tuple[Priority, ...] = ("high", "medium", "low")
    longest_h: float = Field(default=24, gt=0)
    """An event that was not taken for so long is given up."""


class MailSettings(_Section):
    """Addresses that are told who is asked to respond."""

    name: str = "mail"
    host: str
    port: int = Field(default=587, ge=1, le=65535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    user: str | None = None
    password: SecretStr | None = None
    sender: str
    to: tuple[str, ...] = Field(min_length=1)
    priorities: tuple[Priority, ...] = ("high",)
    longest_h: float = Field(default=1, gt=0)


class NotifySettings(_Section):
    """Who outside the hub is told of alarms."""

    mqtt: bool = True
    """Publish `wards/v1/{site}/{area}/hub/active-alarms` (retained) and `.../hub/alarm-events`."""
    webhooks: tuple[WebhookSettings, ...] = ()
    mails: tuple[MailSettings, ...] = ()


class _Shown(NamedTuple):
    """An alarm that is signalled, by urgency."""

    rank: int
    sequence: int
    alarm: bytes
    """As JSON."""


class Pagers:
    """Publishes alarms for pagers and lights.

    Each event at once on `alarm-events`, in sequence. Every alarm of an area that is signalled on
    `active-alarms`, retained: at once when it changes, then with each `flush` while it goes on changing.
    """

    def __init__(self, publish: Publish, area_of: Callable[[str, str], str]) -> None:
        """`area_of` gives the area of a device by site and id; an empty one stands for `all`."""
        self._publish = publish
        self._area_of = area_of
        self._present: dict[Area, dict[str, _Shown]] = {}
        self._areas: dict[str, Area] = {}
        self._changed: set[Area] = set()
        self._lately: set[Area] = set()
        """Areas whose list was published since the last `flush`."""
        self._waiting: deque[tuple[str, bytes]] = deque()
        self.dropped = 0
        """Events that were never published, since too many waited; the lists still tell what is present."""

    def restore(self, present: list[AlarmEvent]) -> None:
        """Take over what is present; `flush` then publishes it."""
        for event in present:
            self._keep(event, json.encode(_bounded(told_alarm(event))))

    def take(self, event: AlarmEvent, recorded: bool) -> None:
        """Publish an event."""
        told = told_event(event, recorded)
        alarm = json.encode(_bounded(told.alarm))
        area = self._keep(event, alarm)
        if len(self._waiting) >= _WAITING:
            self._waiting.popleft()
            self.dropped += 1
        payload = json.encode({**asdict(told), "alarm": Raw(alarm)})
        self._waiting.append((native_topic(*area, "hub", "alarm-events"), payload))
        self._drain()
        if not self._waiting and area not in self._lately:
            self._list(area)

    def flush(self) -> None:
        """Publish what waits, and the lists that have changed. Call it several times a second."""
        self._lately.clear()
        self._drain()
        for area in list(self._changed):
            self._list(area)

    def _list(self, area: Area) -> None:
        """Publish what is signalled in an area, the most urgent first, as much as a message may hold."""
        present = sorted(self._present.get(area, {}).values())
        sizes = accumulate(len(one.alarm) for one in present)
        fitting = [one.alarm for one, size in zip(present, sizes, strict=True) if size <= _LIST_BYTES]
        payload = b'{"alarms":[%b],"more":%d}' % (b",".join(fitting), len(present) - len(fitting))
        if self._publish(native_topic(*area, "hub", "active-alarms"), payload, True):
            self._changed.discard(area)
            self._lately.add(area)

    def _drain(self) -> None:
        while self._waiting and self._publish(*self._waiting[0], False):
            self._waiting.popleft()

    def _keep(self, event: AlarmEvent, encoded: bytes) -> Area:
        alarm = event.alarm
        key = self._areas.get(alarm.id)
        if key is None:
            area = self._area_of(alarm.site, alarm.device)
            key = self._areas[alarm.id] = (alarm.site, area if is_id(area) else "all")
        present = self._present.setdefault(key, {})
        if event.event == "end":
            present.pop(alarm.id, None)
            del self._areas[alarm.id]
        elif event.signal is None or is_visible(event.signal):
            present[alarm.id] = _Shown(-RANK[_shown_priority(event)], event.sequence, encoded)
        else:
            present.pop(alarm.id, None)
        self._changed.add(key)
        return key


def _bounded(alarm: ToldAlarm) -> ToldAlarm:
    return alarm if len(alarm.devices) <= _DEVICES else replace(alarm, devices=alarm.devices[:_DEVICES])


class Webhook:
    """Posts alarm events as JSON, as the stream tells them, signed."""

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings

    def wants(self, event: AlarmEvent) -> bool:
        """Tell whether an event is of a priority that the other side wants."""
        return _shown_priority(event) in self._settings.priorities

    async def send(self, event: AlarmEvent, recorded: bool) -> None:
        """Post an event. Raises DeliveryFailed."""
        body = json.encode(told_event(event, recorded))
        await asyncio.to_thread(self._post, body, event.sequence)

    def _post(self, body: bytes, sequence: int) -> None:
        parts = urlsplit(str(self._settings.url))
        stamp = str(int(time.time()))  # the other side checks it against its own clock, not the hub's
        secret = self._settings.secret.get_secret_value().encode()
        headers = {
            "Content-Type": "application/json",
            "Wardhub-Sequence": str(sequence),
            "Wardhub-Signature": f"t={stamp},v1={signature(secret, stamp, body)}",
        }
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request("POST", path, body, headers)
            status = connection.getresponse().status
        except (OSError, HTTPException) as error:
            raise DeliveryFailed(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if not 200 <= status < 300:
            # 4xx is a refusal for good, but for those that time or an administrator mends.
            final = 400 <= status < 500 and status not in (401, 403, 404, 408, 409, 425, 429)
            raise DeliveryFailed(f"it answers with status {status}", retry=not final)


class Mail:
    """Sends an e-mail when somebody is asked to respond."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings

    def wants(self, event: AlarmEvent) -> bool:
        """Tell whether an event asks somebody to come, at a priority that is mailed."""
        if event.event not in CALLS or (event.signal is not None and not is_visible(event.signal)):
            return False
        return _shown_priority(event) in self._settings.priorities

    async def send(self, event: AlarmEvent, recorded: bool) -> None:  # noqa: ARG002 - as the interface
        """Send one mail. Raises DeliveryFailed."""
        await asyncio.to_thread(self._mail, mail_text(event, self._settings))

    def _mail(self, message: EmailMessage) -> None:
        settings = self._settings
        try:
            with self._connect() as server:
                if settings.security == "starttls":
                    server.starttls(context=ssl.create_default_context())
                if settings.user is not None and settings.password is not None:
                    server.login(settings.user, settings.password.get_secret_value())
                server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            raise DeliveryFailed(f"{type(error).__name__}") from error

    def _connect(self) -> smtplib.SMTP:
        settings = self._settings
        if settings.security == "tls":
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(settings.host, settings.port, timeout=_TIMEOUT_S, context=context)
        return smtplib.SMTP(settings.host, settings.port, timeout=_TIMEOUT_S)


def signature(secret: bytes, stamp: str, body: bytes) -> str:
    """Return the signature of a webhook's body at a time: HMAC-SHA256 of `<stamp>.<body>`, hexadecimal."""
    return hmac.new(secret, stamp.encode() + b"." + body, sha256).hexdigest()


def mail_text(event: AlarmEvent, settings: MailSettings) -> EmailMessage:
    """Return the mail of an event. It names ward and bed, never the patient."""
    alarm, signal = event.alarm, event.signal
    place = " ".join(part for part in (event.ward, event.bed) if part) or alarm.device
    message = EmailMessage()
    message["From"] = settings.sender
    message["To"] = ", ".join(settings.to)
    message["Subject"] = f"[{_shown_priority(event)}] {place}: {alarm.text}"
    lines = [
        alarm.text,
        f"Where: {alarm.site} {place}, device {alarm.device}",
        f"What happened: {event.event}" + (f", {event.why}" if event.why else ""),
        f"Asked to respond: {signal.assigned}" if signal and signal.assigned else "",
        f"Alarm {alarm.id}, event {event.sequence}",
        "A secondary notification: the bedside device's own alarm goes first.",
    ]
    message.set_content("\n".join(line for line in lines if line) + "\n")
    return message


def _shown_priority(event: AlarmEvent) -> Priority:
    return event.signal.priority if event.signal else event.alarm.priority
