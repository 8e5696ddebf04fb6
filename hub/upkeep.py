"""How each part of the hub is: its technical alarms, and what `/readyz` says."""

import logging

from hub.alarms.conditions import Conditions
from hub.api.services import Part, PartState
from hub.clock import Now
from hub.device import Device
from hub.model import Priority

log = logging.getLogger(__name__)


class Upkeep:
    """Takes note of the states of the hub's own parts and raises an alarm for each that is not well."""

    def __init__(self, own: Device, conditions: Conditions, now_ns: Now) -> None:
        self._own = own
        self._conditions = conditions
        self._now_ns = now_ns
        self._parts: dict[str, Part] = {}

    def expect(self, name: str, state: PartState, meaning: str, *, required: bool = False) -> None:
        """Name a part before it has told its state."""
        self._parts[name] = Part(name, state, meaning, required)

    def note(
        self,
        name: str,
        state: PartState,
        meaning: str,
        *,
        condition: str,
        text: str = "",
        priority: Priority = "medium",
        part: str = "",
        devices: tuple[str, ...] = (),
    ) -> None:
        """Note a part's state. `condition` is the alarm that is present unless the state is ok.

        `meaning` is for everyone who asks; `text` for the alarm, `meaning` where empty. `part` tells several
        of one condition apart; `devices` are those that the alarm takes with it.
        """
        required = self._parts[name].required if name in self._parts else False
        self._parts[name] = Part(name, state, meaning, required)
        present = state != "ok"
        self._conditions.technical(
            self._own,
            condition,
            present,
            text or f"{name}: {meaning}",
            self._now_ns(),
            priority,
            devices=devices,
            part=part,
        )

    def devices(self, condition: str, part: str) -> tuple[str, ...]:
        """Return the devices that an alarm of a part takes with it, empty where it isn't present."""
        known = self._own.conditions.get((f"{part}/", condition))
        return known.alarm.devices if known and known.alarm else ()

    def parts(self) -> list[Part]:
        """Return every part as it is now."""
        return list(self._parts.values())
