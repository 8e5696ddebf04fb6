"""`hub devices …` as typed."""

import json

import pytest
from typer.testing import CliRunner

from hub.commands.devices import app
from hub.ward.registry import Registry

PUMP = '{"timestamp":"2026-11-24T02:43:12Z","infusion_rate_ml_hr":12.5}'
SCALE = """
title = "Bed scale"
source = "its manual"
interval_s = 30
time = { path = "t", style = "ms" }
[[topic]]
pattern = "scales/{device}"
[[read]]
value = [{ path = "kg", parameter = "body_weight", unit = "kg" }]
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hub.toml").write_text(f'data_dir = "{tmp_path / "data"}"\n')
    (tmp_path / "data").mkdir()
    (tmp_path / "scale.toml").write_text(SCALE)

    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    return run


def test_decode_prints_one_json_object_a_message(hub):
    done = hub("decode", "--device", "pump-telemetry", "--json", PUMP, PUMP.replace("12.5", '"x"'))
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["readings"][0]["parameter"] == "pump_flow_rate"
    assert first["fhir"][0]["resourceType"] == "Observation"
    assert first["line_protocol"][0].startswith("vitals,")
    assert first["rejects"] == []
    assert second["rejects"][0]["path"] == "$.infusion_rate_ml_hr"
    assert done.exit_code == 1


def test_decode_takes_a_definition_file(hub):
    done = hub("decode", "--device", "scale.toml", "--json", '{"t":1795488192123,"kg":71.5}')
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["readings"][0]["value"] == 71.5


def test_decode_shows_step_by_step_for_people(hub):
    done = hub("decode", "--device", "mon-1", '{"values":{"heart_rate":72}}')
    for step in (
        "site main, area main",
        "readings",
        "heart_rate = 72 /min",
        "rejects",
        "FHIR",
        "line protocol",
    ):
        assert step in done.stdout
    assert done.exit_code == 0


def test_decode_shows_alarms_and_clocks_and_the_section_asked_for_alone(hub):
    payload = '{"timestamp":"2026-10-15T02:43:12Z","occlusion_detected":false,"battery_percent":88}'
    arguments = ("decode", "--device", "pump-telemetry", "--received", "2026-11-24T02:43:12Z", payload)
    done = hub(*arguments)
    assert (
        "battery = 88 %  device 2026-10-15T02:43:12.000Z  corrected 2026-11-24T02:43:12.000Z" in done.stdout
    )
    assert "occlusion absent  high, technical" in done.stdout
    assert "clock not believed: 40 d behind its receipt" in done.stdout
    only = hub(*arguments, "--only", "clocks").stdout
    assert "clock not believed" in only
    assert "battery" not in only
    members = json.loads(hub(*arguments, "--only", "alarms", "--json").stdout)
    assert list(members) == ["topic", "definition", "site", "area", "received", "alarms"]
    sent = json.loads(hub(*arguments[:3], "--received", "sent", payload, "--json").stdout)
    assert (sent["received"], sent["clocks"]) == ("2026-10-15T02:43:12.000Z", [])
    assert "or now, or sent" in hub(*arguments[:3], "--received", "soon", payload).output


def test_decode_takes_a_definition_file_with_the_topic_that_it_is_for(hub):
    payload = '{"t":1795488192123,"kg":71.5}'
    done = hub("decode", "--device", "scale.toml", "--topic", "scales/s-9", "--json", payload)
    assert json.loads(done.stdout)["readings"][0]["device"] == "s-9"
    other = hub("decode", "--device", "scale.toml", "--topic", "iomt/telemetry/icu/p", payload)
    assert other.exit_code == 1
    assert "is a topic of pump-telemetry, not of scale" in other.output
    nobodys = hub("decode", "--device", "scale.toml", "--topic", "scales/s 9", payload)
    assert "device: use 1 to 64" in nobodys.output


def test_decode_heads_a_topic_with_wrong_characters_with_what_is_wrong(hub):
    done = hub("decode", "--topic", "iomt/telemetry/B.12/pump-7", PUMP)
    assert done.stdout.splitlines()[0].startswith("iomt/telemetry/B.12/pump-7: area: use 1 to 64")
    assert "no definition takes it" not in done.stdout


async def test_decode_says_which_devices_would_be_refused_and_what_to_type(hub):
    import asyncio

    arguments = ("decode", "--topic", "devices/gw-1/messages/events/", '{"heartRate":72,"deviceId":"w-1"}')
    command = "hub devices add w-1 --gateway gw-1 --definition iomt-flat"
    before = await asyncio.to_thread(hub, *arguments)
    assert (
        f"would be refused\n  w-1: the device is not registered under this gateway; register with `{command}`"
        in (before.stdout)
    )
    assert before.exit_code == 0
    assert (await asyncio.to_thread(hub, *command.split()[2:])).exit_code == 0
    after = await asyncio.to_thread(hub, *arguments)
    assert "would be refused" not in after.stdout


@pytest.mark.parametrize(
    "arguments", [["decode", "{}"], ["decode", "--device", "a", "--topic", "b", "{}"], ["decode"]]
)
def test_decode_says_what_it_needs(hub, arguments):
    assert hub(*arguments).exit_code == 2


def test_check_prints_file_line_key_and_fails_on_errors(hub, tmp_path):
    (tmp_path / "bad.toml").write_text(SCALE.replace("body_weight", "body_wait"))
    done = hub("check", "bad.toml")
    assert done.exit_code == 1
    assert "bad.toml:9: error: read[0].value" in done.stdout
    assert hub("check", "scale.toml").exit_code == 0


def test_check_takes_topics_that_devices_publish_on(hub):
    assert hub("check", "scale.toml", "--topic", "scales/s-1").exit_code == 0
    done = hub("check", "scale.toml", "--topic", "scales/s.1")
    assert done.exit_code == 1
    assert "scale.toml: error: topic: scales/s.1: device: use 1 to 64" in done.stdout


def test_show_prints_a_definition_as_it_is_written(hub, tmp_path):
    done = hub("show", "iv-pole")
    assert done.exit_code == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "iv-pole.toml").write_text(done.stdout)
    assert hub("check", "mine/iv-pole.toml").exit_code == 0
    unknown = hub("show", "iv-poll")
    assert unknown.exit_code == 1
    assert "there are bbraun-space," in unknown.output


def test_no_message_names_a_file_that_was_only_made_for_the_command(hub, tmp_path):
    (tmp_path / "bad.toml").write_text(SCALE.replace("body_weight", "body_wait"))
    done = hub("decode", "--device", "bad.toml", "{}")
    assert done.exit_code == 78
    assert "error: bad.toml:9: error: read[0].value" in done.output


def test_new_check_and_test_lead_from_a_sample_to_a_tested_definition(hub, tmp_path):
    sample = tmp_path / "sample.json"
    sample.write_text('{"t":1795488192123,"hr":72}')
    (tmp_path / "mine").mkdir()
    assert hub("new", "sample.json", "--topic", "acme/{device}", "-o", "mine/acme.toml").exit_code == 0
    assert hub("new", "sample.json", "--topic", "acme/{device}", "-o", "mine/acme.toml").exit_code == 1
    assert hub("check", "mine/acme.toml", "--samples", "sample.json").exit_code == 0
    case = tmp_path / "cases" / "acme" / "usual"
    case.mkdir(parents=True)
    (case / "topic.txt").write_text("acme/m-1")
    sample.rename(case / "payload.json")
    arguments = ("test", "cases", "--definitions", "mine")
    assert hub(*arguments).exit_code == 1
    assert hub(*arguments, "--update").exit_code == 0
    done = hub(*arguments)
    assert done.exit_code == 0
    assert "acme has no case no-value, malformed" in done.output
    (case / "expected.json").write_text("{}")
    assert "readings[0]: is not expected" in hub(*arguments).stdout


def test_import_reports_what_could_not_be_converted(hub, tmp_path):
    (tmp_path / "content.json").write_text("{}")
    (tmp_path / "mapping.json").write_text("{}")
    done = hub("import-iomt", "content.json", "mapping.json")
    assert done.exit_code == 1
    assert "not converted" in done.output


async def registered(tmp_path):
    registry = Registry(f"sqlite:///{tmp_path / 'data' / 'registry.sqlite'}")
    await registry.start()
    try:
        return {entry.id: entry for entry in await registry.devices()}
    finally:
        await registry.stop()


async def test_add_registers_a_device_under_its_gateway(hub, tmp_path):
    import asyncio

    done = await asyncio.to_thread(hub, "add", "w-1", "--definition", "iomt-flat", "--gateway", "gw-1")
    assert done.exit_code == 0, done.output
    entry = (await registered(tmp_path))["w-1"]
    assert (entry.definition, entry.gateway, entry.registered) == ("iomt-flat", "gw-1", True)
    assert (await asyncio.to_thread(hub, "add", "w-1", "--bed", "nowhere")).exit_code == 1
    assert (await asyncio.to_thread(hub, "add", "w-2")).exit_code == 1
    assert (await asyncio.to_thread(hub, "add", "w-2", "--definition", "nothing")).exit_code == 1


def test_add_makes_the_data_folder_where_it_is_missing_and_says_where_it_cannot(hub, tmp_path):
    (tmp_path / "data").rmdir()
    done = hub("add", "pump-7", "--definition", "pump-telemetry")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    (tmp_path / "hub.toml").write_text(f'data_dir = "{tmp_path / "scale.toml" / "data"}"\n')
    refused = hub("add", "pump-8", "--definition", "pump-telemetry")
    assert refused.exit_code == 69
    assert "set data_dir to a folder that you may write" in refused.output


def test_a_password_is_shown_once_with_what_the_broker_needs(hub):
    done = hub("add", "pump-7", "--definition", "pump-telemetry", "--password")
    assert done.exit_code == 0, done.output
    assert 'password_hash = "$2b$' in done.stdout
    assert 'device = "pump-7"' in done.stdout
