"""No engine runs where this is developed, so what an engine would be told is checked here."""

import importlib.util
import json
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from hub.settings import load_settings

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
NAMES = sorted(SERVICES)


def entrypoint():
    spec = importlib.util.spec_from_file_location("entrypoint", DEPLOY / "entrypoint.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """What deploy/make_secrets.sh makes, in a folder of its own."""
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copy(DEPLOY / "make_secrets.sh", folder)
    for _ in range(2):  # the second run must change nothing
        before = {path.name: path.read_bytes() for path in folder.glob("secrets/*")}
        subprocess.run(["sh", folder / "make_secrets.sh", "hub.example", "192.0.2.7"], check=True)
        after = {path.name: path.read_bytes() for path in folder.glob("secrets/*")}
        assert before.items() <= after.items()
    assert before == after
    return folder / "secrets"


def test_what_the_issue_asks_for_is_there():
    assert {"hub", "broker", "mosquitto", "influxdb", "grafana", "simulators"} <= set(SERVICES)
    assert SERVICES["mosquitto"]["profiles"] == ["mosquitto"]
    assert SERVICES["simulators"]["profiles"] == ["demo"]
    assert SERVICES["influxdb"]["image"].startswith("influxdb:2.7")


@pytest.mark.parametrize("name", NAMES)
def test_a_service_can_do_no_more_than_it_must(name):
    service = SERVICES[name]
    uid, gid = service["user"].split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}


@pytest.mark.parametrize("name", NAMES)
def test_a_service_says_whether_it_is_well(name):
    check = SERVICES[name]["healthcheck"]
    assert check.get("disable") is True or check["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_pinned_or_built_here(name):
    image = SERVICES[name]["image"]
    assert image == "wardhub:local" or re.fullmatch(r"[\w./-]+:v?\d+\.\d+[\w.-]*", image)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_mounted_or_named_exists(name):
    service = SERVICES[name]
    for volume in service.get("volumes", []):
        source, target, *mode = volume.split(":")
        if source.startswith("./"):
            assert mode == ["ro"], volume
            assert source.startswith("./deploy/secrets/") or (ROOT / source).exists(), source
        else:
            assert source in COMPOSE["volumes"]
        assert target.startswith("/")
    assert set(service.get("secrets", [])) <= set(COMPOSE["secrets"])
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert set(service.get("depends_on", {})) <= set(SERVICES)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_listens_to_the_network_unless_somebody_says_so(name):
    for port in SERVICES[name].get("ports", []):
        assert re.match(r"\$\{\w+:-127\.0\.0\.1\}:", port), port


def test_no_password_is_written_or_has_a_default():
    text = (ROOT / "compose.yaml").read_text("utf-8")
    for line in text.splitlines():
        found = re.search(r"(?i)(password|token|secret)\w*\s*[:=]\s*(\S+)", line.split("#")[0])
        if found:
            value = found[2]
            assert value.startswith(("/run/secrets/", "[", "{", '"{{secret')), line
    assert not re.search(r"\$\{\w*(PASSWORD|TOKEN|SECRET)\w*:-", text)


def test_every_secret_of_the_file_is_made_by_the_script(secrets):
    named = {Path(one["file"]).name for one in COMPOSE["secrets"].values()}
    named |= {
        Path(volume.split(":")[0]).name
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith("./deploy/secrets/")
    }
    made = {path.name for path in secrets.iterdir()}
    assert named <= made
    later = {"metrics_token", "mosquitto_passwords"}
    assert all((secrets / name).stat().st_size for name in named - later)


def test_secrets_are_random_and_out_of_others_reach(secrets):
    values = [(secrets / name).read_text() for name in ("influxdb_token", "grafana_password")]
    assert len(set(values)) == 2
    assert all(re.fullmatch(r"[0-9a-f]{48}\n", value) for value in values)
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    assert stat.S_IMODE((secrets / "ca_key").stat().st_mode) == 0o600
    assert "deploy/secrets/" in (ROOT / ".gitignore").read_text("utf-8")
    assert "deploy/secrets" in (ROOT / ".dockerignore").read_text("utf-8")


def test_the_certificates_are_good_for_the_names_that_people_use(secrets):
    for name in ("hub", "broker"):
        for host in (name, "hub.example", "localhost"):
            check = ["openssl", "verify", "-CAfile", secrets / "ca_cert", "-verify_hostname", host]
            done = subprocess.run([*check, secrets / f"{name}_cert"], capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
    check = ["openssl", "verify", "-CAfile", secrets / "ca_cert", "-verify_ip", "192.0.2.7"]
    assert subprocess.run([*check, secrets / "hub_cert"], capture_output=True, check=False).returncode == 0


def test_the_hub_takes_its_settings_with_the_secrets_in_place(secrets, tmp_path, monkeypatch):
    text = (DEPLOY / "hub.toml").read_text("utf-8").replace("/run/secrets/", f"{secrets}/")
    file = tmp_path / "hub.toml"
    file.write_text(text)
    filled = entrypoint().filled(SERVICES["hub"]["environment"], secrets)
    monkeypatch.setenv("HUB_STORES", filled["HUB_STORES"])
    settings = load_settings(file)
    (store,) = settings.stores
    assert store.kind == "influxdb"
    assert store.token.get_secret_value() == (secrets / "influxdb_token").read_text().strip()
    made = SERVICES["influxdb"]["environment"]
    assert (store.org, store.bucket) == (
        made["DOCKER_INFLUXDB_INIT_ORG"],
        made["DOCKER_INFLUXDB_INIT_BUCKET"],
    )
    (broker,) = settings.broker_addresses
    assert broker.url == "mqtts://hub@broker:8883"
    mounted = {f"/run/secrets/{name}" for name in SERVICES["hub"]["secrets"]}
    used = set(re.findall(r"/run/secrets/\w+", (DEPLOY / "hub.toml").read_text("utf-8")))
    assert used <= mounted


def test_a_secret_that_is_missing_is_named(tmp_path):
    module = entrypoint()
    with pytest.raises(module.SecretMissing, match="influxdb_token"):
        module.filled({"HUB_STORES": "{{secret influxdb_token}}"}, tmp_path)
    (tmp_path / "odd").write_text('a"b\\c\n')
    assert json.loads(module.filled({"HUB_X": '["{{secret odd}}"]'}, tmp_path)["HUB_X"]) == ['a"b\\c']
    assert module.filled({"OTHER": "{{secret odd}}"}, tmp_path) == {"OTHER": "{{secret odd}}"}


def test_the_image_is_built_in_stages_and_run_by_nobody():
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    stages = re.findall(r"^FROM (\S+)(?: AS (\w+))?$", text, re.MULTILINE)
    assert len(stages) >= 3
    assert all(re.search(r":\d", image) for image, _ in stages)
    assert re.search(r"^USER 10001:10001$", text, re.MULTILINE)
    for source in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (ROOT / name).exists(), name


def test_grafana_asks_nobody_outside():
    environment = SERVICES["grafana"]["environment"]
    for name in (
        "GF_ANALYTICS_REPORTING_ENABLED",
        "GF_ANALYTICS_CHECK_FOR_UPDATES",
        "GF_NEWS_NEWS_FEED_ENABLED",
    ):
        assert environment[name] == "false"
    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"


def test_prometheus_scrapes_what_the_hub_serves():
    scrapes = yaml.safe_load((DEPLOY / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    hub = next(one for one in scrapes if one["job_name"] == "hub")
    assert hub["metrics_path"] == "/metrics"
    assert hub["static_configs"][0]["targets"] == ["hub:8080"]
    assert Path(hub["authorization"]["credentials_file"]).name in SERVICES["prometheus"]["secrets"]
