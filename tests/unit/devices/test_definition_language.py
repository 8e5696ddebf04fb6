"""The language by what it can say: formats that other definitions will need, and every kind of fault."""

import json
from textwrap import dedent
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.devices.decode import AlarmSent, Observed, Refused, StatusSent, WaveformSent
from hub.devices.definition_file import parse
from hub.devices.reader import Reader

HEAD = """
title = "A test"
source = "this test"
interval_s = 10
"""
TOPIC = """
[[topic]]
pattern = "test/{device}"
"""


def reader(text, zone="Europe/Berlin"):
    definition, problems = parse(HEAD + dedent(text), "test.toml")
    assert definition is not None, "\n".join(map(str, problems))
    return Reader("test", definition, ZoneInfo(zone))


def read(text, payload, **parts):
    return reader(text).read(payload, {"device": "gw", **parts})


TELEICU = (
    """
    device = { path = "device_id", replace = { "." = "-" } }
    time = { path = "date-time", style = "strptime", pattern = "%Y-%m-%d %H:%M:%S", zone = "site" }
    text_numbers = true
    """
    + TOPIC
    + """
    [[read]]
    each = "[*][*]"
    when = { path = "observation_id", any_of = ["heart-rate", "SpO2", "body-temperature1"] }
    [[read.value]]
    path = "value"
    [read.value.parameter]
    path = "observation_id"
    [read.value.parameter.map]
    heart-rate = "heart_rate"
    SpO2 = "spo2"
    body-temperature1 = { parameter = "temperature", unit = "degF" }

    [read.value.quality]
    path = "status"
    map = { final = "valid", "Message-Leads Off" = "no-value" }

    [[read]]
    each = "[*][*]"
    when = [{ path = "observation_id", equals = "heart-rate" }, { path = "status" }]
    [[read.alarm]]
    path = "status"
    condition = "leads_off"
    present = "Message-Leads Off"
    absent = "final"
    parameter = "heart_rate"

    [[read]]
    each = "[*][*]"
    when = { path = "observation_id", equals = "blood-pressure" }
    value = [
      { path = "systolic.value", parameter = "nibp_systolic", unit = { path = "systolic.unit" } },
      { path = "map.value", parameter = "nibp_mean", unit = { path = "map.unit" } },
    ]

    [[read]]
    each = "[*][*]"
    when = { path = "observation_id", equals = "waveform" }
    [[read.waveform]]
    waveform = { path = "wave-name", map = { II = "ecg_ii", Pleth = "pleth" } }
    samples = "data"
    rate = { path = "sampling rate", suffix = "/sec" }
    scale = "resolution"
    baseline = "data-baseline"

    [[read]]
    each = "[*][*]"
    when = { path = "observation_id", equals = "device-connection" }
    [read.status]
    state = { path = "status", map = { Connected = "online", Disconnected = "offline" } }
    """
)
AT = {"device_id": "192.168.1.14", "date-time": "2024-10-21 13:13:37"}
AT_NS = 1_729_509_217_000_000_000  # 11:13:37Z, Berlin is two hours ahead


def test_arrays_of_arrays_of_many_kinds_are_read_and_values_of_one_time_become_one_observation():
    payload = [
        [
            {**AT, "observation_id": "heart-rate", "status": "final", "value": 72},
            {**AT, "observation_id": "SpO2", "status": "final", "value": "97"},
            {
                **AT,
                "observation_id": "blood-pressure",
                "systolic": {"value": 120, "unit": "mmHg"},
                "map": {"value": 12, "unit": "kPa"},
            },
        ],
        [
            {**AT, "observation_id": "body-temperature1", "status": "final", "value": 98.6},
            {
                **AT,
                "observation_id": "waveform",
                "wave-name": "II",
                "resolution": "0.005",
                "sampling rate": "250/sec",
                "data-baseline": 2048,
                "data": "2048 2050 2061",
            },
            {**AT, "observation_id": "device-connection", "status": "Disconnected"},
        ],
    ]
    items = read(TELEICU, payload)
    device = "192-168-1-14"
    assert items == [
        Observed(
            {
                "temperature": 98.6,
                "nibp_systolic": 120.0,
                "nibp_mean": 12.0,
                "spo2": 97.0,
                "heart_rate": 72.0,
            },
            AT_NS,
            -1,
            {"temperature": "degF", "nibp_systolic": "mmHg", "nibp_mean": "kPa"},
            None,
            device,
        ),
        AlarmSent("leads_off", "absent", "medium", "technical", "heart_rate", "", AT_NS, device),
        WaveformSent("ecg_ii", 250.0, [2048.0, 2050.0, 2061.0], AT_NS, -1, 0.005, -10.24, None, device),
        StatusSent("offline", AT_NS, device=device),
    ]


