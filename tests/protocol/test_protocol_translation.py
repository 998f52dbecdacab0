"""From one era to the other: what the receiver needs is there, and nothing is lost."""

from __future__ import annotations

import copy
import json

import mcp_types.methods as official
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from pydantic import ValidationError

from onemcp.protocol.errors import (
    INVALID_PARAMS,
    RESOURCE_NOT_FOUND,
    InvalidParams,
    ResourceNotFound,
)
from onemcp.protocol.fields import raw, split
from onemcp.protocol.methods import CACHEABLE
from onemcp.protocol.revisions import Era
from onemcp.protocol.translation import (
    MAX_NESTING,
    complete,
    is_input_required,
    is_not_found,
    strip,
    strip_tool,
    translate_error,
    translate_result,
    union_capabilities,
)

MODERN, LEGACY = "2026-07-28", "2025-11-25"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
RESULTS = {
    "tools/list": {
        "tools": [
            {
                "name": "echo",
                "inputSchema": {"type": "object", "properties": {"x": {"type": "string"}}},
                "outputSchema": {"type": "object"},
                "_meta": {"ui": 1.5},
            }
        ],
        "nextCursor": "2",
    },
    "tools/call": {
        "content": [{"type": "text", "text": "hé"}],
        "structuredContent": {"a": [1, None]},
        "isError": False,
    },
    "resources/list": {"resources": [{"uri": "file:///a", "name": "a", "size": 3}]},
    "resources/templates/list": {
        "resourceTemplates": [{"uriTemplate": "file:///{+path}", "name": "files"}]
    },
    "resources/read": {"contents": [{"uri": "file:///a", "text": "x"}]},
    "prompts/list": {"prompts": [{"name": "p", "arguments": [{"name": "a"}]}]},
    "prompts/get": {"messages": [{"role": "user", "content": {"type": "text", "text": "x"}}]},
    "completion/complete": {"completion": {"values": ["a"], "total": 1, "hasMore": False}},
}
UNKNOWN = {"x-unknown": {"deep": [1, {"er": "ü"}]}, "_meta": {"com.example/a": [1]}}


def load(source):
    return json.loads(bytes(source))


def to_modern(method, value, server_info=None):
    return load(translate_result(method, raw(value), Era.LEGACY, Era.MODERN, server_info))


def to_legacy(method, value):
    return load(translate_result(method, raw(value), Era.MODERN, Era.LEGACY))


# Results


def test_the_examples_cover_every_method_that_both_eras_have():
    served = {
        revision: {method for method, known in official.SERVER_RESULTS if known == revision}
        for revision in (MODERN, LEGACY)
    }
    assert set(RESULTS) == served[MODERN] & served[LEGACY]


@pytest.mark.requirement(
    "basic/index#result-responses-3",
    "basic/index#resulttype-3",
    "server/utilities/caching#cacheable-results-1",
)
@pytest.mark.parametrize("method", RESULTS)
def test_a_legacy_result_becomes_a_valid_modern_one(method):
    official.validate_server_result(method, LEGACY, RESULTS[method])
    with pytest.raises(ValidationError):
        official.validate_server_result(method, MODERN, RESULTS[method])
    modern = to_modern(method, RESULTS[method], raw({"name": "s", "version": "1"}))
    official.validate_server_result(method, MODERN, modern)
    added = {"resultType": "complete", "_meta": modern.get("_meta")}
    if method in CACHEABLE:
        added |= {"ttlMs": 0, "cacheScope": "private"}
    assert modern == {**RESULTS[method], **added}
    assert modern["_meta"][SERVER_INFO] == {"name": "s", "version": "1"}


@pytest.mark.parametrize("method", RESULTS)
def test_a_modern_result_becomes_the_legacy_one_again(method):
    modern = to_modern(method, RESULTS[method])
    legacy = to_legacy(method, modern)
    for revision in ("2024-11-05", "2025-03-26", "2025-06-18", LEGACY):
        official.validate_server_result(method, revision, legacy)
    assert legacy == RESULTS[method]


