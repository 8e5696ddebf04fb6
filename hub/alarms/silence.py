"""Devices that are not heard: silent ones, offline ones, and whole gateways as one alarm."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from hub.alarms.rules import LimitsOf
from hub.clock import SECOND_NS
from hub.device import Device

if TYPE_CHECKING:
    from hub.alarms.conditions import Conditions

Key = tuple[str, str]
"""Site and gateway id."""
Listening = Mapping[str, int | None]
"""By broker: since when it can bring messages, hub time; None while it can't, and none of its devices can be
blamed for being silent. "" stands for devices of which it isn't known what broker they come through."""


def came_through(
    devices: Iterable[Device], brokers: Collection[str], site: str, listed: Iterable[str] = ()
) -> tuple[str, ...]:
    """Return the ids of a site's devices that a lost broker, by any of its names, takes with it.

    `listed` were taken with it before the hub was restarted: they stay unless they come through another one.
    """
    taken = set(listed)
    for device in devices:
        if device.site != site or not device.received_ns:
            continue
        if device.broker in brokers:
            taken.add(device.id)
        elif device.broker:
            taken.discard(device.id)
    return tuple(sorted(taken))


class Silence:
    """Judges, every second, who is not heard."""

    def __init__(
        self,
        conditions: "Conditions",
        limits_of: LimitsOf,
        gateway_of: Callable[[Device], str | None],
        device_of: Callable[[str, str], Device | None],
        places_version: Callable[[], int | None],
        listening: Callable[[], Listening],
    ) -> None:
        self._conditions = conditions
        self._limits_of = limits_of
        self._gateway_of = gateway_of
        self._device_of = device_of
        self._places_version = places_version
        self._listening = listening
        self._members: dict[Key, list[Device]] = {}
        """The devices of each gateway, as of the last tick."""
        self._members_of: tuple[int | None, int] = (None, 0)
        """For which version of the places, and how many devices."""
        self._lost: dict[Key, Device] = {}
        self._awaited: dict[Device, int] = {}
        """Devices that may be back any moment, and when their last will came, hub time."""

    def offline(self, device: Device, offline: bool, now_ns: int) -> None:
        """Take note of a last will, or of a device that is back.

        A device has a moment to come back, as it does when it changes its access point. A broker that is
        ended and started again tells the last wills of all its devices while they connect anew: then they
        have the time that a device is allowed to be silent.
        """
        if offline:
            since_ns = self._awaited.setdefault(device, now_ns)
            if not self._is_given_up(device, since_ns, now_ns, self._listening()):
                return
        self._awaited.pop(device, None)
        self._tell(device, offline, now_ns)

    def _is_given_up(self, device: Device, since_ns: int, now_ns: int, listening: Listening) -> bool:
        """Tell whether a device that went offline has had the time to come back."""
        delay_ns = self._limits_of(device).technical_rule("device_offline").delay_ns
        return now_ns - since_ns >= delay_ns and self._could_be_heard(device, now_ns, listening)

    def _tell(self, device: Device, offline: bool, now_ns: int) -> None:
        """Tell whether a device is offline; a gateway takes its devices with it."""
        key = (device.site, device.id)
        members = self._members.get(key)
        if not members:
            text = f"Device {device.id} is offline"
            self._conditions.technical(device, "device_offline", offline, text, now_ns)
        elif offline:
            self._lose(key, device, members, now_ns)
        else:
            self._regain(key, now_ns)

    def judge(self, devices: Sequence[Device], now_ns: int) -> None:
        """Judge everybody's silence. Whom the hub itself can't hear is not blamed."""
        listening = self._listening()
        self._find_members(devices)
        for device, since_ns in list(self._awaited.items()):
            if device.state != "offline":
                del self._awaited[device]
            elif self._is_given_up(device, since_ns, now_ns, listening):
                del self._awaited[device]
                self._tell(device, True, now_ns)
        # Both selections look at ten thousand devices a second, nearly all of which are well.
        troubled = [device for device in devices if device.conditions]
        late = [device for device in devices if now_ns - device.received_ns > device.interval_s * SECOND_NS]
        for device in troubled:
            if ("", "gateway_lost") in device.conditions:  # perhaps since before the hub was restarted
                self._lost.setdefault((device.site, self._gateway_of(device) or device.id), device)
        silent = {device for device in late if self._is_silent(device, now_ns, listening)}
        for key in {*self._members, *self._lost}:
            self._judge_gateway(key, self._members.get(key, []), silent, now_ns)
        for device in [device for device in devices if device in silent or device.conditions]:
            if device in silent and self._is_blamed(device):
                text = f"Device {device.id} has been silent for longer than it declares"
                self._conditions.technical(device, "device_silent", True, text, now_ns)
            elif device.conditions and self._was_heard_since(device, "device_silent"):
                self._conditions.technical(device, "device_silent", False, "", now_ns)

    def _find_members(self, devices: Sequence[Device]) -> None:
        """Find which devices speak through which gateway, where that may have changed."""
        version = self._places_version()
        if version is not None and self._members_of == (version, len(devices)):
            return
        self._members_of = (version, len(devices))
        self._members = {}
        for device in devices:
            gateway = self._gateway_of(device)
            if gateway is not None:
                self._members.setdefault((device.site, gateway), []).append(device)

    def _allowed_ns(self, device: Device) -> float:
        """Return for how long a device may be silent."""
        margin_ns = self._limits_of(device).technical_rule("device_silent").delay_ns
        return device.interval_s * SECOND_NS + margin_ns

    def _could_be_heard(self, device: Device, now_ns: int, listening: Listening) -> bool:
        """Tell whether the hub has listened for longer than a device may be silent."""
        since_ns = listening.get(device.broker)
        return since_ns is not None and now_ns - since_ns > self._allowed_ns(device)

    def _is_silent(self, device: Device, now_ns: int, listening: Listening) -> bool:
        if not device.received_ns or not self._could_be_heard(device, now_ns, listening):
            return False
        allowed_ns = self._allowed_ns(device)
        if now_ns - device.received_ns <= allowed_ns or self._is_absent(device):
            return False
        gateway = self._gateway_of(device)
        own = self._device_of(device.site, gateway) if gateway is not None else None
        # Its devices need time to come back as well.
        return own is None or own.state != "online" or now_ns - own.state_ns > allowed_ns

    def _is_absent(self, device: Device) -> bool:
        return ("", "standby") in device.conditions or ("", "transport") in device.conditions

    def _is_blamed(self, device: Device) -> bool:
        """Tell whether a silent device alarms by itself: not when its last will or its gateway does."""
        if ("", "device_offline") in device.conditions or ("", "gateway_lost") in device.conditions:
            return False
        gateway = self._gateway_of(device)
        return gateway is None or (device.site, gateway) not in self._lost

    @staticmethod
    def _was_heard_since(device: Device, condition: str, bearer: Device | None = None) -> bool:
        """Tell whether a device was heard after an alarm began: only that ends it, never a restart."""
        known = (bearer or device).conditions.get(("", condition))
        return known is not None and known.alarm is not None and device.received_ns > known.alarm.onset_ns

    def _judge_gateway(self, key: Key, members: list[Device], silent: set[Device], now_ns: int) -> None:
        expected = [device for device in members if device.received_ns and not self._is_absent(device)]
        own = self._device_of(*key)
        if key in self._lost:
            bearer = self._lost[key]
            heard = [device for device in members if self._was_heard_since(device, "gateway_lost", bearer)]
            own_heard = own is not None and own.state != "offline"
            if heard or (
                own_heard and own is not None and self._was_heard_since(own, "gateway_lost", bearer)
            ):
                self._regain(key, now_ns)
            return
        unheard = [device for device in expected if device in silent]
        least = self._limits_of(members[0]).flood.gateway_devices if members else 0
        own_gone = own is not None and (own in silent or own.state == "offline")
        if expected and len(unheard) == len(expected) and (own_gone or len(unheard) >= least):
            self._lose(key, own or members[0], expected, now_ns)

    def _lose(self, key: Key, bearer: Device, members: Sequence[Device], now_ns: int) -> None:
        bearer = self._lost.setdefault(key, bearer)
        ids = tuple(sorted(device.id for device in members))
        text = f"Gateway {key[1]} is lost, and with it {len(ids)} devices"
        self._conditions.technical(bearer, "gateway_lost", True, text, now_ns, devices=ids)

    def _regain(self, key: Key, now_ns: int) -> None:
        bearer = self._lost.pop(key, None) or self._device_of(*key)
        if bearer is not None:
            self._conditions.technical(bearer, "gateway_lost", False, "", now_ns)
