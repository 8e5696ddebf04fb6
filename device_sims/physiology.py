"""Vital signs as a seeded function of time, with the links that real ones have.

A model for tests and training, not for decisions about people. What drives it is a scenario's tracks
(fever, blood loss, ...); what follows is worked out from them:

- heart rate rises by 8 /min and respiratory rate by 2.2 /min for each degree of fever, metabolism by 13 %
  (Liebermeister's rule; DuBois 1921),
- arterial CO2 is what metabolism makes over what breathing takes away (alveolar ventilation equation),
- arterial oxygen is what the alveolar gas equation leaves less an alveolar-arterial gradient of
  2.5 + 0.21 * age mmHg (Mellemgaard 1966), and saturation follows Severinghaus' curve (1979),
- blood loss is compensated by heart rate until pressure gives way, as in the four classes of ATLS,
- temperature, heart rate and pressure have a daily rhythm with its low at five in the morning.
"""

from dataclasses import dataclass, field
from math import cos, pi

from device_sims.noise import episode, seed_of, smooth, uniform

Track = tuple[tuple[float, float], ...]
"""Points of (seconds, strength), joined by straight lines; constant before the first and after the last."""

DRIVES = frozenset(
    {
        "fever",  # degrees Celsius above the patient's own temperature
        "blood_loss",  # share of the blood volume, 0 to 0.5
        "vasodilation",  # 0 to 1: septic shock
        "opioid",  # 0 to 1: depression of breathing
        "gradient",  # mmHg more between alveolar and arterial oxygen: a lung that fails
        "pain",  # 0 to 1
        "tachyarrhythmia",  # 0 or 1: a heart rate of its own, about 170 /min
        "asystole",  # 0 or 1
        "glucose",  # mmol/L added
        "motion",  # 0 to 1: artefacts of a moving patient
        "leads_off",  # 0 or 1: no ECG
        "probe_off",  # 0 or 1: no oximeter
    }
)

# Median heart and respiratory rate below an age in years: Fleming et al., Lancet 2011; 377: 1011-18; adults:
# usual rates.
_RATES = (
    (0.25, 143, 43),
    (0.5, 140, 41),
    (0.75, 134, 39),
    (1, 128, 37),
    (1.5, 123, 35),
    (2, 116, 31),
    (3, 110, 28),
    (4, 104, 25),
    (6, 98, 23),
    (8, 91, 21),
    (12, 84, 19),
    (15, 78, 18),
    (18, 73, 16),
    (200, 75, 15),
)

_ROOM_AIR_MMHG = 0.21 * (760 - 47)
_LAG_S = (0.0, 25.0, 50.0, 75.0, 100.0)  # gas stores even breathing out over about two minutes
_GASPING_S = 30.0  # breathing outlasts the heart by about half a minute


@dataclass(frozen=True)
class Vitals:
    """The state of a patient at one time, not rounded. None: no sensor gives a value."""

    heart_rate: float | None
    pulse_rate: float | None
    respiratory_rate: float | None
    spo2: float | None
    temperature: float
    systolic: float
    diastolic: float
    mean: float
    etco2: float
    glucose: float
    motion: float
    """0 to 1: above 0.5 a monitor would call its oximeter values questionable."""


