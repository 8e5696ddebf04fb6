"""What values share is said once: units and qualities beside them, maps, times; and what may be empty."""

import json
from datetime import UTC

import pytest

from hub.devices.check import check
from hub.devices.decode import Observed, Refused
from hub.devices.definition_file import parse
from hub.devices.path import InvalidPathError, Path, beside
from hub.devices.reader import Reader

HEAD = """
title = "A monitor"
source = "this test"
interval_s = 10
time = "$.ts"
[[topic]]
pattern = "monitors/{device}"
[maps]
grade = { OK = "valid", NOISY = "questionable", LEADOFF = "invalid" }
names = { T = { parameter = "temperature", unit = "degF" }, S = "spo2" }
"""
BESIDE = """
[[read]]
unit = { path = "^.u" }
quality = { path = "^.q", map = "grade" }
value = [
  { path = "ecg.hr.val", parameter = "heart_rate" },
  { path = "sat.val", parameter = "spo2", unit = "%" },
  { path = "posture.val", parameter = "acvpu", quality = "posture.grade" },
]
"""


def reader(text):
    definition, problems = parse(HEAD + text, "monitor.toml")
    assert definition is not None, problems
    return Reader("monitor", definition, UTC)


def read(text, payload):
    return reader(text).read(payload, {"device": "m"})


def test_units_and_qualities_stand_beside_each_value():
    payload = {
        "ts": "2026-11-24T02:43:12Z",
        "ecg": {"hr": {"val": 1.2, "u": "Hz", "q": "NOISY"}},
        "sat": {"val": 97, "q": "LEADOFF"},
        "posture": {"val": "A", "q": "LEADOFF", "grade": "valid"},
    }
    (item,) = read(BESIDE, payload)
    assert item.values == {"heart_rate": 1.2, "spo2": 97.0, "acvpu": "A"}
    assert item.units == {"heart_rate": "Hz"}
    assert item.quality == {"heart_rate": "questionable", "spo2": "invalid"}


@pytest.mark.parametrize(
    ("text", "value", "path"),
    [
        ("^.q", "a.b.val", "a.b.q"),
        ("^.q.word", "val", "q.word"),
        ("^.q", "$.a.val", "$.a.q"),
        ("^.q", "$.val", "$.q"),
        ("^.q", 'a."x.y".val', 'a."x.y".q'),
        ("^.q", 'a."x.y"', "a.q"),
        ("^.q", "a[0].val", "a[0].q"),
        ("b.q", "a.val", "b.q"),
    ],
)
def test_a_path_beside_a_value_leads_to_its_sibling(text, value, path):
    found = beside(text, value)
    assert Path(found).steps == Path(path).steps
    assert Path(found).from_root is Path(path).from_root


def test_only_units_and_qualities_begin_beside_a_value():
    with pytest.raises(InvalidPathError, match="begin beside it"):
        Path("^.x")
    for line in (
        'value = [{ path = "^.a", parameter = "spo2" }]',
        'device = "^.a"\nstatus = { state = "online" }',
    ):
        _, problems = parse(HEAD + "[[read]]\n" + line, "monitor.toml")
        assert "begin beside it" in problems[0].message
    jmespath = '[[read]]\nquality = "^.q"\nvalue = [{ jmespath = "a || b", parameter = "spo2" }]\n'
    _, (problem,) = parse(HEAD + jmespath, "monitor.toml")
    assert "is beside a plain `path`" in problem.message


def test_a_named_map_serves_parameters_too_and_its_faults_are_told():
    named = '[[read]]\nvalue = [{ path = "v", parameter = { path = "n", map = "names" } }]\n'
    (item,) = read(named, {"v": 98.6, "n": "T", "ts": "2026-11-24T02:43:12Z"})
    assert (item.values, item.units) == ({"temperature": 98.6}, {"temperature": "degF"})
    _, (problem,) = parse(HEAD + named.replace('"names"', '"name"'), "monitor.toml")
    assert problem.key == "read[0].value[0].parameter.map"
    assert problem.message == "no map 'name': [maps] has grade, names"
    _, problems = parse(HEAD.replace('"spo2"', '"spo"') + named, "monitor.toml")
    assert "did you mean spo2?" in problems[0].message


def test_a_quality_that_there_is_not_is_told_when_it_is_written():
    own = BESIDE.replace('quality = "posture.grade"', 'quality = { path = "^.q", map = { OK = "doubtful" } }')
    for head, text in ((HEAD.replace('"questionable"', '"doubtful"'), BESIDE), (HEAD, own)):
        _, problems = parse(head + text, "monitor.toml")
        assert problems[0].message == "quality is one of valid, questionable, invalid, no-value, not doubtful"


def test_a_shared_unit_must_fit_every_number_that_has_none():
    text = BESIDE.replace('{ path = "^.u" }', '"mmHg"')
    _, (problem,) = parse(HEAD + text, "monitor.toml")
    assert "heart_rate in 'mmHg' can't be converted" in problem.message


def test_the_definitions_time_counts_where_the_records_own_is_not_there():
    text = (
        '[[read]]\neach = "rows[*]"\ntime = "at"\nvalue = [{ path = "v", parameter = "spo2", unit = "%" }]\n'
    )
    rows = [{"v": 97, "at": "2026-11-24T02:00:00Z"}, {"v": 96}, {"v": 95, "at": "soon"}]
    items = read(text, {"ts": "2026-11-24T02:43:12Z", "rows": rows})
    refused = [item for item in items if isinstance(item, Refused)]
    times = [item.time_ns // 10**9 for item in items if isinstance(item, Observed)]
    assert times == [1_795_485_600, 1_795_488_192, 0]
    assert [item.path for item in refused] == ["$.rows[2].at"]


EMPTY = (
    '[[read]]\neach = "{each}"\nempty = "ok"\nvalue = [{{ path = "v", parameter = "spo2", unit = "%" }}]\n'
)


@pytest.mark.parametrize(
    ("each", "payload"),
    [
        ("[*]", []),
        ("a.rows[*]", {"a": {"rows": []}}),
        ("[*][*]", [[], []]),
        ("rows[*].more[*]", {"rows": []}),
    ],
)
def test_an_empty_array_is_no_reject_where_the_definition_says_so(each, payload):
    text = EMPTY.format(each=each)
    assert read(text, payload) == []
    (refused,) = read(text.replace('empty = "ok"\n', ""), payload)
    assert "expects records at" in refused.reason


@pytest.mark.parametrize("payload", [{}, {"a": {"row": []}}, {"a": {"rows": None}}, {"a": []}, 5])
def test_what_is_no_array_is_one_all_the_same(payload):
    items = read(EMPTY.format(each="a.rows[*]"), payload)
    assert any(isinstance(item, Refused) for item in items)


def test_what_no_sample_has_of_a_named_map_is_told_once(tmp_path):
    file = tmp_path / "monitor.toml"
    file.write_text(
        HEAD.replace('names = { T = { parameter = "temperature", unit = "degF" }, S = "spo2" }\n', "")
        + BESIDE
    )
    sample = tmp_path / "sample.json"
    payload = {
        "ts": "2026-11-24T02:43:12Z",
        "ecg": {"hr": {"val": 72, "u": "/min", "q": "OK"}},
        "sat": {"val": 97, "q": "NOISY"},
        "posture": {"val": "A", "grade": "valid"},
    }
    sample.write_text(json.dumps(payload))
    (gap,) = check([file], [sample])
    assert (gap.key, gap.message) == ("maps.grade", "no sample has LEADOFF")
    assert file.read_text().splitlines()[gap.line - 1].startswith("grade")
