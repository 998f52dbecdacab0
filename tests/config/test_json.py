"""The reader agrees with the standard library about JSON, and knows where everything stood."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onemcp.config._json import JsonSyntaxError, Lines, read
from onemcp.config._problems import render_path

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(documents, st.sampled_from([None, 2]), st.booleans())
def test_json_reads_as_the_standard_library_reads_it(document, indent, ascii_only):
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    node, duplicates = read(text)
    assert node.plain() == json.loads(text)
    assert repr(node.plain()) == repr(json.loads(text))  # 1 is not 1.0 and not True
    assert duplicates == []


@given(st.text(alphabet='{}[]",:/*\\ \n0123456789.eE+-truefalsnx', max_size=30))
def test_what_the_standard_library_refuses_is_refused_or_an_extension(text):
    try:
        node, _ = read(text)
    except JsonSyntaxError as error:
        assert 0 <= error.offset <= len(text)  # noqa: PT017  (nothing else may be raised)
    else:
        # Nothing but comments and trailing commas may make a difference.
        if "/" not in text and not re.search(r",\s*[]}]", text):
            assert node.plain() == json.loads(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("// one\n[1, // two\n 2,]", [1, 2]),
        ('{"a": 1, /* b */ "c": /**/ 2,}', {"a": 1, "c": 2}),
        ('"// no comment"', "// no comment"),
        ("[1] // the end", [1]),
        ("[\r\n1\r]", [1]),
        ('"\\ud83d\\ude00\\u00e9\\/"', "😀é/"),
        ("[-0.5e-3, -0, 1E2]", [-0.0005, 0, 100.0]),
    ],
)
def test_comments_and_trailing_commas_are_allowed(text, value):
    assert read(text)[0].plain() == value


@pytest.mark.parametrize("text", ["[1,,]", "[,]", "[1 2]", "# no", "/ no", "+1", "1.", ".5", "1a"])
def test_nothing_else_is_allowed(text):
    with pytest.raises(JsonSyntaxError):
        read(text)


def test_64_levels_are_read_and_65_are_not():
    assert read("[" * 65 + "]" * 65)[0].plain()
    with pytest.raises(JsonSyntaxError, match="64 levels"):
        read("[" * 66 + "]" * 66)


def test_equal_keys_are_told_wherever_they_are():
    text = '{"a": [{"b": 1,\n"b": 2}], "a": 3}'
    node, duplicates = read(text)
    assert node.plain() == {"a": 3}
    assert [(duplicate.path, duplicate.first, duplicate.second) for duplicate in duplicates] == [
        (("a", 0, "b"), text.index('"b"'), text.rindex('"b"')),
        (("a",), text.index('"a"'), text.rindex('"a"')),
    ]


def test_lines_end_as_any_system_ends_them():
    lines = Lines("ab\ncd\r\nef\rgh")
    assert [lines.locate(offset) for offset in (0, 2, 3, 7, 10, 12)] == [
        (1, 1),
        (1, 3),
        (2, 1),
        (3, 1),
        (4, 1),
        (4, 3),
    ]


@pytest.mark.parametrize(
    ("path", "rendered"),
    [
        ((), ""),
        (("a", "b-c", 0, "d"), "a.b-c[0].d"),
        (("a", "b.c"), 'a["b.c"]'),
        (("a", 'é"\n'), 'a["\\xe9\\"\\n"]'),
    ],
)
def test_paths_are_written_so_that_they_can_be_read(path, rendered):
    assert render_path(path) == rendered
