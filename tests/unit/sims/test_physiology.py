import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_sims.physiology import DRIVES, Patient, saturation, strength

seeds = st.integers(0, 2**32)
ages = st.floats(0, 95)
times = st.floats(0, 86_400)
points = st.lists(st.floats(0, 86_400), min_size=1, max_size=4, unique=True)
tracks = points.flatmap(
    lambda at: st.lists(st.floats(0, 0.5), min_size=len(at), max_size=len(at)).map(
        lambda strengths: tuple(zip(sorted(at), strengths, strict=True))
    )
)


@settings(max_examples=200)
@given(seeds, ages, times, st.floats(0, 24), st.dictionaries(st.sampled_from(sorted(DRIVES)), tracks))
def test_vital_signs_stay_within_what_a_body_can_have(seed, age, t_s, hour, drives) -> None:
    vitals = Patient(seed, age, True, drives).vitals(t_s, hour)
    assert vitals.heart_rate is None or 0 <= vitals.heart_rate < 300
    assert vitals.respiratory_rate is None or 0 <= vitals.respiratory_rate < 100
    assert vitals.spo2 is None or 0 <= vitals.spo2 <= 100
    assert 34 < vitals.temperature < 43
    assert 0 < vitals.diastolic < vitals.mean < vitals.systolic < 300
    assert 0 <= vitals.etco2 < 120
    assert 0 < vitals.glucose < 30


@given(seeds, times)
def test_the_same_seed_gives_the_same_patient_at_any_order_of_times(seed: int, t_s: float) -> None:
    once = Patient(seed).vitals(t_s)
    Patient(seed).vitals(t_s + 1)
    assert Patient(seed).vitals(t_s) == once


def test_two_seeds_are_two_patients() -> None:
    rates = {round(Patient(seed).vitals(600).heart_rate or 0, 3) for seed in range(20)}
    assert len(rates) > 15


@given(seeds, ages, times)
def test_fever_raises_heart_rate_and_breathing(seed: int, age: float, t_s: float) -> None:
    well = Patient(seed, age).vitals(t_s)
    ill = Patient(seed, age, drives={"fever": ((0.0, 2.0),)}).vitals(t_s)
    if well.heart_rate is not None and well.respiratory_rate is not None:
        assert ill.heart_rate == pytest.approx(well.heart_rate + 16)
        assert ill.respiratory_rate == pytest.approx(well.respiratory_rate + 4.4)
    assert ill.temperature == pytest.approx(well.temperature + 2)


@given(seeds, ages, st.floats(200, 86_400))
def test_an_opioid_slows_breathing_and_then_oxygen_falls_and_carbon_dioxide_rises(seed, age, t_s) -> None:
    well = Patient(seed, age).vitals(t_s)
    drugged = Patient(seed, age, drives={"opioid": ((0.0, 0.7),)}).vitals(t_s)
    assert drugged.etco2 > well.etco2
    if well.respiratory_rate is not None:
        assert drugged.respiratory_rate < 0.6 * well.respiratory_rate
    if well.spo2 is not None:
        assert drugged.spo2 < well.spo2


@given(seeds, times)
def test_blood_loss_speeds_the_heart_before_the_pressure_gives_way(seed: int, t_s: float) -> None:
    well = Patient(seed).vitals(t_s)
    early = Patient(seed, drives={"blood_loss": ((0.0, 0.1),)}).vitals(t_s)
    late = Patient(seed, drives={"blood_loss": ((0.0, 0.35),)}).vitals(t_s)
    assert early.systolic == pytest.approx(well.systolic)
    assert late.systolic < 0.75 * well.systolic
    if well.heart_rate is not None:
        assert late.heart_rate > early.heart_rate > well.heart_rate


def test_oxygen_falls_at_night_with_sleep_apnoea_only() -> None:
    night = range(0, 3 * 3600, 20)
    apnoea = [Patient(5, sleep_apnoea=True).vitals(t, hour=23.0).spo2 for t in night]
    healthy = [Patient(5).vitals(t, hour=23.0).spo2 for t in night]
    awake = [Patient(5, sleep_apnoea=True).vitals(t, hour=12.0).spo2 for t in night]
    lowest = [min(v for v in values if v is not None) for values in (apnoea, healthy, awake)]
    assert lowest[0] < lowest[1] - 2
    assert lowest[0] < lowest[2] - 2


@given(seeds)
def test_temperature_has_its_low_at_five_in_the_morning(seed: int) -> None:
    patient = Patient(seed)
    hours = {hour: patient.vitals(0.0, hour).temperature for hour in range(24)}
    assert min(hours, key=hours.__getitem__) == 5
    assert max(hours, key=hours.__getitem__) == 17


def test_asystole_is_a_rate_of_zero_and_breathing_follows() -> None:
    patient = Patient(1, drives={"asystole": ((60.0, 0.0), (60.5, 1.0))})
    stopped, later = patient.vitals(70), patient.vitals(100)
    assert stopped.heart_rate == 0
    assert stopped.respiratory_rate
    assert later.respiratory_rate == 0
    assert later.etco2 == 0
    assert later.spo2 is None


def test_a_lead_or_probe_that_is_off_gives_no_value() -> None:
    vitals = Patient(1, drives={"leads_off": ((0, 1),), "probe_off": ((0, 1),)}).vitals(100)
    assert vitals.heart_rate is vitals.respiratory_rate is vitals.spo2 is vitals.pulse_rate is None


def test_saturation_follows_the_published_curve() -> None:
    # Points of Severinghaus 1979, table 1 (pH 7.40, 37 degrees).
    for oxygen, percent in ((27, 50.4), (40, 74.9), (60, 90.9), (100, 97.7)):
        assert saturation(oxygen) == pytest.approx(percent, abs=0.8)


@given(tracks, times)
def test_a_track_is_never_beyond_its_points_and_joined(track, t_s: float) -> None:
    low, high = min(y for _, y in track), max(y for _, y in track)
    assert low - 1e-9 <= strength(track, t_s) <= high + 1e-9
    for at, value in track:
        assert math.isclose(strength(track, at), value, abs_tol=1e-9)