@pytest.mark.parametrize("method", [*RESULTS, "vendor/method", "tasks/get"])
def test_unknown_fields_survive_both_ways(method):
    value = {**RESULTS.get(method, {}), **UNKNOWN}
    modern = to_modern(method, value)
    assert {key: modern[key] for key in value} == value
    assert to_legacy(method, modern) == value


@pytest.mark.parametrize(("source", "target"), [(era, era) for era in Era])
def test_within_an_era_a_result_stays_the_same_bytes(source, target):
    result = Raw(b'{ "resultType" : "complete", "n": 1.50 }')
    assert translate_result("tools/list", result, source, target) is result


def test_a_modern_result_without_a_type_is_complete():
    there = translate_result("tools/list", Raw(b'{"tools": [ ]}'), Era.MODERN, Era.MODERN)
    assert bytes(there) == (
        b'{"tools":[ ],"resultType":"complete","ttlMs":0,"cacheScope":"private"}'
    )
    nested = Raw(b'{"content":[{"type":"text","text":"\\"resultType\\""}]}')
    there = translate_result("tools/call", nested, Era.MODERN, Era.MODERN)
    assert load(there)["resultType"] == "complete"


@pytest.mark.parametrize(
    "value", [b"1.50", b"1E400", b"9" * 5000, rb'"\u00e9\/"', b'{ "b":1, "a":[ ] }', b"null"]
)
def test_members_cross_byte_for_byte(value):
    there = translate_result("tools/list", Raw(b'{"z":%b,"a":1}' % value), Era.LEGACY, Era.MODERN)
    assert bytes(there) == (
        b'{"z":%b,"a":1,"resultType":"complete","ttlMs":0,"cacheScope":"private"}' % value
    )
    back = translate_result("tools/list", there, Era.MODERN, Era.LEGACY)
    assert bytes(back) == b'{"z":%b,"a":1}' % value


@pytest.mark.parametrize("result", [b"null", b"[]", b'"x"', b"1"])
@pytest.mark.parametrize(
    ("source", "target"),
    [(Era.LEGACY, Era.MODERN), (Era.MODERN, Era.LEGACY), (Era.MODERN, Era.MODERN)],
)
def test_a_result_that_is_no_object_can_not_cross(result, source, target):
    with pytest.raises(InvalidParams, match="result must be a JSON object"):
        translate_result("tools/list", Raw(result), source, target)


def test_what_a_server_says_itself_is_not_overwritten():
    said = {
        "resultType": "vendor",
        "ttlMs": 9,
        "cacheScope": "public",
        "_meta": {SERVER_INFO: {"name": "own", "version": "2"}},
    }
    assert to_modern("tools/list", said, raw({"name": "s", "version": "1"})) == said


def test_a_server_that_writes_null_for_no_meta_is_named_all_the_same():
    modern = to_modern("tools/call", {"content": [], "_meta": None}, raw({"name": "s"}))
    assert modern["_meta"] == {SERVER_INFO: {"name": "s"}}


def test_caching_hints_of_other_methods_are_left_alone():
    value = {"content": [], "ttlMs": 5, "cacheScope": "x"}
    assert to_legacy("tools/call", {**value, "resultType": "complete"}) == value
    assert "ttlMs" not in to_modern("tools/call", {"content": []})


def test_parts_work_on_fields():
    assert set(complete("tools/call", {})) == {"resultType"}
    assert strip("tools/list", split(b'{"resultType":"complete","ttlMs":1,"cacheScope":"x"}')) == {}


@pytest.mark.requirement("server/tools#structured-content-1")
@pytest.mark.parametrize("structured", [[1, 2], "text", 3, True, [{"a": 1.5}]])
def test_structured_content_that_is_no_object_reaches_legacy_clients_as_text(structured):
    modern = {"resultType": "complete", "content": [], "structuredContent": structured}
    official.validate_server_result("tools/call", MODERN, modern)
    legacy = to_legacy("tools/call", modern)
    official.validate_server_result("tools/call", LEGACY, legacy)
    (block,) = legacy.pop("content")
    assert legacy == {}
    assert block["type"] == "text"
    assert json.loads(block["text"]) == structured


@pytest.mark.requirement("server/tools#structured-content-1")
def test_structured_content_that_is_shown_already_is_not_shown_twice():
    content = [{"type": "text", "text": "[1]"}]
    value = {"content": content, "structuredContent": [1]}
    assert to_legacy("tools/call", value) == {"content": content}


