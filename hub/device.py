"""What the hub knows of one device while it runs: one mutable record, shared by the steps of the line."""

from hub.model import Reading, Value


class Latest:
    """The newest value of one parameter of one device."""

    __slots__ = ("device_id", "parameter", "quality", "received_ns", "time_ns", "value")

    def __init__(self, device_id: str, parameter: str) -> None:
        self.device_id = device_id
        self.parameter = parameter
        self.value: Value | None = None
        """None where there is no valid value: invalid and no-value never show a number."""
        self.quality: str = "no-value"
        """valid, questionable, invalid or no-value; whether it is stale is judged when it is read."""
        self.time_ns = 0
        """Corrected determination time."""
        self.received_ns = 0
