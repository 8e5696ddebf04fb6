"""The quick reader of JSON gives what the careful one does, and leaves to it what is ambiguous."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hub.devices import payload as module
from hub.devices.payload import UnreadableError, Unusable, parse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=20,
)
TEXTS = st.sampled_from(
    [
        '{"a":1}',
        '{"a" :1,"b":2,"b":3}',
        '"',
        ":",
        ",",
        "{",
        "}",
        "[",
        "]",
        " ",
        "\\",
        "\\ud800",
        "1e999",
        "\n",
    ]
)


def carefully(payload):
    try:
        return repr(module._parse_carefully(payload))
    except UnreadableError as error:
        return str(error)


def quickly(payload):
    try:
        return repr(parse(payload))
    except UnreadableError as error:
        return str(error)


@settings(max_examples=500, deadline=None)
@given(
    json_values.map(lambda value: json.dumps(value).encode())
    | json_values.map(
        lambda value: json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "surrogatepass"
        )
    )
    | st.lists(TEXTS, max_size=8).map(lambda texts: "".join(texts).encode())
    | st.binary(max_size=20)
)
@example(b'{"a" :1,"b":2,"b":3}')
@example(b'{"a":{"b":1},"a":2}')
@example(b'{"x\\":":1,"y":2}')
@example(b'["\\":",{"a":1}]')
@example(b"1" * 5_000)
def test_both_readers_agree_on_every_payload(payload):
    assert quickly(payload) == carefully(payload)


@pytest.mark.parametrize("payload", [b'{"a":1,"a":2}', b'[{"b":[{"a":1,"a":2}]}]', b'{"a" :0,"b":1,"b":2}'])
def test_a_key_that_comes_twice_is_never_chosen(payload):
    assert "Unusable" in repr(parse(payload))


def test_what_can_be_read_around_something_unusable_is():
    assert parse(b'{"a":1,"a":2,"b":3}') == {"a": Unusable("a key that occurs twice: send it once"), "b": 3}


@pytest.mark.parametrize("payload", [b"[" * 200_000, b'{"a":' * 100_000])
def test_deep_nesting_is_told(payload):
    with pytest.raises(UnreadableError):
        parse(payload)