@pytest.mark.parametrize("content", [b"", b',"content":[ \n]', b',"content":[]'])
def test_missing_or_empty_content_is_filled(content):
    result = Raw(b'{"structuredContent": [1, 2]' + content + b"}")
    legacy = load(translate_result("tools/call", result, Era.MODERN, Era.LEGACY))
    assert legacy == {"content": [{"type": "text", "text": "[1, 2]"}]}


def test_structured_content_of_null_is_nothing_to_show():
    value = {"content": [], "structuredContent": None}
    assert to_legacy("tools/call", value) == {"content": []}


@pytest.mark.parametrize(
    "output", [{"type": "array"}, {"$ref": "#/$defs/x"}, {}, {"type": ["object", "null"]}]
)
def test_an_output_schema_that_legacy_clients_refuse_is_left_out(output):
    tools = [
        {"name": "a", "inputSchema": {"type": "object"}, "outputSchema": output, "x": 1},
        {"name": "b", "inputSchema": {"type": "object"}, "outputSchema": {"type": "object"}},
    ]
    modern = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public", "tools": tools}
    official.validate_server_result("tools/list", MODERN, modern)
    legacy = to_legacy("tools/list", modern)
    official.validate_server_result("tools/list", LEGACY, legacy)
    assert legacy == {"tools": [{"name": "a", "inputSchema": {"type": "object"}, "x": 1}, tools[1]]}


@pytest.mark.parametrize(
    "tool",
    [
        b'{ "name" : "a" }',
        b'{"outputSchema": { "type" : "object", "n": 1.50 } }',
        b'{"outputSchema":null}',
        b'{"description":"outputSchema"}',
        b'["outputSchema"]',
    ],
)
def test_other_tools_stay_the_same_bytes(tool):
    assert strip_tool(Raw(tool)) == Raw(tool)
    tools = b"[ %b ]" % tool
    assert strip("tools/list", {"tools": Raw(tools)}) == {"tools": Raw(tools)}


def test_a_tool_list_that_is_none_is_left_to_the_client():
    assert strip("tools/list", {"tools": Raw(b'"outputSchema"')}) == {
        "tools": Raw(b'"outputSchema"')
    }


@pytest.mark.parametrize(
    ("result", "asks"),
    [
        (b'{"resultType":"input_required","inputRequests":{}}', True),
        (b'{ "resultType" : "input_required" }', True),
        (rb'{"resultType":"\u0069nput_required"}', True),
        (rb'{"result\u0054ype":"input_required"}', True),
        (b'{"resultType":"complete","x":"input_required"}', False),
        (b'{"_meta":{"resultType":"input_required"}}', False),
        (b'{"resultType":["input_required"]}', False),
        (b'{"resultType":"complete"}', False),
        (rb'{"resultType":"complete","x":"\u0069"}', False),
        (b'"input_required"', False),
        (b'["resultType","input_required"]', False),
        (b"{}", False),
    ],
)
def test_a_request_for_input_is_told_from_a_result(result, asks):
    assert is_input_required(Raw(result)) is asks


# Errors

URI = "file:///nonexistent.txt"


def error(code, **members):
    return {"code": code, "message": "Resource not found", **members}


@pytest.mark.requirement("basic/index#error-codes-7", "server/resources#error-handling-1")
@pytest.mark.parametrize(
    ("legacy", "modern"),
    [
        (error(RESOURCE_NOT_FOUND), error(INVALID_PARAMS, data={"uri": URI})),
        (error(RESOURCE_NOT_FOUND, data=None), error(INVALID_PARAMS, data={"uri": URI})),
        (error(RESOURCE_NOT_FOUND, data={}), error(INVALID_PARAMS, data={"uri": URI})),
        (
            error(RESOURCE_NOT_FOUND, data={"a": 1}, x=2),
            error(INVALID_PARAMS, data={"a": 1, "uri": URI}, x=2),
        ),
        (
            error(RESOURCE_NOT_FOUND, data={"uri": "other"}),
            error(INVALID_PARAMS, data={"uri": "other"}),
        ),
        (error(RESOURCE_NOT_FOUND, data="text"), error(INVALID_PARAMS, data="text")),
        (error(RESOURCE_NOT_FOUND, data=[1]), error(INVALID_PARAMS, data=[1])),
    ],
)
def test_an_unknown_resource_gets_the_modern_code(legacy, modern):
    found = translate_error("resources/read", raw(legacy), Era.MODERN, URI)
    assert load(found) == modern


