"""Where a fault is told: the line of the very key or element."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from hub.devices.catalog import BUILT_IN
from hub.devices.lines import lines

TEXT = '''title = "a # no comment, a \\" quote"
time = { path = "t",
  pattern = '%H' }

[[topic]]
pattern = "a/{device}" # [[read]]

[[read]]
value = [
  # a comment with ] and }
  { path = "a", unit = { path = "u" } },
  { path = "b", map = { "x.y" = "1" }, no_value = [1, "]", 3] },
]

[[read.alarm]]
path = "c"
[[read]]
text = """
two lines [[read]]
"""
[[ read . alarm ]]
[read.alarm.text]
path.deep = 'd'
'''


def test_every_key_and_element_has_its_line():
    found = lines(TEXT)
    expected = {
        ("title",): 1,
        ("time", "pattern"): 3,
        ("topic", 0): 5,
        ("read", 0, "value"): 9,
        ("read", 0, "value", 0): 11,
        ("read", 0, "value", 0, "unit", "path"): 11,
        ("read", 0, "value", 1, "map", "x.y"): 12,
        ("read", 0, "value", 1, "no_value", 2): 12,
        ("read", 0, "alarm", 0, "path"): 16,
        ("read", 1): 17,
        ("read", 1, "text"): 18,
        ("read", 1, "alarm", 0): 21,
        ("read", 1, "alarm", 0, "text", "path", "deep"): 23,
    }
    assert {key: found[key] for key in expected} == expected


def keys(node, at=()):
    members = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, member in members:
        yield (*at, name)
        yield from keys(member, (*at, name))


def test_nothing_of_the_built_in_definitions_is_without_a_line():
    for file in BUILT_IN.glob("*.toml"):
        text = file.read_text()
        found = lines(text)
        rows = text.splitlines()
        for key in keys(tomllib.loads(text)):
            if not isinstance(key[-1], int):
                assert key[-1] in rows[found[key] - 1], key


@given(st.lists(st.text(alphabet="a#\"'[]{},=\\ ", max_size=12), min_size=1, max_size=4))
def test_no_text_within_quotes_misleads_it(texts):
    quoted = ['"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"' for text in texts]
    document = "a = [\n" + ",\n".join(quoted) + "\n]\nb = 1\n"
    tomllib.loads(document)
    found = lines(document)
    assert found[("b",)] == len(texts) + 3
    assert [found[("a", at)] for at in range(len(texts))] == list(range(2, len(texts) + 2))
