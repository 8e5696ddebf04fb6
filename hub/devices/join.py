"""Observations that would be one reading become one."""

from hub.devices.decode import Item, Observed, Refused


def join(items: list[Item]) -> list[Item]:
    """Join observations of one device, channel, time and sequence number: they would be one reading.

    Of two values for one parameter the first stays and the second is refused.
    """
    joined: dict[tuple[str | None, str, int, int], int] = {}
    result: list[Item] = []
    for item in items:
        if not isinstance(item, Observed):
            result.append(item)
            continue
        at = joined.setdefault((item.device, item.channel, item.time_ns, item.seq), len(result))
        if at == len(result):
            result.append(item)
            continue
        first = result[at]
        assert isinstance(first, Observed)  # noqa: S101 - only places of observations are remembered
        for name in first.values.keys() & item.values.keys():
            reason = "a second value for the same time: give each its time or seq"
            result.append(Refused(f"$.values.{name}", reason, item.device))
        result[at] = Observed(
            item.values | first.values,
            first.time_ns,
            first.seq,
            (item.units or {}) | (first.units or {}) or None,
            (item.quality or {}) | (first.quality or {}) or None,
            first.device,
            first.channel,
        )
    return result
