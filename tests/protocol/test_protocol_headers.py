"""Request headers of streamable HTTP: encoding, annotations, and checks against the body."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.protocol import headers as h
from onemcp.protocol.errors import HeaderMismatch
from onemcp.protocol.fields import raw
from onemcp.protocol.headers import (
    InvalidAnnotation,
    MirroredParameter,
    Repeated,
    check_parameters,
    check_request,
    decode_value,
    encode_value,
    mirrored_parameters,
    parameter_headers,
    single,
)

REVISION = "2026-07-28"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def encoded(text: str | bytes) -> str:
    payload = text if isinstance(text, bytes) else text.encode()
    return f"=?base64?{base64.b64encode(payload).decode()}?="


# Value Encoding


@pytest.mark.requirement(
    "basic/transports/streamable-http#value-encoding-2",
    "basic/transports/streamable-http#value-encoding-6",
)
@pytest.mark.parametrize(
    ("value", "header"),
    [  # the rows of the table "Encoding examples"
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
    ],
)
def test_the_encoding_examples_of_the_specification(value, header):
    assert encode_value(value) == header
    assert decode_value(header.encode()) == value


@pytest.mark.parametrize(
    "value", ["", "a b", "a\tb", "~!\"#$%&'()*+,-./:;<=>?@[]^_`{|}", "=?base64?x"]
)
def test_plain_ascii_stays_as_it_is(value):
    assert encode_value(value) == value
    assert decode_value(value.encode()) == value


@pytest.mark.requirement(
    "basic/transports/streamable-http#value-encoding-2",
    "basic/transports/streamable-http#value-encoding-6",
)
@pytest.mark.parametrize(
    "value",
    [
        *(" a", "a ", "\ta", "a\t", "a\r\nInjected: 1", "a\n", "\0", "\x7f", "é", "\x80", "\u2028"),
        *("=?base64??=", "=?base64?=", "=?base64?a b?=", " ", "😀"),
    ],
)
def test_everything_else_is_carried_in_base64(value):
    assert encode_value(value) == encoded(value)
    assert decode_value(encode_value(value).encode()) == value


@pytest.mark.requirement("basic/transports/streamable-http#value-encoding-1")
@given(st.text())
@example("=?base64??=")
def test_every_string_comes_back_and_is_safe_on_the_wire(value):
    header = encode_value(value)
    assert header.isascii()
    assert header.isprintable() or header.replace("\t", " ").isprintable()
    assert header == header.strip()
    assert decode_value(header.encode()) == value


def test_what_no_utf8_can_carry_is_replaced():
    assert encode_value("a\ud800") == encoded("a?")


@pytest.mark.requirement("basic/transports/streamable-http#value-encoding-3")
@pytest.mark.parametrize(
    "header", ["=?BASE64?YQ==?=", "=?base64?YQ==", "YQ==?=", "=?Base64?YQ==?="]
)
def test_the_markers_are_case_sensitive_and_both_needed(header):
    assert decode_value(header.encode()) == header


def test_markers_that_overlap_mark_nothing():
    assert decode_value(b"=?base64?=") == "=?base64?="
    assert decode_value(b"=?base64??=") == ""


@pytest.mark.requirement("basic/transports/streamable-http#server-behavior-for-custom-headers-2")
@pytest.mark.parametrize(
    "header",
    [
        b"caf\xe9",
        b"\xc3\xa9",
        b"a\0",
        b"a\x7f",
        b"a\nb",
        b"=?base64?YQ?=",
        b"=?base64?YQ=?=",
        b"=?base64?YR==?=",
        b"=?base64?Y Q==?=",
        b"=?base64?YQ==YQ==?=",
        b"=?base64?_-8=?=",
        b"=?base64?/w==?=",
        b"=?base64?7aCA?=",
        b"=?base64?====?=",
    ],
)
def test_values_with_invalid_characters_or_broken_base64_are_refused(header):
    with pytest.raises(HeaderMismatch):
        decode_value(header)


@given(st.binary() | st.binary().map(lambda data: b"=?base64?" + data + b"?="))
def test_arbitrary_header_values_raise_nothing_but_a_mismatch(data):
    try:
        value = decode_value(data)
    except HeaderMismatch:
        return
    assert decode_value(encode_value(value).encode()) == value


# Standard Request Headers


def standard(method="tools/call", name=None, revision=REVISION):
    found = [(b"host", b"x"), (h.PROTOCOL_VERSION, revision.encode()), (h.METHOD, method.encode())]
    return found if name is None else [*found, (h.NAME, name.encode())]


@pytest.mark.parametrize(
    ("method", "params", "name"),
    [
        ("tools/call", {"name": "get_weather"}, "get_weather"),
        ("prompts/get", {"name": "code review"}, "code review"),
        ("resources/read", {"uri": "file:///a b"}, "file:///a b"),
        ("tools/call", {"name": "größe"}, encoded("größe")),
        ("tools/call", {"name": "plain"}, encoded("plain")),
        ("tools/call", {"name": " x"}, encoded(" x")),
        ("tools/call", {"name": "padded"}, "  padded\t"),
        ("tools/call", {"name": "=?base64?YQ==?="}, encoded("=?base64?YQ==?=")),
        ("tools/call", {"name": ""}, ""),
        ("tools/list", {"name": "unrelated"}, None),
        ("tools/list", {}, "ignored"),
        ("server/discover", {}, None),
        ("tasks/get", {"taskId": "t"}, "t"),
        ("tasks/update", {"taskId": "t"}, "t"),
        ("tasks/cancel", {"taskId": "t"}, "t"),
        ("tools/call", {}, None),
        ("tools/call", {"name": 7}, None),
    ],
)
def test_headers_that_repeat_the_body_pass(method, params, name):
    fields = {key: raw(value) for key, value in params.items()}
    check_request(standard(method, name), Repeated.of(method, fields, REVISION))


@pytest.mark.requirement("basic/transports/streamable-http#server-validation-1")
@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (standard(), "mcp-name header is missing"),
        (standard(name="other"), "'other' does not match body value 'echo'"),
        (standard(name="Echo"), "does not match"),
        (standard(name=encoded("other")), "'other' does not match"),
        (standard(name=encoded(b"\xff")), "not base64 of UTF-8"),
        (standard(name="echo\0"), "outside visible ASCII"),
        (standard("tools/list", "echo"), "mcp-method header value 'tools/list' does not match"),
        (standard("Tools/Call", "echo"), "mcp-method"),
        (standard(encoded("tools/call"), "echo"), "mcp-method"),
        (standard(name="echo", revision="2025-11-25"), "mcp-protocol-version"),
        (standard(name="echo")[:1], "mcp-protocol-version header is missing"),
        (standard(name="echo")[:2], "mcp-method header is missing"),
        ([*standard(name="echo"), (h.NAME, b"echo")], "mcp-name header appears more than once"),
        ([*standard(name="echo"), (h.METHOD, b"tools/call")], "more than once"),
        ([*standard(name="echo"), (h.PROTOCOL_VERSION, b"x")], "more than once"),
    ],
)
def test_headers_that_are_missing_or_different_are_refused(headers, message):
    with pytest.raises(HeaderMismatch, match=message):
        check_request(headers, Repeated.of("tools/call", {"name": raw("echo")}, REVISION))


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
@pytest.mark.parametrize("name", [None, "other"])
def test_requests_about_a_task_are_routed_by_its_id(method, name):
    with pytest.raises(HeaderMismatch, match="mcp-name"):
        check_request(standard(method, name), Repeated.of(method, {"taskId": raw("t")}, REVISION))


def test_a_mismatch_shows_only_so_much_of_a_value():
    repeated = Repeated.of("tools/call", {"name": raw("y" * 9000)}, REVISION)
    with pytest.raises(HeaderMismatch) as caught:
        check_request(standard(name="x" * 9000), repeated)
    assert len(str(caught.value)) < 600


def test_a_single_header_is_found_and_trimmed():
    assert single([(b"a", b"1"), (b"b", b" \t2 ")], b"b") == b"2"
    assert single([], b"b") is None


# Schema Extension


def schema(**properties):
    return {"type": "object", "properties": properties}


def annotated(name="Region", kind="string"):
    return {"type": kind, "x-mcp-header": name}


@pytest.mark.requirement("basic/transports/streamable-http#client-behavior-1")
def test_the_example_tool_of_the_specification():
    found = mirrored_parameters(
        schema(
            region={"type": "string", "description": "The region", "x-mcp-header": "Region"},
            query={"type": "string", "description": "The SQL query"},
        )
    )
    assert found == (MirroredParameter(("region",), "Region"),)
    assert found[0].header == b"mcp-param-region"
    assert parameter_headers(found, {"region": "us-west1", "query": "SELECT"}) == [
        ("Mcp-Param-Region", "us-west1")
    ]


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-5")
@pytest.mark.parametrize("kind", ["string", "integer", "boolean"])
def test_primitive_parameters_may_be_annotated(kind):
    assert mirrored_parameters(schema(a=annotated(kind=kind))) == (
        MirroredParameter(("a",), "Region"),
    )


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-5")
@pytest.mark.parametrize(
    "kind",
    ["number", "object", "array", "null", "String", None, ["string"], ["string", "null"], {}],
)
def test_other_types_may_not_be_annotated(kind):
    with pytest.raises(InvalidAnnotation, match="string, integer or boolean"):
        mirrored_parameters(schema(a=annotated(kind=kind)))


def test_a_type_must_be_there():
    with pytest.raises(InvalidAnnotation):
        mirrored_parameters(schema(a={"x-mcp-header": "A"}))


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-2")
@pytest.mark.parametrize("name", ["A", "a-B_9", "!#$%&'*+-.^_`|~", "x" * 200])
def test_names_are_http_tokens(name):
    assert mirrored_parameters(schema(a=annotated(name)))[0].name == name


@pytest.mark.requirement(
    "basic/transports/streamable-http#schema-extension-1",
    "basic/transports/streamable-http#schema-extension-2",
    "basic/transports/streamable-http#schema-extension-3",
)
@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a b", "a:b", "a\r\nb", "a\n", "\n", "a\0", "a\x7f", "é", "(a)", "a/b", "a,b"),
        *("a@b", "[a]", "{a}", 'a"b', "a\\b", "a=b", "a;b", "<a>", "a?", "a\t"),
        *(None, 1, True, [], {}, ["A"]),
    ],
)
def test_other_names_are_refused(name):
    with pytest.raises(InvalidAnnotation, match="not an HTTP field name token"):
        mirrored_parameters(schema(a=annotated(name)))


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-4")
@pytest.mark.parametrize(("first", "second"), [("A", "A"), ("Region", "REGION"), ("a-B", "A-b")])
def test_names_are_unique_without_regard_to_case(first, second):
    with pytest.raises(InvalidAnnotation, match="more than once"):
        mirrored_parameters(schema(a=annotated(first), b=annotated(second)))
    with pytest.raises(InvalidAnnotation, match="more than once"):
        mirrored_parameters(schema(a=annotated(first), b=schema(c=annotated(second))))


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-7")
def test_nested_properties_are_reached_by_their_path():
    found = mirrored_parameters(schema(a=schema(b=schema(c=annotated()), region=annotated("R2"))))
    assert set(found) == {
        MirroredParameter(("a", "b", "c"), "Region"),
        MirroredParameter(("a", "region"), "R2"),
    }


@pytest.mark.requirement(
    "basic/transports/streamable-http#schema-extension-7",
    "basic/transports/streamable-http#schema-extension-8",
)
@pytest.mark.parametrize(
    "nested",
    [
        {"items": annotated()},
        {"items": [annotated()]},
        {"prefixItems": [annotated()]},
        {"contains": annotated()},
        {"additionalItems": annotated()},
        {"unevaluatedItems": annotated()},
        {"oneOf": [schema(x=annotated())]},
        {"anyOf": [True, schema(x=annotated())]},
        {"allOf": [annotated()]},
        {"not": annotated()},
        {"if": schema(x=annotated())},
        {"then": annotated()},
        {"else": annotated()},
        {"$defs": {"x": annotated()}},
        {"definitions": {"x": annotated()}},
        {"patternProperties": {"^x": annotated()}},
        {"additionalProperties": annotated()},
        {"unevaluatedProperties": annotated()},
        {"propertyNames": annotated()},
        {"dependentSchemas": {"x": schema(y=annotated())}},
        {"dependencies": {"x": schema(y=annotated())}},
        {"contentSchema": annotated()},
        {"items": {"properties": {"x": {"properties": {"y": annotated()}}}}},
    ],
    ids=lambda nested: next(iter(nested)),
)
def test_annotations_off_the_chain_of_properties_are_refused(nested):
    for whole in ({"type": "object", **nested}, schema(a=nested)):
        with pytest.raises(InvalidAnnotation, match="no chain of properties"):
            mirrored_parameters(whole)


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-8")
def test_the_root_may_not_be_annotated():
    with pytest.raises(InvalidAnnotation, match="no chain of properties"):
        mirrored_parameters({**annotated(), "properties": {}})


@pytest.mark.parametrize(
    "whole",
    [
        schema(a={"type": "string", "default": annotated(), "examples": [annotated()]}),
        schema(a={"const": {"x-mcp-header": "A"}, "enum": [{"x-mcp-header": "A"}]}),
        schema(**{"x-mcp-header": {"type": "string"}}),
        {"properties": [annotated()]},
        {"properties": {"a": True, "b": None}, "items": False, "allOf": {}, "$defs": []},
        {"$ref": "#/$defs/x", "$defs": {"x": {"type": "string"}}},
        None,
        [],
        "string",
        True,
        {},
    ],
)
def test_what_only_looks_like_an_annotation_is_none(whole):
    assert mirrored_parameters(whole) == ()


@pytest.mark.requirement("basic/index#ref-resolution-1")
@pytest.mark.parametrize("reference", ["https://a.example/s", "file:///etc/passwd", "#/$defs/s"])
def test_a_schema_is_searched_without_following_its_references(reference):
    schema = {
        "$ref": reference,
        "properties": {"a": {"$ref": reference}, "b": {"$dynamicRef": reference}},
        "$defs": {"s": {"type": "string"}},
    }
    assert mirrored_parameters(schema) == ()


@pytest.mark.requirement("basic/index#composition-keyword-resource-use-1")
def test_a_schema_of_too_many_subschemas_is_refused(monkeypatch):
    monkeypatch.setattr(h, "MAX_SCHEMA_NODES", 10)
    assert mirrored_parameters(schema(**{f"p{n}": {} for n in range(9)})) == ()
    with pytest.raises(InvalidAnnotation, match="too many"):
        mirrored_parameters(schema(**{f"p{n}": {} for n in range(10)}))


KEYWORDS = ["properties", "items", "x-mcp-header", "type", "allOf", "$defs", "not", "a"]


@given(
    st.recursive(
        JSON | st.sampled_from(["string", "integer", "A", "B"]),
        lambda inner: st.dictionaries(st.sampled_from(KEYWORDS), inner) | st.lists(inner),
        max_leaves=30,
    )
)
def test_arbitrary_schemas_raise_nothing_but_invalid_annotation(whole):
    try:
        found = mirrored_parameters(whole)
    except InvalidAnnotation:
        return
    names = [parameter.header for parameter in found]
    assert len(set(names)) == len(names)
    parameter_headers(found, whole)


# Client Behavior and Server Behavior for Custom Headers

REGION = MirroredParameter(("region",), "Region")
DEEP = MirroredParameter(("a", "b"), "Deep")


def call(arguments):
    return {"name": Raw(b'"t"'), "arguments": raw(arguments)}


@pytest.mark.requirement(
    "basic/transports/streamable-http#value-encoding-5",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-3",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-6",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-7",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-8",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-9",
)
@pytest.mark.parametrize(
    ("arguments", "header"),
    [  # the rows of the table "Server Behavior for Custom Headers"
        ({"region": "us"}, "us"),
        ({"region": None}, None),
        ({}, None),
    ],
)
def test_clients_and_servers_agree_on_conforming_requests(arguments, header):
    expected = [] if header is None else [("Mcp-Param-Region", header)]
    assert parameter_headers([REGION], arguments) == expected
    received = [(name.lower().encode(), value.encode()) for name, value in expected]
    check_parameters(received, [REGION], call(arguments))


@pytest.mark.requirement(
    "basic/transports/streamable-http#server-behavior-for-custom-headers-2",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-5",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-7",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-9",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-10",
)
@pytest.mark.parametrize(
    ("headers", "arguments"),
    [
        ([], {"region": "us"}),  # the client omits the header, but the value is in the body
        ([(b"mcp-param-region", b"us")], {"region": None}),
        ([(b"mcp-param-region", b"us")], {}),
        ([(b"mcp-param-region", b"")], {}),
        ([(b"mcp-param-region", b"eu")], {"region": "us"}),
        ([(b"mcp-param-region", b"US")], {"region": "us"}),
        ([(b"mcp-param-region", b"caf\xe9")], {"region": "café"}),
        ([(b"mcp-param-region", b"u\0s")], {"region": "u\0s"}),
        ([(b"mcp-param-region", b"us"), (b"mcp-param-region", b"us")], {"region": "us"}),
        ([(b"mcp-param-region", b"True")], {"region": True}),
        ([(b"mcp-param-region", b"1")], {"region": True}),
        ([(b"mcp-param-region", b"x")], {"region": ["x"]}),
        ([(b"mcp-param-region", b"x")], "x"),
        ([(b"mcp-param-region", b"x")], [{"region": "x"}]),
    ],
)
def test_headers_that_do_not_repeat_the_arguments_are_refused(headers, arguments):
    with pytest.raises(HeaderMismatch):
        check_parameters(headers, [REGION], call(arguments))


@pytest.mark.requirement(
    "basic/transports/streamable-http#value-encoding-1",
    "basic/transports/streamable-http#server-behavior-for-custom-headers-6",
)
@pytest.mark.parametrize(
    ("value", "header"),
    [
        (42, "42"),
        (-7, "-7"),
        (0, "0"),
        (42.0, "42"),
        (-0.0, "0"),
        (2**53 - 1, "9007199254740991"),
        (-(2**53) + 1, "-9007199254740991"),
        (True, "true"),
        (False, "false"),
        ("", ""),
        ("true", "true"),
        (" x", encoded(" x")),
        (2**53, None),
        (-(2**53), None),
        (10**400, None),
        (1.5, None),
        (float("inf"), None),
        (float("nan"), None),
        (None, None),
        ([1], None),
        ({"a": 1}, None),
    ],
)
def test_values_are_written_by_their_type(value, header):
    expected = [] if header is None else [("Mcp-Param-Region", header)]
    assert parameter_headers([REGION], {"region": value}) == expected


@pytest.mark.requirement("basic/transports/streamable-http#server-validation-2")
@pytest.mark.parametrize(
    ("header", "value"),
    [
        *(("42", 42), ("42.0", 42), ("42", 42.0), ("42.000", 42.0), ("42.", 42), ("-7.0", -7)),
        *(("007", 7), ("-0", 0), ("9007199254740991", 2**53 - 1), (encoded("42"), 42)),
    ],
)
def test_integers_are_compared_as_numbers(header, value):
    check_parameters([(b"mcp-param-region", header.encode())], [REGION], call({"region": value}))


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-6")
@pytest.mark.parametrize(
    ("header", "value"),
    [
        *(("43", 42), ("42.5", 42), ("1_0", 10), ("nan", 0), ("inf", 1), ("0x2a", 42), ("", 0)),
        *((encoded(" 42 "), 42), (encoded("٤٢"), 42), ("9" * 5000, 9), ("42.0", "42"), ("1", True)),
        *(("9007199254740991.4", 2**53 - 1), ("9007199254740992", 2**53), ("1.5", 1.5)),
    ],
)
def test_what_is_another_number_or_no_integer_is_refused(header, value):
    with pytest.raises(HeaderMismatch):
        check_parameters(
            [(b"mcp-param-region", header.encode())], [REGION], call({"region": value})
        )


@pytest.mark.requirement("basic/transports/streamable-http#schema-extension-6")
@pytest.mark.parametrize("value", [2**53, -(2**53), 1.5, 1e300])
def test_a_number_that_no_header_can_repeat_is_refused_without_one_too(value):
    with pytest.raises(HeaderMismatch, match="no safe integer"):
        check_parameters([], [REGION], call({"region": value}))


@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_value_of_another_kind_is_left_to_the_tool_to_refuse(value):
    check_parameters([], [REGION], call({"region": value}))


@pytest.mark.parametrize(
    "other", [b"1e400", b"9" * 5000, b"[" * 100_000 + b"]" * 100_000], ids=["float", "int", "deep"]
)
def test_arguments_that_can_not_be_read_do_not_get_past_the_check(other):
    params = {"arguments": Raw(b'{"region":"us","other":' + other + b"}")}
    for headers in ([], [(b"mcp-param-region", b"us")]):
        with pytest.raises(HeaderMismatch):
            check_parameters(headers, [REGION], params)
    check_parameters([], [], params)


@pytest.mark.requirement("basic/transports/streamable-http#server-behavior-for-custom-headers-8")
def test_a_call_without_arguments_has_no_headers():
    check_parameters([], [REGION], {})
    with pytest.raises(HeaderMismatch):
        check_parameters([(b"mcp-param-region", b"us")], [REGION], {})


def test_nested_arguments_are_read_at_their_path():
    assert parameter_headers([DEEP], {"a": {"b": 1}}) == [("Mcp-Param-Deep", "1")]
    for arguments in ({"a": 1}, {"a": [{"b": 1}]}, {"a": None}, {"a.b": 1}, None, [], "a"):
        assert parameter_headers([DEEP], arguments) == []
    check_parameters([(b"mcp-param-deep", b"1")], [DEEP], call({"a": {"b": 1}}))


def test_headers_that_no_annotation_asks_for_are_ignored():
    check_parameters([(b"mcp-param-other", b"\xff")], [REGION], call({}))


@given(
    JSON,
    st.lists(st.tuples(st.sampled_from([b"mcp-param-region", b"mcp-param-deep"]), st.binary())),
)
def test_arbitrary_arguments_raise_nothing_but_a_mismatch(arguments, headers):
    params = {"arguments": Raw(json.dumps(arguments).encode())}
    try:
        check_parameters(headers, [REGION, DEEP], params)
    except HeaderMismatch:
        return


@pytest.mark.requirement("basic/transports/streamable-http#value-encoding-4")
@given(
    st.dictionaries(
        st.sampled_from(["region", "a"]),
        st.text()
        | st.booleans()
        | st.none()
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.dictionaries(st.just("b"), st.text()),
    )
)
def test_what_a_client_writes_a_server_accepts(arguments):
    written = parameter_headers([REGION, DEEP], arguments)
    received = [(name.lower().encode(), value.encode()) for name, value in written]
    check_parameters(received, [REGION, DEEP], {"arguments": raw(arguments)})
