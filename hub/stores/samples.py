"""Waveform samples as compressed bytes and back, without loss."""

import zlib
from collections.abc import Sequence

import numpy as np

_INTEGERS, _FLOATS = b"i", b"f"
_LIMIT = 2**30
"""Integers beyond it are stored as floats: differences must fit 32 bits."""


def pack(samples: Sequence[float | None]) -> bytes:
    """Return samples as a kind, a flag, and a zlib stream: differences of integers, or doubles.

    Missing samples are a bit field behind; the value in their place is the one before them.
    """
    values = np.array(samples, dtype=np.float64)
    missing = np.isnan(values)
    gaps = bool(missing.any())
    if gaps:
        present = np.where(missing, 0, np.arange(len(values)))
        values = np.nan_to_num(values[np.maximum.accumulate(present)], nan=0.0)
    if np.all(np.abs(values) < _LIMIT) and np.array_equal(np.rint(values), values):
        steps = np.diff(values, prepend=0.0)
        narrow = bool(np.all(np.abs(steps) < 2**15))
        kind, content = _INTEGERS, steps.astype("<i2" if narrow else "<i4").tobytes()
        flags = narrow << 1 | gaps
    else:
        kind, content, flags = _FLOATS, values.astype("<f8").tobytes(), int(gaps)
    if gaps:
        content += np.packbits(missing).tobytes()
    return kind + bytes([flags]) + len(values).to_bytes(4, "little") + zlib.compress(content, 6)


def unpack(packed: bytes) -> list[float | None]:
    """Return what `pack` was given."""
    kind, flags, count = packed[:1], packed[1], int.from_bytes(packed[2:6], "little")
    content = zlib.decompress(packed[6:])
    form = "<f8" if kind == _FLOATS else "<i2" if flags & 2 else "<i4"
    values = np.frombuffer(content, form, count)
    if kind == _INTEGERS:
        values = np.cumsum(values, dtype=np.int64)
    samples: list[float | None] = values.astype(np.float64).tolist()
    if flags & 1:
        bits = np.frombuffer(content, np.uint8, offset=count * np.dtype(form).itemsize)
        for index in np.flatnonzero(np.unpackbits(bits, count=count)):
            samples[index] = None
    return samples