def test_a_status_can_mean_no_value_and_a_technical_condition():
    payload = [[{**AT, "observation_id": "heart-rate", "status": "Message-Leads Off", "value": 72}]]
    observed, alarm = read(TELEICU, payload)
    assert observed.values == {"heart_rate": None}
    assert (alarm.condition, alarm.presence) == ("leads_off", "present")


def test_an_unknown_status_makes_a_value_questionable():
    payload = [[{**AT, "observation_id": "SpO2", "status": "new word", "value": 97}]]
    refused, observed = read(TELEICU, payload)
    assert refused.path == "$[0][0].status"
    assert observed.quality == {"spo2": "questionable"}


def test_a_number_whose_unit_is_missing_or_unknown_is_refused():
    for unit in ({}, {"unit": "furlong"}, {"unit": 3}):
        payload = [[{**AT, "observation_id": "blood-pressure", "systolic": {"value": 120, **unit}}]]
        (refused,) = read(TELEICU, payload)
        assert isinstance(refused, Refused)
        assert refused.path == "$[0][0].systolic.value"
        assert "unit" in refused.reason


INTELLIVUE = (
    """
    text_numbers = true
    no_value = ["-", ""]
    device = "DeviceID"
    time = { path = "Timestamp", style = "strptime", pattern = "%d-%m-%Y %H:%M:%S.%f", zone = "site" }
    """
    + TOPIC
    + """
    [[read]]
    each = "[*]"
    [[read.value]]
    path = "Value"
    [read.value.parameter]
    path = "PhysioID"
    other = "ignore"
    [read.value.parameter.map]
    NOM_PULS_RATE = "pulse_rate"
    NOM_PULS_OXIM_SAT_O2 = "spo2"
    NOM_TEMP = { parameter = "temperature", unit = "Cel" }
    """
)


def test_rows_of_texts_whose_parameter_another_field_names():
    row = {"Timestamp": "13-09-2024 14:30:06.000", "DeviceID": "monitor-7"}
    payload = [
        {**row, "PhysioID": "NOM_PULS_RATE", "Value": "72"},
        {**row, "PhysioID": "NOM_PULS_OXIM_SAT_O2", "Value": "-"},
        {**row, "PhysioID": "NOM_OTHER", "Value": "1"},
        {**row, "PhysioID": "NOM_TEMP", "Value": "3e1"},
    ]
    items = read(INTELLIVUE, payload)
    observed = Observed(
        {"temperature": 30.0, "spo2": None, "pulse_rate": 72.0}, 1_726_230_606_000_000_000, device="monitor-7"
    )
    assert [item for item in items if isinstance(item, Observed)] == [observed]


