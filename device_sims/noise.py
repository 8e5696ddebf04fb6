"""Noise as a function of time: the same seed, name and time always give the same number."""

from functools import lru_cache
from math import cos, floor, log, pi, sqrt

_MASK = 0xFFFF_FFFF_FFFF_FFFF
_SECOND = 0x5851_F42D_4C95_7F2D
"""Makes a second, unrelated source of a seed."""


@lru_cache(maxsize=65_536)
def seed_of(seed: int, name: str) -> int:
    """Give a named source of noise a seed of its own, the same in every process."""
    state = seed & _MASK
    for byte in name.encode():
        state = _mix(state ^ byte)
    return state


def uniform(seed: int, index: int) -> float:
    """Return the random number of place `index`, evenly distributed in [0, 1)."""
    return _mix(seed ^ (index & _MASK) * 0xD6E8_FEB8_6659_FD93 & _MASK) / 2**64


def normal(seed: int, index: int) -> float:
    """Return the random number of place `index`, normally distributed (Box and Muller 1958)."""
    part = uniform(seed ^ _SECOND, index)
    return sqrt(-2.0 * log(1.0 - uniform(seed, index))) * cos(2.0 * pi * part)


def smooth(seed: int, t_s: float, period_s: float) -> float:
    """Return noise in [-1, 1] that wanders over about `period_s` seconds, smooth in time."""
    place = t_s / period_s
    left = floor(place)
    part = place - left
    part = part * part * (3.0 - 2.0 * part)
    a, b = uniform(seed, left), uniform(seed, left + 1)
    return 2.0 * (a + (b - a) * part) - 1.0


def episode(seed: int, t_s: float, every_s: float, length_s: float, chance: float) -> bool:
    """Tell whether a random episode is on: in each `every_s` one of `length_s` begins with `chance`."""
    window = floor(t_s / every_s)
    if uniform(seed, 2 * window) >= chance:
        return False
    begin = uniform(seed, 2 * window + 1) * (every_s - length_s)
    return begin <= t_s - window * every_s < begin + length_s


def _mix(state: int) -> int:
    """Scramble 64 bits (splitmix64; Steele, Lea and Flood 2014)."""
    state = (state + 0x9E37_79B9_7F4A_7C15) & _MASK
    state = (state ^ state >> 30) * 0xBF58_476D_1CE4_E5B9 & _MASK
    state = (state ^ state >> 27) * 0x94D0_49BB_1331_11EB & _MASK
    return state ^ state >> 31
