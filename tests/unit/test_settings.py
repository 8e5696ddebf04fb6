from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.location.zone import Tuning
from hub.settings import SettingsInvalid, load_settings

SECOND = 1_000_000_000


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variables and no hub.toml of the machine that the tests run on."""
    import os

    for name in list(os.environ):
        if name.startswith("HUB_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text)
    return path


def faults(path: Path | None = None, **overrides: object) -> dict[str, str]:
    """Return what is wrong, by key."""
    with pytest.raises(SettingsInvalid) as told:
        load_settings(path, overrides)
    lines = str(told.value).splitlines()
    return {line.split(": ", 2)[1]: line.split(": ", 2)[2] for line in lines}


def test_without_any_setting_a_hub_has_its_own_broker_and_store_on_this_machine_alone() -> None:
    settings = load_settings()
    assert settings.broker_addresses == ()
    assert [store.kind for store in settings.stores] == ["duckdb"]
    assert settings.http.host == settings.embedded_broker.host == "127.0.0.1"
    assert settings.registry_url.startswith("sqlite:////")
    assert settings.clock.time_scale == 1


def test_a_file_in_the_working_directory_is_read_unless_another_is_named_or_none_is_wanted(
    tmp_path: Path,
) -> None:
    (tmp_path / "hub.toml").write_text('id = "here"')
    assert load_settings().id == "here"
    assert load_settings(write(tmp_path, 'id = "there"')).id == "there"
    assert load_settings(default_file=False).id == "hub-1"


def test_variables_go_before_the_file_and_what_a_command_says_before_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, 'id = "file"\n[http]\nport = 1\nhost = "::1"')
    monkeypatch.setenv("HUB_HTTP__PORT", "2")
    monkeypatch.setenv("HUB_ID", "variable")
    settings = load_settings(path)
    assert (settings.id, settings.http.port, settings.http.host) == ("variable", 2, "::1")
    assert load_settings(path, {"id": "said"}).id == "said"


def test_every_fault_is_told_at_once_with_file_key_and_what_was_found(tmp_path: Path) -> None:
    path = write(tmp_path, 'id = "a b"\nnonsense = 1\n[http]\nport = 70000\n[journal]\nquota_mb = "much"\n')
    found = faults(path)
    assert set(found) == {"id", "nonsense", "http.port", "journal.quota_mb"}
    assert found["nonsense"] == "no such setting; see docs/reference/settings.md"
    assert found["http.port"].endswith("(found 70000)")
    assert "'much'" in found["journal.quota_mb"]


@pytest.mark.parametrize(
    ("text", "key", "says"),
    [
        ('time_zone = "Mars/Olympus"', "time_zone", "no time zone"),
        ("stores = []", "settings", "name at least one"),
        ('[[stores]]\nkind = "duckdb"\n[[stores]]\nkind = "duckdb"', "settings", "two have the same name"),
        ('[[stores]]\nkind = "mysql"', "stores.0", "'mysql'"),
        ('[[stores]]\nkind = "influxdb"\nurl = "http://x"', "stores.0.bucket", "required"),
        ('broker_url = "mqtt://a"\n[[brokers]]\nurl = "mqtt://b"', "settings", "not both"),
        ('broker_url = "http://a"', "broker_url", "mqtt"),
        ('ward_file = "none.toml"', "ward_file", "file"),
        ('definitions = ["none"]', "definitions.0", "directory"),
        ('[http]\ncert_file = "my.toml"', "http", "go together"),
        ("[clock]\ntime_scale = 0", "clock.time_scale", "greater than 0"),
        ('[clock]\ntime_epoch = "2026-01-01T00:00:00"', "clock.time_epoch", "timezone"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(
    text: str, key: str, says: str, tmp_path: Path
) -> None:
    found = faults(write(tmp_path, text))
    assert list(found) == [key], found
    assert says in found[key]


def test_no_secret_is_repeated_in_a_fault(tmp_path: Path) -> None:
    text = (
        'broker_url = "mqtt://hub:s3cret@a:port"\ndatabase_url = 5\n'
        '[[stores]]\nkind = "influxdb"\nurl = "ftp://u:s3cret@x"\nbucket = "b"\n'
        'token = "s3cret"\nuser = "u"\n'
    )
    with pytest.raises(SettingsInvalid) as told:
        load_settings(write(tmp_path, text))
    assert "s3cret" not in str(told.value)


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match=r"none\.toml: can't be read: No such file"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(SettingsInvalid, match=r"my\.toml: not TOML"):
        load_settings(write(tmp_path, "id = "))
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsInvalid, match=r"my\.toml: not TOML"):
        load_settings(tmp_path / "my.toml")


def test_a_variable_that_is_no_json_is_told_as_the_environments_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HUB_STORES", "duckdb")
    with pytest.raises(SettingsInvalid, match=r"environment: .*written as JSON"):
        load_settings()


def test_a_scaled_clock_scales_delays_and_leaves_what_is_no_delay(tmp_path: Path) -> None:
    text = '[clock]\ntime_scale = 60\ntime_epoch = "2026-01-01T01:00:00+01:00"'
    settings = load_settings(write(tmp_path, text))
    limits = settings.clock.limits()
    assert limits.tolerance_ns == 120 * SECOND
    assert limits.ahead_ns == 24 * 3600 * SECOND
    assert settings.epoch_ns == int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()) * SECOND


def test_more_topics_than_the_embedded_broker_keeps_apart_are_a_wrong_setting(tmp_path: Path) -> None:
    broker = load_settings().embedded_broker
    assert broker.of_broker(tmp_path, ["a/+", "b/#"]).filters == ("a/+", "b/#")
    with pytest.raises(SettingsInvalid, match=r"embedded_broker: 70 filters .* take filters together"):
        broker.of_broker(tmp_path, [f"t{number}/+" for number in range(70)])


def test_location_is_tuned_in_seconds_and_decibels(tmp_path: Path) -> None:
    assert load_settings().location.tuning() == Tuning()
    tuned = load_settings(write(tmp_path, "[location]\nhysteresis_db = 9\nstale_s = 45")).location.tuning()
    assert (tuned.hysteresis_db, tuned.stale_ns) == (9, 45 * SECOND)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("stale_s = 400", "location", "away_s is 300: give at least stale_s, which is 400"),
        ("fresh_s = 31", "location", "stale_s is 30: give at least fresh_s, which is 31"),
        ("moving_db = 0.1", "location", "moving_db is 0.1: give at least drift_db, which is 0.4"),
        ("dwell_s = -1", "location.dwell_s", "greater than or equal to 0 (found -1)"),
        ("hysteresis = 5", "location.hysteresis", "no such setting; see docs/reference/settings.md"),
    ],
)
def test_a_tuning_that_can_not_be_is_told(tmp_path: Path, text: str, key: str, words: str) -> None:
    assert words in faults(write(tmp_path, f"[location]\n{text}"))[key]