@dataclass(frozen=True)
class Patient:
    """A patient whose vital signs depend on nothing but this and the time."""

    seed: int
    age_years: float = 60.0
    sleep_apnoea: bool = False
    drives: dict[str, Track] = field(default_factory=dict)
    """By the names of DRIVES."""

    def vitals(self, t_s: float, hour: float = 12.0) -> Vitals:
        """Return the vital signs at second `t_s` of the scenario, which starts at `hour` of the day."""
        day = cos(2 * pi * ((hour + t_s / 3600) - 17) / 24)  # 1 at five in the afternoon, -1 at five at night
        fever = self._drive("fever", t_s)
        shock = self._drive("vasodilation", t_s)
        lost = self._drive("blood_loss", t_s)
        temperature = (
            36.7 + 0.3 * self._own("temperature") + 0.35 * day + fever + 0.05 * self._wander("temp", t_s, 900)
        )
        heart_rate = self._heart_rate(t_s, day, fever, shock, lost)
        breathing = self._breathing(t_s, hour)
        systolic, diastolic = self._pressure(t_s, day, shock, lost)
        if self._drive("asystole", t_s) >= 0.5:
            heart_rate, systolic, diastolic = 0.0, 12.0, 8.0
        carbon_dioxide, spo2 = self._gases(t_s, hour)
        motion = max(self._drive("motion", t_s), 1.0 if self._random("motion", t_s, 900, 8, 0.3) else 0.0)
        spo2 = max(spo2 - 6 * motion * uniform(seed_of(self.seed, "motion-spo2"), int(t_s)), 0.0)
        leads_off = self._drive("leads_off", t_s) >= 0.5 or self._random("leads", t_s, 3600, 25, 0.3)
        probe_off = self._drive("probe_off", t_s) >= 0.5 or self._random("probe", t_s, 3600, 40, 0.3)
        return Vitals(
            heart_rate=None if leads_off else heart_rate,
            pulse_rate=None
            if probe_off or heart_rate == 0
            else heart_rate + 0.6 * self._wander("pulse", t_s, 3),
            respiratory_rate=None if leads_off else breathing,
            spo2=None if probe_off or heart_rate == 0 else spo2,
            temperature=temperature,
            systolic=systolic,
            diastolic=diastolic,
            mean=diastolic + (systolic - diastolic) / 3,
            etco2=max(carbon_dioxide - 4, 0.0) if breathing else 0.0,
            glucose=self._glucose(t_s),
            motion=motion,
        )

    def _heart_rate(self, t_s: float, day: float, fever: float, shock: float, lost: float) -> float:
        if self._drive("tachyarrhythmia", t_s) >= 0.5:
            return 172.0 + 3 * self._wander("svt", t_s, 20) + 2 * self._wander("svt2", t_s, 2)
        own = self._rates()[0] * (1 + 0.1 * self._own("heart"))
        rate = (own + 2.5 * day) * (1 + 0.25 * shock + 1.6 * lost + 0.2 * self._drive("pain", t_s))
        rate += 8.0 * fever
        return rate + 2.5 * self._wander("heart", t_s, 120) + 1.5 * self._wander("heart2", t_s, 7)

    def _breathing(self, t_s: float, hour: float) -> float:
        """Respiratory rate, /min; 0 during an apnoea."""
        if self._apnoea(t_s, hour) or self._drive("asystole", t_s - _GASPING_S) >= 0.5:
            return 0.0
        own = self._rates()[1] * (1 + 0.1 * self._own("breath"))
        drive = 1 + 0.5 * self._drive("vasodilation", t_s) + 0.9 * self._drive("blood_loss", t_s)
        drive += 0.25 * self._drive("pain", t_s) + self._drive("gradient", t_s) / 120
        rate = own * drive * (1 - 0.85 * self._drive("opioid", t_s)) + 2.2 * self._drive("fever", t_s)
        return max(rate + 0.8 * self._wander("breath", t_s, 60) + 0.6 * self._wander("breath2", t_s, 6), 0.0)

    def _pressure(self, t_s: float, day: float, shock: float, lost: float) -> tuple[float, float]:
        """Systolic and diastolic arterial pressure, mmHg."""
        normal = 90 + 2 * self.age_years if self.age_years < 16 else 121 + 0.25 * (self.age_years - 50)
        systolic = normal * (1 + 0.07 * self._own("pressure")) + 3 * day + 8 * self._drive("pain", t_s)
        systolic *= (1 - 0.32 * shock) * (1 - 1.5 * max(lost - 0.12, 0.0))
        width = 0.36 * (1 - 0.12 * shock) * (1 - 1.1 * lost)
        systolic += 3 * self._wander("pressure", t_s, 240) + 1.5 * self._wander("pressure2", t_s, 9)
        return systolic, systolic * (1 - width)

    def _gases(self, t_s: float, hour: float) -> tuple[float, float]:
        """Arterial carbon dioxide, mmHg, and oxygen saturation, per cent."""
        normal = self._rates()[1] * (1 + 0.1 * self._own("breath"))
        ventilation = sum(
            self._breathing(t_s - lag, hour) * (1 - 0.2 * self._drive("opioid", t_s - lag)) for lag in _LAG_S
        )
        ventilation /= normal * len(_LAG_S)
        # A sick lung is breathed harder for nothing: what the gradient adds to the rate clears no more CO2.
        ventilation /= 1 + self._drive("gradient", t_s) / 120
        metabolism = 1 + 0.13 * self._drive("fever", t_s)
        # The square root: the body's stores take an hour to follow, a scenario's minutes see about that much.
        carbon_dioxide = min(max(40 * (metabolism / max(ventilation, 0.01)) ** 0.5, 18.0), 110.0)
        alveolar = _ROOM_AIR_MMHG - carbon_dioxide / 0.8
        gradient = (
            2.5 + 0.21 * self.age_years + self._drive("gradient", t_s) + 1.5 * self._wander("lung", t_s, 300)
        )
        return carbon_dioxide, saturation(max(alveolar - gradient, 15.0))

    def _glucose(self, t_s: float) -> float:
        """Blood glucose, mmol/L."""
        own = 6.0 + self._own("glucose") + 0.5 * self._wander("sugar", t_s, 5400)
        return max(own + self._drive("glucose", t_s), 0.6)

    def _apnoea(self, t_s: float, hour: float) -> bool:
        night = (hour + t_s / 3600) % 24
        asleep = night >= 22 or night < 6
        return self.sleep_apnoea and asleep and self._random("apnoea", t_s, 150, 32, 0.7)

    def _rates(self) -> tuple[int, int]:
        return next((heart, breath) for below, heart, breath in _RATES if self.age_years < below)

    def _drive(self, name: str, t_s: float) -> float:
        track = self.drives.get(name)
        return strength(track, t_s) if track else 0.0

    def _own(self, name: str) -> float:
        """What is this patient's own, -1 to 1, the same at all times."""
        return 2 * uniform(seed_of(self.seed, "own-" + name), 0) - 1

    def _wander(self, name: str, t_s: float, period_s: float) -> float:
        return smooth(seed_of(self.seed, name), t_s, period_s)

    def _random(self, name: str, t_s: float, every_s: float, length_s: float, chance: float) -> bool:
        return episode(seed_of(self.seed, "random-" + name), t_s, every_s, length_s, chance)


def saturation(oxygen_mmhg: float) -> float:
    """Oxygen saturation in per cent of an oxygen pressure: Severinghaus, J Appl Physiol 1979; 46: 599-602."""
    return 100 / (1 + 23_400 / (oxygen_mmhg**3 + 150 * oxygen_mmhg))


def strength(track: Track, t_s: float) -> float:
    """Read a track at one time."""
    before = track[0]
    if t_s <= before[0]:
        return before[1]
    for after in track[1:]:
        if t_s < after[0]:
            share = (t_s - before[0]) / (after[0] - before[0])
            return before[1] + share * (after[1] - before[1])
        before = after
    return before[1]
