"""A board that names a metric, field or tag that the hub does not write shows nothing, and nobody notices."""

import json
import re
from pathlib import Path

import pytest
import yaml

from hub.app import Hub
from hub.datadir import DataDir
from hub.model import DeviceAlarm, DeviceStatus, Reading, Sighting
from hub.settings import load_settings
from hub.stores import lines
from hub.vocabulary import PARAMETERS

GRAFANA = Path(__file__).parents[3] / "dashboards" / "grafana"
BOARDS = sorted((GRAFANA / "boards").glob("*.json"))
_PROMQL_WORDS = {"rate", "increase", "histogram_quantile", "sum", "min", "max", "by"}
_INFLUXQL = re.compile(r'FROM "(\w+)"')
# Fields and tags that are written to each measurement; the code that does is hub/stores/lines.py.
TAGS = {
    "vitals": {"site", "device", "channel"},
    "status": {"site", "device"},
    "device_alarm": {"site", "device", "condition", "presence"},
    "sighting": {"site", "device", "beacon"},
}


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def queries(board, kind):
    for panel in board["panels"]:
        for target in panel["targets"]:
            if target["datasource"]["type"] == kind:
                yield panel["title"], target


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Every metric that the hub exports, with the labels it may have."""
    folder = tmp_path_factory.mktemp("hub")
    settings = load_settings(
        overrides={"data_dir": folder, "stores": [{"kind": "duckdb"}]}, default_file=False
    )
    with DataDir(folder) as data:
        hub = Hub(settings, data)
        hub.metrics.rejected("a reason")
        text = hub.metrics.render().decode()
    kinds = dict(re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE))
    assert len(kinds) > 20
    return kinds


def names_in(expression):
    bare = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    by = set(re.findall(r"by \((\w+)\)", bare))
    return {name for name in re.findall(r"[a-zA-Z_]\w*", bare) if name not in _PROMQL_WORDS | by}, by


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_metric_of_a_board_is_one_that_the_hub_exports(path, exported):
    known = set(exported)
    known |= {f"{name}_{part}" for name in exported for part in ("bucket", "sum", "count")}
    found = 0
    for title, target in queries(load(path), "prometheus"):
        for name in names_in(target["expr"])[0]:
            assert name in known, f"{path.name}: {title}: no metric {name}"
            found += 1
    assert found


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_counters_are_shown_as_rates_and_gauges_are_not(path, exported):
    for title, target in queries(load(path), "prometheus"):
        for name in names_in(target["expr"])[0]:
            counted = exported.get(name) == "counter" or name.endswith("_bucket")
            rated = re.search(rf"(rate|increase)\({name}\[", target["expr"]) is not None
            assert counted == rated, f"{path.name}: {title}: {target['expr']}"


def written_fields():
    """The fields of each measurement, out of lines that the store's own code renders."""
    status = DeviceStatus("s", "d", 2, 3, "online", 50.0, "1.0", 1.0)
    alarm = DeviceAlarm("s", "d", 2, 3, "occlusion", "present", "high", "technical", "spo2", "t")
    sighting = Sighting("s", "d", "b", 2, 3, -40, -59, 90.0)
    reading = Reading("s", "d", "observations", 2, 1, 3, 4, {"heart_rate": 72.0})
    rendered = [
        lines.Lines().reading(reading),
        lines.status_line(status),
        lines.alarm_line(alarm),
        lines.sighting_line(sighting),
    ]
    fields = {}
    for line in rendered:
        head, rest = line.split(" ", 1)
        measurement = head.split(",")[0]
        fields[measurement] = {part.split("=")[0] for part in rest.rsplit(" ", 1)[0].split(",")}
        tags = {part.split("=")[0] for part in head.split(",")[1:]}
        assert tags <= TAGS[measurement]
    fields["vitals"] |= set(PARAMETERS)
    return fields


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_every_field_and_tag_of_a_board_is_one_that_the_store_writes(path):
    fields = written_fields()
    for title, target in queries(load(path), "influxdb"):
        (measurement,) = _INFLUXQL.findall(target["query"])
        assert measurement in fields, f"{path.name}: {title}: no measurement {measurement}"
        for name in re.findall(r'\w+\("(\w+)"\)', target["query"]):
            assert name in fields[measurement], f"{path.name}: {title}: no field {name}"
        for name in re.findall(r'(?:WHERE|AND|,) .*?"(\w+)" *(?:=|$)|, "(\w+)"', target["query"]):
            tag = name[0] or name[1]
            assert not tag or tag in TAGS[measurement], f"{path.name}: {title}: no tag {tag}"
        for tag in re.findall(r"\$tag_(\w+)", target["alias"]):
            assert tag in TAGS[measurement]


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_board_is_whole_and_its_panels_do_not_overlap(path):
    board = load(path)
    assert board["uid"].startswith("wardhub-")
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken = set()
    for panel in board["panels"]:
        assert panel["title"]
        assert panel["description"], "says what it means and what to do"
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, f"{path.name}: {panel['title']} overlaps"
        taken |= cells


def test_boards_name_data_sources_that_are_provisioned():
    provisioned = yaml.safe_load((GRAFANA / "provisioning/datasources/wardhub.yaml").read_text("utf-8"))
    known = {(source["type"], source["uid"]) for source in provisioned["datasources"]}
    assert BOARDS
    uids = set()
    for path in BOARDS:
        board = load(path)
        uids.add(board["uid"])
        for panel in board["panels"]:
            for target in panel["targets"]:
                assert (target["datasource"]["type"], target["datasource"]["uid"]) in known
        for variable in board["templating"]["list"]:
            assert (variable["datasource"]["type"], variable["datasource"]["uid"]) in known
    assert len(uids) == len(BOARDS)
