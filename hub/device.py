"""What the hub knows of one device while it runs: one mutable record, shared by the steps of the line."""

from hub.model import Value


class Latest:
    """The newest value of one parameter of one device."""

    __slots__ = ("parameter", "quality", "received_ns", "time_ns", "value")

    def __init__(self, parameter: str) -> None:
        self.parameter = parameter
        self.value: Value | None = None
        """None where there is no valid value: invalid and no-value never show a number."""
        self.quality: str = "no-value"
        """valid, questionable, invalid or no-value; whether it is stale is judged when it is read."""
        self.time_ns = 0
        """Corrected determination time."""
        self.received_ns = 0


class Device:
    """One device, as the line sees it. Site and id are its identity; the rest changes while it runs."""

    __slots__ = (
        "area",
        "battery",
        "definition",
        "id",
        "interval_s",
        "latest",
        "received_ns",
        "site",
        "state",
        "time_ns",
    )

    def __init__(self, site: str, device_id: str, area: str, definition: str, interval_s: float) -> None:
        self.site = site
        self.id = device_id
        self.area = area
        """The routing hint of its topic; never where the patient is."""
        self.definition = definition
        """Name of its device definition."""
        self.interval_s = interval_s
        """Seconds between two observations that it declares."""
        self.state: str | None = None
        """online, offline or standby as its status says; None before it said anything."""
        self.battery: float | None = None
        self.latest: dict[str, Latest] = {}
        """By vocabulary name."""
        self.time_ns = 0
        """Corrected time of the newest reading: nothing older moves live values or alarms."""
        self.received_ns = 0
        """When anything of it last arrived, hub time."""
