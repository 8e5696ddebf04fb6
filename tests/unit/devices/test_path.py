import pytest

from hub.devices.path import MISSING, InvalidPathError, Path

PAYLOAD = {
    "a": {"b-c": [{"d e": 1}, {"d e": None}]},
    "x.y": 5,
    "rows": [[{"v": 1}, {"v": 2}], [{"v": 3}]],
    "one": {"v": 9},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.b-c[0].d e", 1),
        ("a.b-c[1].d e", None),
        ("a.b-c[2].d e", MISSING),
        ('"x.y"', 5),
        ("$.one.v", 9),
        ("one.v.w", MISSING),
        ("a[0]", MISSING),
        ("rows[1][0].v", 3),
    ],
)
def test_a_plain_path_leads_to_one_thing(text, expected):
    assert (
        Path(text).getter()(PAYLOAD, PAYLOAD) is expected or Path(text).getter()(PAYLOAD, PAYLOAD) == expected
    )


def test_a_path_from_the_payload_leaves_the_element():
    assert Path("$.one.v").getter()({"other": 1}, PAYLOAD) == 9
    assert Path("$.one.v").below("$.rows[0]") == "$.one.v"
    assert Path("a.b").below("$.rows[0]") == "$.rows[0].a.b"


def test_stars_go_over_nested_arrays_and_tell_where_they_are():
    found = list(Path("rows[*][*]").each(PAYLOAD))
    assert found == [("$.rows[0][0]", {"v": 1}), ("$.rows[0][1]", {"v": 2}), ("$.rows[1][0]", {"v": 3})]
    assert list(Path("[*]").each([1, 2])) == [("$[0]", 1), ("$[1]", 2)]


def test_a_single_object_counts_as_an_array_of_one():
    assert list(Path("one[*]").each(PAYLOAD)) == [("$.one", {"v": 9})]
    assert list(Path("[*][*]").each({"v": 1})) == [("$", {"v": 1})]
    assert list(Path("missing[*]").each(PAYLOAD)) == []


def test_jmespath_reaches_what_plain_paths_do_not():
    path = Path("rows[].{n: v} | [?n > `1`].n", jmes=True)
    assert path.getter()(PAYLOAD, PAYLOAD) == [2, 3]
    assert [element for _, element in path.each(PAYLOAD)] == [2, 3]
    assert Path("nothing", jmes=True).getter()(PAYLOAD, PAYLOAD) is MISSING


@pytest.mark.parametrize("text", ["a..b", "a[", "a[x]", 'a"b', "[0]b", "a.", "$a"])
def test_what_is_no_path_is_told(text):
    if text == "$a":
        assert Path(text).steps == ("$a",)
        return
    with pytest.raises(InvalidPathError):
        Path(text)


def test_stars_are_for_each_alone():
    with pytest.raises(InvalidPathError, match="each"):
        Path("a[*].b").getter()