def test_one_field_of_many_names_decides_by_jmespath():
    definition = (
        'device = { path = "data.ble_mac", replace = { ":" = "" } }\ntime = { path = "time", style = "s" }\n'
        'seq = { jmespath = "data.value.n | to_number(@)" }\n'
        + TOPIC
        + """
        [[read]]
        when = { path = "type", equals = "HB_Msg" }
        ignore = true
        [[read]]
        when = { jmespath = "starts_with(type, 'report')", equals = true }
        value = [
          { path = "data.value.bp_high", parameter = "nibp_systolic", unit = "mm[Hg]" },
          { jmespath = "data.value.bp_low", parameter = "nibp_diastolic", unit = "mm[Hg]" },
          { path = "data.value.temp", parameter = "temperature", unit = "Cel", scale = 0.1, offset = 1 },
        ]
        """
    )
    value = {"bp_high": 120, "bp_low": 78, "temp": 360, "n": "4"}
    payload = {"type": "reportAttribute", "time": 1739360702, "data": {"ble_mac": "FF:22:09", "value": value}}
    assert read(definition, payload) == [
        Observed(
            {"nibp_systolic": 120.0, "nibp_diastolic": 78.0, "temperature": 37.0},
            1_739_360_702_000_000_000,
            4,
            device="FF2209",
        )
    ]
    assert read(definition, {"type": "HB_Msg"}) == []
    (refused,) = read(definition, {"type": "else"})
    assert "takes this" in refused.reason


FLAGS = (
    TOPIC
    + """
    [[read]]
    [[read.alarm]]
    path = "code"
    condition = { path = "name", map = { OCC = "occlusion" }, other = "refuse" }
    present = [1, "on"]
    absent = [0, "off"]
    priority = { path = "level", map = { "3" = "high" } }
    text = { path = "name" }
    """
)


@pytest.mark.parametrize(
    ("code", "presence"), [(1, "present"), ("on", "present"), (0.0, "absent"), ("off", "absent")]
)
def test_a_flag_of_any_type_says_whether_an_alarm_is_present(code, presence):
    (alarm,) = read(FLAGS, {"code": code, "name": "OCC", "level": 3})
    assert (alarm.condition, alarm.presence, alarm.priority) == ("occlusion", presence, "high")


def test_true_is_not_one_and_an_unknown_condition_is_told():
    (refused,) = read(FLAGS, {"code": True, "name": "OCC", "level": 3})
    assert refused.path == "$.code"
    (refused,) = read(FLAGS, {"code": 1, "name": "XYZ", "level": 3})
    assert refused.path == "$.name"
    refused, alarm = read(FLAGS, {"code": 1, "name": "OCC", "level": 9})
    assert (refused.path, alarm.priority) == ("$.level", "medium")


def test_a_second_value_of_one_parameter_is_refused_not_chosen():
    definition = (
        TOPIC
        + """
        [[read]]
        value = [
          { path = "a", parameter = "heart_rate", unit = "/min" },
          { path = "b", parameter = "heart_rate", unit = "/min" },
        ]
        """
    )
    refused, observed = read(definition, {"a": 70, "b": 71})
    assert refused.path == "$.b"
    assert observed.values == {"heart_rate": 70.0}


def test_parts_of_a_device_report_on_channels_of_their_own():
    definition = (
        TOPIC
        + """
        [[read]]
        each = "pumps[*]"
        channel = { path = "slot", map = { "1" = "slot-1", "2" = "slot-2" } }
        value = [{ path = "rate", parameter = "pump_flow_rate", unit = "mL/h" }]
        """
    )
    items = read(
        definition, {"pumps": [{"slot": 1, "rate": 5}, {"slot": 2, "rate": 6}, {"slot": 3, "rate": 7}]}
    )
    assert [(item.channel, item.values) for item in items if isinstance(item, Observed)] == [
        ("slot-1", {"pump_flow_rate": 5.0}),
        ("slot-2", {"pump_flow_rate": 6.0}),
    ]
    assert isinstance(items[2], Refused)


