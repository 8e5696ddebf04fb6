"""Observations that would be one reading become one."""

from hub.devices.decode import Item, Observed, Refused

_Identity = tuple[str | None, str, int, int]


def join(items: list[Item]) -> list[Item]:
    """Join observations of one device, channel, time and sequence number: they would be one reading.

    Of two values for one parameter the first stays and the second is refused.
    """
    first: dict[_Identity, int] = {}
    more: dict[int, list[Observed]] = {}
    result: list[Item] = []
    for item in items:
        if type(item) is Observed:
            at = first.setdefault((item.device, item.channel, item.time_ns, item.seq), len(result))
            if at < len(result):
                more.setdefault(at, []).append(item)
                continue
        result.append(item)
    for at, others in more.items():
        one = result[at]
        assert type(one) is Observed  # noqa: S101 - only places of observations are remembered
        result[at] = _joined(one, others, result)
    return result


def _joined(first: Observed, others: list[Observed], result: list[Item]) -> Observed:
    """Return one observation with the values of all; what is refused of the others goes to the result."""
    values = dict(first.values)
    units, quality = dict(first.units or {}), dict(first.quality or {})
    for other in others:
        if not values.keys().isdisjoint(other.values):
            for name in values.keys() & other.values.keys():
                reason = "a second value for the same time: give each its time or seq"
                result.append(Refused(f"$.values.{name}", reason, other.device))
        values = other.values | values
        if other.units:
            units = other.units | units
        if other.quality:
            quality = other.quality | quality
    return Observed(
        values, first.time_ns, first.seq, units or None, quality or None, first.device, first.channel
    )
