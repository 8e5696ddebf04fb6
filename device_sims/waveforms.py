"""ECG, pleth and respiration curves over the phase of a beat or breath.

An own model: the ECG is a sum of one bell curve each for P, Q, R, S and T, as in McSharry et al., IEEE Trans
Biomed Eng 2003; 50: 289-294, evaluated on the phase itself instead of integrated; the pleth is a systolic
and a smaller dicrotic wave.
"""

from math import cos, exp, pi

# Place in the beat (0 to 1, R at 0.4), height in mV, width in beats.
_ECG_WAVES = (
    (0.22, 0.12, 0.025),
    (0.375, -0.12, 0.010),
    (0.40, 1.1, 0.011),
    (0.425, -0.25, 0.010),
    (0.66, 0.28, 0.045),
)


def ecg(phase: float) -> float:
    """Return lead II in mV at a phase of the beat, 0 to 1."""
    return sum(height * exp(-0.5 * ((phase - place) / width) ** 2) for place, height, width in _ECG_WAVES)


def pleth(phase: float) -> float:
    """Return the oximeter's curve, 0 to 1, at a phase of the beat."""
    systolic = exp(-0.5 * ((phase - 0.30) / 0.11) ** 2)
    dicrotic = 0.38 * exp(-0.5 * ((phase - 0.62) / 0.12) ** 2)
    return systolic + dicrotic


def respiration(phase: float) -> float:
    """Return the chest's expansion, 0 to 1, at a phase of the breath."""
    return 0.5 - 0.5 * cos(2 * pi * phase)