FAULTS = {
    "an unknown vocabulary name": (
        '[[read]]\n[[read.value]]\npath = "a"\nparameter = "hart_rate"\n',
        "read[0].value[0].parameter",
        10,
        "did you mean heart_rate?",
    ),
    "a unit that can't be converted": (
        '[[read]]\n[[read.value]]\npath = "a"\nparameter = "spo2"\nunit = "mmHg"\n',
        "read[0].value[0]",
        8,
        "accepted is",
    ),
    "an unknown key": (
        '[[read]]\nignore = true\nevery = "x"\n',
        "read[0].every",
        9,
        "no key of the language",
    ),
    "a path with stars": (
        '[[read]]\n[[read.value]]\npath = "a[*]"\nparameter = "spo2"\n',
        "read[0].value[0]",
        8,
        "each",
    ),
    "broken JMESPath": (
        '[[read]]\n[[read.value]]\njmespath = "a["\nparameter = "spo2"\n',
        "read[0].value[0]",
        8,
        "not JMESPath",
    ),
    "a wrong code of a map": (
        '[[read]]\n[[read.value]]\npath = "a"\nparameter = "acvpu"\nmap = { x = "Z" }\n',
        "read[0].value[0]",
        8,
        "takes one of A, C, P, U, V, not Z",
    ),
    "a map for a number": (
        '[[read]]\n[[read.value]]\npath = "a"\nparameter = "spo2"\nmap = { x = "A" }\n',
        "read[0].value[0]",
        8,
        "is a number",
    ),
    "an unknown name in a map of names": (
        '[[read]]\n[[read.value]]\npath = "a"\nparameter = { path = "n", map = { x = "spo" } }\n',
        "read[0].value[0].parameter.map.x.parameter",
        10,
        "did you mean spo2?",
    ),
    "an unknown zone": (
        'time = { path = "t", zone = "Mars/Base" }\n[[read]]\nignore = true\n',
        "time[0].zone",
        7,
        "IANA",
    ),
    "a pattern without a zone": (
        'time = { path = "t", style = "strptime", pattern = "%H" }\n[[read]]\nignore = true\n',
        "time[0]",
        7,
        "need one",
    ),
    "a style that isn't": (
        'time = { path = "t", style = "julian" }\n[[read]]\nignore = true\n',
        "time[0].style",
        7,
        "rfc3339",
    ),
    "a record that nothing is read of": ('[[read]]\neach = "[*]"\n', "read[0]", 7, "ignore = true"),
    "a topic part that isn't there": (
        '[[read]]\nignore = true\n[[read]]\ndevice = { topic = "gateway" }\nignore = true\n',
        "",
        0,
        "no part {gateway}",
    ),
    "a waveform among values": (
        '[[read]]\n[[read.value]]\npath = "a"\nparameter = "ecg_ii"\n',
        "",
        None,
        "read.waveform",
    ),
    "a number among waveforms": (
        '[[read]]\n[[read.waveform]]\nwaveform = "spo2"\nsamples = "a"\nrate = "b"\n',
        "read[0].waveform[0]",
        8,
        "no waveform",
    ),
    "two sources of one thing": (
        'seq = { path = "a", value = 1 }\n[[read]]\nignore = true\n',
        "seq",
        7,
        "exactly one",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_key_line_and_what_was_expected(fault):
    text, key, line, words = FAULTS[fault]
    # Keys of the document go before its tables.
    top, _, tables = text.partition("[[read]]")
    document = (
        'title = "A test"\nsource = "x"\ninterval_s = 1\n\n# a comment\n\n'
        + top
        + "[[read]]"
        + tables
        + TOPIC
    )
    definition, problems = parse(document, "d.toml")
    assert definition is None
    (problem,) = problems
    assert words in problem.message
    assert problem.severity == "error"
    if line is not None:
        assert (problem.key, problem.line) == (key, line)


def test_a_fault_in_the_middle_of_an_array_is_told_with_its_own_line():
    rows = [
        '{ path = "a", parameter = "heart_rate" },',
        '{ path = "b", parameter = "spo2", unit = { path = 3 } },',
    ]
    text = "\n".join([HEAD + TOPIC + "[[read]]", "value = [", *rows, "]"])
    _, (problem,) = parse(text, "d.toml")
    line = next(number for number, row in enumerate(text.splitlines(), 1) if "path = 3" in row)
    assert (problem.key, problem.line) == ("read[0].value[1].unit.path", line)


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("title = 3", "title", "expected a text, found a number"),
        ('title = ""', "title", "is empty"),
        ("source = [1]", "source", "expected a text, found an array"),
        ('interval_s = "5"', "interval_s", "expected a number, found a text"),
        ("interval_s = 0", "interval_s", "expected above 0"),
        ("interval_s = 100000", "interval_s", "expected at most 86400"),
        ("text_numbers = 1", "text_numbers", "expected true or false, found a number"),
        ("no_value = 7", "no_value", "expected an array, found a number"),
        ("no_value = [[7]]", "no_value[0]", "expected a text, a number or true or false, found an array"),
        ('gateway = "all"', "gateway", "expected 'registered' or 'any', found 'all'"),
        ("topic = []", "topic", "give at least one"),
        ("when = 5", "when[0]", "expected a table, found a number"),
        ("time = 2026-11-24", "time[0]", "expected a table, found a date or a time"),
    ],
)
def test_a_fault_of_form_is_told_in_words_and_once(text, key, words):
    good = {
        "title": 'title = "a"',
        "source": 'source = "b"',
        "interval_s": "interval_s = 1",
        "read": "read = [{ ignore = true }]",
        "topic": 'topic = [{ pattern = "a/{device}" }]',
    }
    good[text.partition(" ")[0]] = text
    _, problems = parse("\n".join(good.values()), "d.toml")
    assert [(problem.key, problem.message) for problem in problems] == [(key, words)]


