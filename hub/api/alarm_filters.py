"""Which alarms somebody asks for: by place, patient, device, urgency, kind, words, state and time."""

from collections.abc import Callable
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from hub.alarms.alarm import AlarmEvent
from hub.alarms.recent import LAST
from hub.api.parameters import InScope, Instant, QueryId, Span
from hub.api.services import Services
from hub.model import Kind, Priority
from hub.vocabulary import PARAMETERS, unknown

State = Literal["active", "present", "latched", "paused", "off", "ended", "all"]
_LONGEST_S: Final = 366 * 86_400
_DAY_S: Final = 86_400


def _known(name: str) -> str:
    if name not in PARAMETERS:
        raise ValueError(unknown(name))
    return name


class AlarmFilter(InScope):
    """What an alarm must be to be told. A filter that may be repeated takes any of what it names."""

    area: QueryId | None = Field(default=None, description="Of the device, as it was provisioned.")
    bed: QueryId | None = Field(default=None, examples=["icu-01"])
    patient: QueryId | None = Field(default=None, description="Surrogate id of who lies there.")
    device: QueryId | None = None
    priority: list[Priority] = Field(
        default=[],
        description="Of the condition, or as the signal shows it; may be repeated.",
        examples=[["high", "medium"]],
    )
    kind: list[Kind] = Field(default=[], description="May be repeated.")
    parameter: list[Annotated[str, AfterValidator(_known)]] = Field(
        default=[], description="Vocabulary names; may be repeated.", examples=[["spo2"]]
    )
    condition: list[Annotated[str, Field(max_length=128)]] = Field(
        default=[], description="For instance limit_low or device_silent; may be repeated."
    )
    text: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Part of the alarm's text, in any case.",
        examples=["saturation"],
    )

    def takes(self, hub: Services, event: AlarmEvent) -> bool:
        """Tell whether an alarm, at the place of one of its events, is asked for.

        What concerns everybody, as the hub's own alarms do, is in every ward and area.
        """
        alarm = event.alarm
        if not hub.stream.shows(self.scope, event):
            return False
        if self.area is not None and alarm.device != hub.hub:
            device = hub.registry.device(alarm.site, alarm.device)
            if device is None or device.area != self.area:
                return False
        shown = event.signal.priority if event.signal is not None else alarm.priority
        return (
            self.bed in (None, event.bed)
            and self.patient in (None, event.patient)
            and self.device in (None, alarm.device)
            and (not self.priority or alarm.priority in self.priority or shown in self.priority)
            and (not self.kind or alarm.kind in self.kind)
            and (not self.parameter or alarm.parameter in self.parameter)
            and (not self.condition or alarm.condition in self.condition)
            and (self.text is None or self.text.casefold() in alarm.text.casefold())
        )


class AlarmsQuery(AlarmFilter, Span):
    """Which alarms, and which page of them."""

    state: State = Field(
        default="active",
        description="active: not ended. Of these, present: the condition is there; latched: it is gone and"
        " the signal waits to be reset; paused: audio paused; off: signal switched off. ended, all: by when"
        " they began, the last day where `from` and `to` are absent.",
    )
    acknowledged: bool | None = Field(
        default=None, description="Whether somebody has taken charge of them, or had when they ended."
    )
    from_ns: Instant | None = Field(default=None, alias="from", description="They began at it or later.")
    to_ns: Instant | None = Field(default=None, alias="to", description="They began before it.")
    cursor: int | None = Field(
        default=None, ge=1, le=LAST, description="`next` of the page before.", examples=[4711]
    )
    limit: int = Field(default=1000, ge=1, le=5000)

    @property
    def is_past(self) -> bool:
        """Tell whether ended alarms are asked for, which the disk has."""
        return self.state in ("ended", "all")

    @property
    def before(self) -> int:
        """Return the sequence below which the alarms of this page began."""
        return LAST if self.cursor is None else self.cursor

    def span(self, now_ns: int) -> tuple[int, int]:
        """Return when they began, [start, end) in nanoseconds since the epoch."""
        if self.from_ns is None and self.to_ns is None and not self.is_past:
            return 0, LAST
        end_ns = now_ns + 1 if self.to_ns is None else self.to_ns  # what begins at this very moment, too
        if not self.is_past and self.from_ns is None:
            return 0, end_ns
        return self.resolve(end_ns, _LONGEST_S, _DAY_S)

    def takes(self, hub: Services, event: AlarmEvent) -> bool:
        """Tell whether an alarm whose newest event is given is asked for."""
        signal = event.signal
        if not _STATES[self.state](event):
            return False
        if self.acknowledged is not None:
            by = signal.acknowledged_by if signal is not None else None
            if self.acknowledged != (by is not None):
                return False
        return super().takes(hub, event)


def _latched(event: AlarmEvent) -> bool:
    return event.event != "end" and event.signal is not None and event.signal.presence == "latched"


def _activation(event: AlarmEvent, activation: str) -> bool:
    return event.event != "end" and event.signal is not None and event.signal.activation == activation


_STATES: Final[dict[State, Callable[[AlarmEvent], bool]]] = {
    "active": lambda event: event.event != "end",
    "present": lambda event: event.event != "end" and event.alarm.presence == "present",
    "latched": _latched,
    "paused": lambda event: _activation(event, "paused"),
    "off": lambda event: _activation(event, "off"),
    "ended": lambda event: event.event == "end",
    "all": lambda _: True,
}
