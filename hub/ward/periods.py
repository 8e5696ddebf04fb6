"""Half-open periods: when they overlap, and whose a device's readings are."""

from collections.abc import Iterable

from hub.ward.model import FOREVER, DevicePeriod, Period, PlacementEntry, StayEntry


def overlap(from_a: int, until_a: int | None, from_b: int, until_b: int | None) -> bool:
    """Tell whether [from_a, until_a) and [from_b, until_b) share an instant; None is still open."""
    return from_a < (FOREVER if until_b is None else until_b) and from_b < (
        FOREVER if until_a is None else until_a
    )


def clip(from_ns: int, until_ns: int | None, start_ns: int, end_ns: int) -> tuple[int, int] | None:
    """Return the part of [from_ns, until_ns) inside [start_ns, end_ns), or None where there is none."""
    start = max(from_ns, start_ns)
    end = end_ns if until_ns is None else min(until_ns, end_ns)
    return (start, end) if start < end else None


def attribute(
    placements: Iterable[PlacementEntry], stays: Iterable[StayEntry], start_ns: int, end_ns: int
) -> list[Period]:
    """Join the placements of one device with stays: where it was and whose its readings are.

    A device at a bed reads whoever is in the bed; a device on a patient is wherever that patient is. Oldest
    first, clipped to [start_ns, end_ns); times without a placement are left out.
    """
    known = sorted(stays, key=lambda stay: stay.from_ns)
    pieces: list[Period] = []
    for placement in sorted(placements, key=lambda placement: placement.from_ns):
        span = clip(placement.from_ns, placement.until_ns, start_ns, end_ns)
        if span is None:
            continue
        cursor, end = span
        for stay in known:
            if stay.site != placement.site:
                continue
            if stay.bed != placement.bed and stay.patient != placement.patient:
                continue
            piece = clip(stay.from_ns, stay.until_ns, cursor, end)
            if piece is None:
                continue
            if cursor < piece[0]:
                pieces.append(Period(cursor, piece[0], placement.bed, placement.patient))
            pieces.append(Period(piece[0], piece[1], stay.bed, stay.patient))
            cursor = piece[1]
        if cursor < end:
            pieces.append(Period(cursor, end, placement.bed, placement.patient))
    return _joined(pieces)


def device_periods(
    placements: Iterable[PlacementEntry],
    stays: Iterable[StayEntry],
    start_ns: int,
    end_ns: int,
    *,
    patient: str | None = None,
    bed: str | None = None,
) -> list[DevicePeriod]:
    """Return when which of several devices read this patient or was at this bed: `attribute` turned round.

    `stays` must hold all stays of the patient, or all in the bed, that touch the window.
    """
    by_device: dict[tuple[str, str], list[PlacementEntry]] = {}
    for placement in placements:
        by_device.setdefault((placement.site, placement.device), []).append(placement)
    known = list(stays)
    periods: list[DevicePeriod] = []
    for (site, device), own in sorted(by_device.items()):
        last: DevicePeriod | None = None
        for piece in attribute(own, known, start_ns, end_ns):
            if (patient is not None and piece.patient != patient) or (bed is not None and piece.bed != bed):
                continue
            if last is not None and last.end_ns == piece.start_ns:
                # Another patient in the same bed, or another bed of the same patient.
                last = periods[-1] = DevicePeriod(site, device, last.start_ns, piece.end_ns)
            else:
                last = DevicePeriod(site, device, piece.start_ns, piece.end_ns)
                periods.append(last)
    return periods


def _joined(pieces: list[Period]) -> list[Period]:
    joined: list[Period] = []
    for piece in pieces:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.end_ns == piece.start_ns
            and (last.bed, last.patient) == (piece.bed, piece.patient)
        ):
            joined[-1] = Period(last.start_ns, piece.end_ns, last.bed, last.patient)
        else:
            joined.append(piece)
    return joined
