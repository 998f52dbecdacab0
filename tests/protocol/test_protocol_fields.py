"""One level decoded, everything below it untouched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import items, join, plain, raw, single_line, split, text, value_of

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)
ODD = [
    b"1.50",
    b"1E400",
    b"-0.0",
    b"1e+05",
    b"9" * 5000,
    b'"\\u00e9\\/\\ud83d\\ude00"',
    b'{ "b" : 1,\t"a":2 }',
    b'{"a":1,"a":2}',
    b"[1 , 2]",
    b"null",
    "“é😀”".encode().join([b'"', b'"']),
]


@pytest.mark.parametrize("value", ODD)
def test_values_are_spliced_byte_for_byte(value):
    fields = split(b'{ "first" : 1 , "odd":' + value + b"}")
    fields["first"] = raw(2)
    assert bytes(join(fields)) == b'{"first":2,"odd":' + value + b"}"
    (item,) = items(Raw(b"[ " + value + b"]"), "list")
    assert bytes(item) == value


def test_members_keep_their_order():
    assert list(split(b'{"z":1,"a":2,"m":3}')) == ["z", "a", "m"]


def test_of_a_repeated_key_the_last_value_counts():
    assert bytes(join(split(b'{"a":1,"b":2,"a":3}'))) == b'{"a":3,"b":2}'


@pytest.mark.parametrize(
    "source",
    [b"", b"null", b"[]", b'"{}"', b"1", b"{", b"{}x", b'{"a"}', b"[" * 100_000, b'{"\xff":1}'],
)
def test_what_is_no_object_is_refused(source):
    with pytest.raises(InvalidParams, match=r"^thing must be a JSON object$"):
        split(source, "thing")


@pytest.mark.parametrize("source", [b"null", b"{}", b'"[]"', b"[1,", b"", b"[" * 100_000])
def test_what_is_no_array_is_refused(source):
    with pytest.raises(InvalidParams, match=r"^tools must be a JSON array$"):
        items(Raw(source), "tools")


def test_text_must_be_there_and_be_a_string():
    fields = split(b'{"name":"caf\\u00e9","number":1,"nothing":null}')
    assert text(fields, "name", "the name") == "café"
    for key in ("number", "nothing", "absent"):
        with pytest.raises(InvalidParams, match="the name must be a string"):
            text(fields, key, "the name")


@pytest.mark.parametrize(
    ("source", "kind", "value"),
    [
        (b'"x"', str, "x"),
        (b'""', str, ""),
        (b"1", str, None),
        (b"1", int, 1),
        (b"true", int, None),
        (b"null", int, None),
        (b"9" * 5000, int, None),
        (b"false", bool, False),
        (b"{}", dict, {}),
        (b"[" * 100_000 + b"]" * 100_000, list, None),
    ],
)
def test_a_value_of_another_type_is_none(source, kind, value):
    assert value_of({"key": Raw(source)}, "key", kind) == value


def test_a_missing_value_is_none():
    assert value_of({}, "key", str) is None


def test_plain_falls_back_on_the_default():
    assert plain(Raw(b'{"a":[1]}')) == {"a": [1]}
    assert plain(Raw(b"null"), "default") is None
    assert plain(None, "default") == "default"
    assert plain(Raw(b"1e400"), "default") == "default"
    assert plain(Raw(b"[" * 100_000), "default") == "default"


@pytest.mark.requirement("basic/transports/stdio#introduction-1")
@pytest.mark.parametrize(
    "source", [b'{"a":1}', b'{\n  "a": [\r\n 1\n]\n}', b"\r\n1\r", '["\u2028"]'.encode()]
)
def test_a_single_line_has_no_line_breaks_and_the_same_content(source):
    line = single_line(source)
    assert not {b"\n"[0], b"\r"[0]} & set(line)
    assert json.loads(line) == json.loads(source)


def test_what_is_one_line_already_is_not_copied():
    source = b'{"a":"\\n"}'
    assert single_line(source) is source


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
def test_arbitrary_input_raises_nothing_but_invalid_params(data):
    source = Raw(data)
    for parse in (lambda: split(source), lambda: items(source, "x")):
        try:
            parse()
        except InvalidParams:
            continue
    plain(source)
    for kind in (str, int, float, bool, list, dict):
        value = value_of({"key": source}, "key", kind)
        assert value is None or isinstance(value, kind)


@given(st.dictionaries(st.text(), JSON, max_size=5), st.booleans(), st.sampled_from([None, 0, 2]))
def test_splitting_and_joining_keeps_the_content(value, ascii_only, indent):
    source = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    assert json.loads(bytes(join(split(source)))) == value
