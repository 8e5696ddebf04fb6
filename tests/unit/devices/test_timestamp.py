from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.devices import timestamp
from hub.devices.timestamp import NotATimeError, epoch_ns, iso_ns, pattern_ns, rfc3339_ns

BERLIN = ZoneInfo("Europe/Berlin")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def ns(moment):
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


@settings(max_examples=300)
@given(
    st.datetimes(datetime(1700, 1, 1), datetime(2250, 1, 1)),  # noqa: DTZ001 - the zone is drawn apart
    st.integers(-14 * 60, 14 * 60),
)
def test_every_time_with_a_zone_is_what_the_standard_library_says(moment, offset_min):
    zone = timedelta(minutes=offset_min)
    sign = "-" if offset_min < 0 else "+"
    offset = f"{sign}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}"
    expected = ns(moment.replace(tzinfo=UTC) - zone) or 1
    text = f"{moment:%Y-%m-%dT%H:%M:%S.%f}{offset}"
    assert rfc3339_ns(text) == expected
    assert rfc3339_ns(text) == expected, "the second time it comes from the cache"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-24T02:43:12Z", 1_795_488_192_000_000_000),
        ("2026-11-24t02:43:12.5z", 1_795_488_192_500_000_000),
        ("2026-11-24 02:43:12.123456789+00:00", 1_795_488_192_123_456_789),
        ("2026-11-24T02:43:12.1234567899Z", 1_795_488_192_123_456_789),
        ("2016-12-31T23:59:60Z", 1_483_228_800_000_000_000),
        ("1969-12-31T23:59:59.5Z", -500_000_000),
        ("1970-01-01T00:00:00Z", 1),
    ],
)
def test_styles_of_rfc_3339(text, expected):
    assert rfc3339_ns(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-24",
        "2026-11-24T02:43Z",
        "2026-11-24T02:43:12",
        "2026-11-24T02:43:12+25:00",
        "2026-11-24T02:43:12.Z",
        "2026-02-30T02:43:12Z",
        "2026-11-24T24:43:12Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "\uff12\uff10\uff12\uff16-11-24T02:43:12Z",
        "2026-11-24T02:43:12Z trailing",
    ],
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(NotATimeError):
        rfc3339_ns(text)


def test_a_time_without_a_zone_takes_the_zone_that_is_given():
    assert iso_ns("2026-07-01T12:00:00", BERLIN) == rfc3339_ns("2026-07-01T10:00:00Z")
    assert iso_ns("2026-01-01 12:00:00", BERLIN) == rfc3339_ns("2026-01-01T11:00:00Z")
    assert iso_ns("2026-10-25T02:30:00", BERLIN) == rfc3339_ns("2026-10-25T00:30:00Z"), "the first of the two"
    assert iso_ns("2026-07-01T12:00:00Z", BERLIN) == rfc3339_ns("2026-07-01T12:00:00Z")


def test_numbers_since_the_epoch():
    assert epoch_ns(1_739_360_702, "s") == 1_739_360_702_000_000_000
    assert epoch_ns(1_739_360_702.25, "s") == 1_739_360_702_250_000_000
    assert epoch_ns(1_739_360_702_123, "ms") == 1_739_360_702_123_000_000
    assert epoch_ns(1_739_360_702_123_456_789, "ns") == 1_739_360_702_123_456_789
    for wrong in (float("nan"), float("inf"), 1e300, 10**25, True):
        with pytest.raises(NotATimeError):
            epoch_ns(wrong, "s")


def test_a_strptime_pattern_with_and_without_a_zone():
    expected = rfc3339_ns("2024-09-13T12:30:06.250Z")
    assert pattern_ns("13-09-2024 14:30:06.250", "%d-%m-%Y %H:%M:%S.%f", BERLIN) == expected
    assert pattern_ns("20240913123006.250+0000", "%Y%m%d%H%M%S.%f%z", BERLIN) == expected
    with pytest.raises(NotATimeError, match="%d-%m-%Y"):
        pattern_ns("2024-09-13", "%d-%m-%Y", BERLIN)


def test_the_caches_are_bounded():
    for second in range(10_000):
        rfc3339_ns(f"{EPOCH + timedelta(seconds=second * 7 + 1, milliseconds=1):%Y-%m-%dT%H:%M:%S}.{second}Z")
    assert len(timestamp._seconds) <= 4096
    assert len(timestamp._fractions) <= 4096