def test_an_unknown_resource_gets_the_legacy_code_and_keeps_its_data():
    modern = raw(error(INVALID_PARAMS, data={"uri": URI, "a": 1}, x=2))
    legacy = translate_error("resources/read", modern, Era.LEGACY, URI)
    assert load(legacy) == error(RESOURCE_NOT_FOUND, data={"uri": URI, "a": 1}, x=2)


@pytest.mark.parametrize("era", list(Era))
def test_own_errors_have_the_code_of_the_receiver(era):
    own = ResourceNotFound("No backend knows it", {"uri": URI}).error
    code = load(translate_error("resources/read", own, era, URI))["code"]
    assert code == {Era.MODERN: INVALID_PARAMS, Era.LEGACY: RESOURCE_NOT_FOUND}[era]


def test_error_members_cross_byte_for_byte():
    source = b'{"code":-32002,"x":1E400,"data":{"n":1.50,"b": [1 , 2],"m":1E400}}'
    there = translate_error("resources/read", Raw(source), Era.MODERN, URI)
    assert bytes(there) == (
        b'{"code":-32602,"x":1E400,"data":{"n":1.50,"b":[1 , 2],"m":1E400,"uri":"%b"}}'
        % URI.encode()
    )
    back = translate_error("resources/read", there, Era.LEGACY, URI)
    assert bytes(back) == bytes(there).replace(b"-32602", b"-32002")


@pytest.mark.requirement("basic/index#error-codes-3")
@pytest.mark.parametrize(
    ("method", "source", "target", "uri"),
    [
        ("tools/call", error(RESOURCE_NOT_FOUND), Era.LEGACY, URI),
        ("tools/call", error(INVALID_PARAMS, data={"uri": URI}), Era.LEGACY, URI),
        ("resources/read", error(INVALID_PARAMS), Era.LEGACY, None),
        ("resources/read", error(RESOURCE_NOT_FOUND), Era.LEGACY, URI),
        ("resources/read", error(INVALID_PARAMS, data={"uri": URI}), Era.MODERN, URI),
        ("resources/read", error(INVALID_PARAMS), Era.LEGACY, URI),
        ("resources/read", error(INVALID_PARAMS, data={"uri": "other"}), Era.LEGACY, URI),
        ("resources/read", error(INVALID_PARAMS, data={"uri": 1}), Era.LEGACY, URI),
        ("resources/read", error(INVALID_PARAMS, data=URI), Era.LEGACY, URI),
        ("resources/read", error(-32603, data={"uri": URI}), Era.LEGACY, URI),
        ("resources/read", error(-32042), Era.MODERN, URI),
        ("resources/read", error(-32001), Era.MODERN, URI),
        ("resources/read", error("-32002"), Era.MODERN, URI),
        ("resources/read", error([]), Era.MODERN, URI),
        ("resources/read", "boom", Era.MODERN, URI),
        ("resources/read", {}, Era.LEGACY, URI),
    ],
)
def test_other_errors_stay_the_same_bytes(method, source, target, uri):
    value = raw(source)
    assert translate_error(method, value, target, uri) is value


@pytest.mark.requirement("basic/index#error-codes-3")
@pytest.mark.parametrize(
    ("value", "not_found"),
    [
        (error(RESOURCE_NOT_FOUND), True),
        (error(INVALID_PARAMS), True),
        (error(-32603), False),
        (error([]), False),
        (error({}), False),
        (error(None), False),
        (error("-32002"), False),
        ({}, False),
        ([], False),
        ("x", False),
        (None, False),
    ],
)
def test_an_error_that_can_mean_an_unknown_resource(value, not_found):
    assert is_not_found(raw(value)) is not_found


# Capabilities