def test_all_faults_of_a_file_are_told_at_once():
    _, problems = parse('interval_s = "soon"\n[[topic]]\npattern = "a/#/b"\n[[read]]\n', "d.toml")
    assert {problem.key for problem in problems} == {
        "title",
        "source",
        "interval_s",
        "topic[0].pattern",
        "read[0]",
    }


def test_what_is_no_toml_is_told_with_its_line():
    _, (problem,) = parse("title = 'x'\nsource =\n", "d.toml")
    assert problem.line == 2
    assert str(problem).startswith("d.toml:2: error: is not TOML")


def test_a_number_without_a_unit_is_doubted():
    text = HEAD + TOPIC + '[[read]]\n[[read.value]]\npath = "a"\nparameter = "temperature"\n'
    definition, doubts = parse(text, "d.toml")
    assert definition is not None
    doubt, *_ = (one for one in doubts if one.key.endswith("parameter"))
    assert (doubt.severity, doubt.key) == ("warning", "read[0].value[0].parameter")
    assert "taken as Cel" in doubt.message


def test_a_definition_without_any_device_is_refused():
    _, problems = parse(
        HEAD + '[[topic]]\npattern = "t"\n[[read]]\neach = "[*]"\nstatus = { state = "online" }\n', "d"
    )
    assert "no device" in problems[0].message


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["observation_id", "value", "status", "device_id", "date-time", "data", "time", "type"]
            ),
            inner | st.sampled_from(["heart-rate", "waveform", "final", "1.2.3", "II"]),
            max_size=6,
        )
    ),
    max_leaves=25,
)


@pytest.mark.parametrize("definition", [TELEICU, INTELLIVUE, FLAGS], ids=["teleicu", "intellivue", "flags"])
def test_no_payload_makes_a_compiled_definition_raise(definition):
    compiled = reader(definition)

    @settings(max_examples=80, deadline=None)
    @given(json_values)
    def holds(payload):
        for item in compiled.read(payload, {"device": "gw"}):
            json.dumps(repr(item))

    holds()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('condition = "Bad Name"', "small letters"),
        ('condition = "occlusion"\npriority = "urgent"', "high, medium, low"),
        ('condition = "occlusion"\nkind = "odd"', "physiological, technical"),
        ('condition = "occlusion"\nparameter = "hart_rate"', "did you mean heart_rate"),
    ],
)
def test_a_constant_of_an_alarm_that_can_not_be_right_is_refused_when_it_is_written(line, words):
    _, problems = parse(HEAD + TOPIC + f'[[read]]\n[[read.alarm]]\npath = "a"\n{line}\n', "d.toml")
    assert words in problems[0].message