SETTINGS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab"),
    lambda inner: st.dictionaries(st.text("abc", max_size=1), inner) | st.lists(inner, max_size=2),
    max_leaves=10,
)
CAPABILITIES = st.dictionaries(st.sampled_from(["tools", "prompts", "x"]), SETTINGS)


@pytest.mark.parametrize(
    ("declared", "union"),
    [
        ([], {}),
        ([{}], {}),
        ([{"tools": {}}, {"prompts": {}}], {"tools": {}, "prompts": {}}),
        (
            [{"tools": {"listChanged": False}}, {"tools": {"listChanged": True}}],
            {"tools": {"listChanged": True}},
        ),
        (
            [{"tools": {"listChanged": True}}, {"tools": {"listChanged": False}}],
            {"tools": {"listChanged": True}},
        ),
        (
            [{"resources": {"subscribe": True}}, {"resources": {"listChanged": True}}],
            {"resources": {"subscribe": True, "listChanged": True}},
        ),
        ([{"logging": None}, {"logging": {}}], {"logging": {}}),
        ([{"logging": {}}, {"logging": None}], {"logging": {}}),
        (
            [{"tools": {"listChanged": None}}, {"tools": {"listChanged": False}}],
            {"tools": {"listChanged": False}},
        ),
        ([{"logging": False}, {"logging": {}}], {"logging": {}}),
        ([{"x": 1}, {"x": 2}, {"x": True}], {"x": 1}),
        ([{"x": {"a": 1}}, {"x": 2}], {"x": {"a": 1}}),
        (
            [{"extensions": {"a/b": {"m": ["1"]}}}, {"extensions": {"c/d": {}}}],
            {"extensions": {"a/b": {"m": ["1"]}, "c/d": {}}},
        ),
    ],
)
def test_what_one_server_can_all_together_can(declared, union):
    assert union_capabilities(declared) == union


@given(st.lists(CAPABILITIES, max_size=4))
def test_the_union_never_changes_its_inputs_and_shares_nothing_with_them(declared):
    before = copy.deepcopy(declared)
    union = union_capabilities(declared)
    assert declared == before
    assert json.dumps(union) == json.dumps(union_capabilities(declared))
    scribble(union)
    assert declared == before


def scribble(value):
    if isinstance(value, dict):
        for member in value.values():
            scribble(member)
        value["scribbled"] = True
    elif isinstance(value, list):
        for member in value:
            scribble(member)
        value.append("scribbled")


@given(CAPABILITIES, CAPABILITIES, CAPABILITIES)
def test_the_union_of_disjoint_capabilities_is_associative(first, second, third):
    a = {f"a{key}": value for key, value in first.items()}
    b = {f"b{key}": value for key, value in second.items()}
    c = {f"c{key}": value for key, value in third.items()}
    left = union_capabilities([union_capabilities([a, b]), c])
    right = union_capabilities([a, union_capabilities([b, c])])
    assert json.dumps(left) == json.dumps(right) == json.dumps(union_capabilities([a, b, c]))
    assert left == {**a, **b, **c}


@given(CAPABILITIES)
def test_the_union_with_itself_or_nothing_changes_nothing(capabilities):
    assert union_capabilities([capabilities, capabilities]) == capabilities
    assert union_capabilities([{}, capabilities, {}]) == capabilities


def test_members_keep_the_order_in_which_the_servers_name_them():
    union = union_capabilities([{"z": {}, "a": {"y": 1}}, {"b": {}, "a": {"x": 1}}])
    assert json.dumps(union) == '{"z": {}, "a": {"y": 1, "x": 1}, "b": {}}'


@pytest.mark.parametrize("container", [lambda inner: {"a": inner}, lambda inner: {"a": [inner]}])
def test_settings_that_are_nested_too_deeply_are_cut_off(container):
    def depth(value):
        if isinstance(value, dict):
            value = [*value.values()]
        return 1 + max(map(depth, value), default=0) if isinstance(value, list) else 0

    deep = {}
    for _ in range(800):
        deep = container(deep)
    for declared in ([deep], [deep, deep], [{}, deep], [{"a": {}}, deep, {"a": {"a": {}}}]):
        assert depth(union_capabilities(declared)) <= 1 + MAX_NESTING + 1
