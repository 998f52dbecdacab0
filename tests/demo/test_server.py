"""The demo server without a process: what it answers to which line, and when."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from onemcp.demo._server import MOST_JOBS, MOST_SUBSCRIPTIONS, DemoServer
from onemcp.demo._tools import TOOLS
from onemcp.protocol.framing import Oversized

CAPABILITIES = "io.modelcontextprotocol/clientCapabilities"
VERSION = "io.modelcontextprotocol/protocolVersion"
SERVER_INFO = "io.modelcontextprotocol/serverInfo"
SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
MODERN = {VERSION: "2026-07-28", CAPABILITIES: {}}
REVISIONS = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]
LISTS = ["tools/list", "resources/list", "resources/templates/list", "prompts/list"]


class Peer:
    """Talks to one server, and moves its clock."""

    def __init__(self, *, modern: bool, revision: str = "2025-11-25") -> None:
        self.server = DemoServer()
        self.modern = modern
        self.now = 100.0
        if not modern:
            params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {}}
            self.send("initialize", params)

    def line(self, line: bytes | Oversized) -> list[Any]:
        return [json.loads(answer) for answer in self.server.receive(line, self.now)]

    def message(self, **members: Any) -> list[Any]:
        return self.line(json.dumps({"jsonrpc": "2.0", **members}).encode())

    def send(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        *,
        ident: int | str = 1,
        **meta: Any,
    ) -> list[Any]:
        meta = {**(MODERN if self.modern else {}), **meta}
        return self.message(
            id=ident, method=method, params={**({"_meta": meta} if meta else {}), **(params or {})}
        )

    def result(self, method: str, params: dict[str, Any] | None = None, **meta: Any) -> Any:
        [answer] = self.send(method, params, **meta)
        return answer["result"]

    def error(self, method: str, params: dict[str, Any] | None = None, **meta: Any) -> Any:
        [answer] = self.send(method, params, **meta)
        assert answer["id"] == 1
        return answer["error"]

    def call(self, tool: str, arguments: Any, *, ident: int = 1, **meta: Any) -> list[Any]:
        return self.send("tools/call", {"name": tool, "arguments": arguments}, ident=ident, **meta)

    def cancel(self, request_id: Any) -> list[Any]:
        params = {"requestId": request_id}
        return self.message(method="notifications/cancelled", params=params)

    def wait(self, seconds: float) -> list[Any]:
        self.now += seconds
        return [json.loads(answer) for answer in self.server.advance(self.now)]


@pytest.fixture(params=["modern", "legacy"])
def peer(request) -> Peer:
    return Peer(modern=request.param == "modern")


@pytest.fixture
def modern() -> Peer:
    return Peer(modern=True)


@pytest.fixture
def legacy() -> Peer:
    return Peer(modern=False)


# Eras


def test_discovery_tells_all_that_a_client_must_know(modern):
    result = modern.result("server/discover")
    assert result["supportedVersions"] == REVISIONS
    assert result["capabilities"].keys() == {
        "completions",
        "logging",
        "prompts",
        "resources",
        "tools",
    }
    assert result["_meta"][SERVER_INFO]["name"] == "onemcp-demo"
    assert result["instructions"]


def test_modern_results_say_what_they_are_and_how_long_they_last(modern):
    assert modern.result("tools/call", {"name": "echo", "arguments": {"message": "hi"}}).keys() == {
        "resultType",
        "content",
        "isError",
        "_meta",
    }
    for method in ["server/discover", *LISTS]:
        result = modern.result(method)
        assert result["resultType"] == "complete"
        assert result["ttlMs"] > 0
        assert result["cacheScope"] == "public"
    assert modern.result("resources/read", {"uri": "demo://welcome"})["ttlMs"] > 0


def test_legacy_results_have_none_of_that(legacy):
    for method in [*LISTS, "ping"]:
        assert not legacy.result(method).keys() & {"resultType", "ttlMs", "cacheScope", "_meta"}


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_handshake_takes_every_legacy_revision(revision):
    params = {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "x"}}
    result = Peer(modern=False).result("initialize", params)
    assert result["protocolVersion"] == revision
    assert result["serverInfo"]["version"]


@pytest.mark.parametrize("revision", ["2026-07-28", "1999-01-01"])
def test_handshake_answers_others_with_the_latest_legacy_revision(revision):
    assert Peer(modern=False, revision=revision).server._revision == "2025-11-25"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"protocolVersion": 1, "capabilities": {}, "clientInfo": {}},
        {"protocolVersion": "2025-11-25"},
        {"protocolVersion": "2025-11-25", "capabilities": [], "clientInfo": {}},
    ],
)
def test_malformed_handshake_is_refused(params, legacy):
    assert legacy.error("initialize", params)["code"] == -32602


@pytest.mark.parametrize(
    "meta", [{}, {VERSION: "2026-07-28"}, {CAPABILITIES: {}}, {VERSION: 1, CAPABILITIES: {}}]
)
@pytest.mark.parametrize("method", ["server/discover", "tools/list", "no/such/method"])
def test_modern_request_that_lacks_its_fields_is_refused(method, meta):
    [answer] = Peer(modern=True).message(id=1, method=method, params={"_meta": meta})
    assert answer["error"]["code"] == -32602


@pytest.mark.parametrize("revision", ["1999-01-01", "2025-11-25", "2027-01-01"])
def test_other_revisions_are_refused_with_those_supported(revision, modern):
    error = modern.error("server/discover", **{VERSION: revision})
    assert error["code"] == -32022
    assert error["data"] == {"supported": REVISIONS, "requested": revision}


def test_both_eras_can_be_served_side_by_side(legacy):
    assert "resultType" not in legacy.result("tools/list")
    assert legacy.result("tools/list", **MODERN)["resultType"] == "complete"


def test_methods_of_the_other_era_do_not_exist(modern, legacy):
    for method in ["ping", "logging/setLevel", "resources/subscribe"]:
        assert modern.error(method)["code"] == -32601
    for method in ["server/discover", "subscriptions/listen", "resources/subscribe"]:
        assert legacy.error(method)["code"] == -32601


def test_ping_is_answered_even_before_the_handshake():
    [answer] = Peer(modern=True).message(id=1, method="ping")
    assert answer["result"] == {}


def test_pages_that_were_never_announced_are_refused(peer):
    for method in LISTS:
        assert peer.error(method, {"cursor": "next"})["code"] == -32602
        assert peer.result(method, {"cursor": None})


# Tools


def test_schemas_are_valid_and_hold_for_what_the_tools_give(peer):
    examples = {
        "echo": {"message": "hi"},
        "add": {"a": 1, "b": 0.5},
        "current_time": {"timezone": "Asia/Tokyo"},
        "roll_dice": {"count": 3, "sides": 4},
        "slow_count": {"to": 2, "delay": 0},
    }
    tools = peer.result("tools/list")["tools"]
    assert {tool["name"] for tool in tools} == set(TOOLS) == set(examples)
    for tool in tools:
        arguments = examples[tool["name"]]
        jsonschema.Draft202012Validator.check_schema(tool["inputSchema"])
        jsonschema.validate(arguments, tool["inputSchema"])
        result = (peer.call(tool["name"], arguments) or peer.wait(0))[-1]["result"]
        assert not result["isError"]
        assert ("outputSchema" in tool) is ("structuredContent" in result)
        if "outputSchema" in tool:
            jsonschema.validate(result["structuredContent"], tool["outputSchema"])


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("echo", {}),
        ("echo", {"message": 1}),
        ("echo", {"message": "x", "more": 1}),
        ("echo", {"message": "x" * 100_001}),
        ("add", {"a": "1", "b": 2}),
        ("add", {"a": True, "b": 2}),
        ("add", {"a": 1e308, "b": 1e308}),
        ("current_time", {"timezone": "Europe/Atlantis"}),
        ("current_time", {"timezone": "../../etc/passwd"}),
        ("current_time", {"timezone": "Europe"}),
        ("current_time", {"timezone": ""}),
        ("roll_dice", {"count": 0}),
        ("roll_dice", {"count": 101}),
        ("roll_dice", {"sides": 1.5}),
        ("slow_count", {"delay": -1}),
        ("slow_count", {"to": 10**30}),
    ],
)
def test_arguments_that_do_not_fit_are_an_error_that_a_model_can_read(tool, arguments, peer):
    [answer] = peer.call(tool, arguments)
    assert answer["result"]["isError"]
    assert answer["result"]["content"][0]["text"]
    assert "structuredContent" not in answer["result"]


@pytest.mark.parametrize(
    "params",
    [
        {"name": "no_such_tool", "arguments": {}},
        {"name": 1},
        {"arguments": {}},
        {"name": "echo", "arguments": []},
        {"name": "echo", "arguments": None},
    ],
)
def test_calls_that_are_malformed_or_name_no_tool_are_protocol_errors(params, peer):
    assert peer.error("tools/call", params)["code"] == -32602


@pytest.mark.parametrize(
    ("a", "b", "total"), [(1, 2, "3"), (0.5, 0.25, "0.75"), (2**60, 0, str(float(2**60)))]
)
def test_sums_are_shown_as_people_write_them(a, b, total, peer):
    [answer] = peer.call("add", {"a": a, "b": b})
    assert answer["result"]["content"][0]["text"] == total


def test_time_is_that_of_the_zone(peer):
    [answer] = peer.call("current_time", {"timezone": "Asia/Tokyo"})
    assert answer["result"]["content"][0]["text"].endswith("+09:00")
    [answer] = peer.call("current_time", {})
    assert answer["result"]["structuredContent"]["timezone"] == "UTC"


def test_dice_report_progress_to_those_who_ask(peer):
    *progress, answer = peer.call("roll_dice", {"count": 3}, progressToken="dice")
    rolls = answer["result"]["structuredContent"]["rolls"]
    assert [note["params"]["progress"] for note in progress] == [1, 2, 3]
    assert [note["params"]["message"] for note in progress] == [
        f"Die {number} shows {roll}" for number, roll in enumerate(rolls, 1)
    ]
    assert {note["params"]["progressToken"] for note in progress} == {"dice"}
    assert len(peer.call("roll_dice", {"count": 1})) == 1


@pytest.mark.parametrize("token", [True, 1.5, {}])
def test_progress_tokens_of_other_types_are_refused(token, peer):
    [answer] = peer.call("echo", {"message": "x"}, progressToken=token)
    assert answer["error"]["code"] == -32602


def _logs(peer: Peer, **meta: Any) -> list[str]:
    messages = peer.call("slow_count", {"to": 1, "delay": 1}, **meta) + peer.wait(1)
    return [
        note["params"]["level"]
        for note in messages
        if note.get("method") == "notifications/message"
    ]


@pytest.mark.parametrize(
    ("level", "expected"),
    [("debug", ["info", "debug", "notice"]), ("info", ["info", "notice"]), ("error", [])],
)
def test_log_messages_are_those_of_the_level_asked_for(level, expected, modern, legacy):
    assert _logs(modern, **{"io.modelcontextprotocol/logLevel": level}) == expected
    assert legacy.result("logging/setLevel", {"level": level}) == {}
    assert _logs(legacy) == expected


def test_log_messages_are_sent_to_nobody_who_did_not_ask(peer):
    assert _logs(peer) == []


def test_levels_asked_for_hold_for_one_era_only(legacy):
    legacy.result("logging/setLevel", {"level": "debug"})
    assert _logs(legacy, **MODERN) == []
    Peer.send(legacy, "initialize", {"protocolVersion": "x", "capabilities": {}, "clientInfo": {}})
    assert _logs(legacy) == []


def test_unknown_log_levels_are_refused(modern, legacy):
    level = {"io.modelcontextprotocol/logLevel": "loud"}
    assert modern.error("tools/list", **level)["code"] == -32602
    assert legacy.error("logging/setLevel", {"level": "loud"})["code"] == -32602


def test_slow_work_goes_on_when_it_is_due(peer):
    assert peer.call("slow_count", {"to": 2, "delay": 5}, progressToken=7) == []
    assert peer.server.due == peer.now + 5
    assert peer.wait(4.9) == []
    [progress] = peer.wait(0.1)
    assert progress["params"] == {
        "progressToken": 7,
        "progress": 1,
        "total": 2,
        "message": "1 of 2",
    }
    assert peer.call("echo", {"message": "meanwhile"}, ident=2)[0]["id"] == 2
    progress, answer = peer.wait(5)
    assert progress["params"]["progress"] == 2
    assert answer["result"]["content"][0]["text"] == "Counted to 2"
    assert peer.server.due is None


def test_nothing_is_sent_for_a_cancelled_call(peer):
    peer.call("slow_count", {"to": 5, "delay": 1}, ident=1, progressToken=1)
    peer.call("slow_count", {"to": 1, "delay": 1}, ident=2)
    assert peer.cancel(1) == []
    assert [message["id"] for message in peer.wait(10)] == [2]
    assert peer.server.due is None


@pytest.mark.parametrize("request_id", [2, "1", True, 1.0, None, [1]])
def test_cancelling_anything_else_is_ignored(request_id, peer):
    peer.call("slow_count", {"to": 1, "delay": 1})
    assert peer.cancel(request_id) == []
    assert len(peer.wait(1)) == 1


def test_malformed_notifications_are_ignored(peer):
    assert (
        peer.line(rb'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"\ud800":1}}')
        == []
    )
    assert peer.message(method="notifications/cancelled") == []
    assert peer.message(method="notifications/initialized") == []
    assert peer.message(id=1, result={}) == []


def test_ids_in_use_are_refused(peer):
    peer.call("slow_count", {"to": 1, "delay": 1})
    assert peer.error("tools/list")["code"] == -32600
    assert len(peer.wait(1)) == 1
    assert peer.result("tools/list")


def test_calls_at_once_are_bounded(peer):
    for ident in range(MOST_JOBS):
        assert peer.call("slow_count", {"delay": 1}, ident=ident + 10) == []
    assert peer.call("slow_count", {})[0]["error"]["code"] == -33004
    peer.cancel(10)
    assert peer.call("slow_count", {}) == []


# Resources, prompts, completion


def test_resources_can_be_read(peer):
    [resource] = peer.result("resources/list")["resources"]
    [content] = peer.result("resources/read", {"uri": resource["uri"]})["contents"]
    assert content["uri"] == "demo://welcome"
    assert content["mimeType"] == resource["mimeType"]
    assert len(content["text"].encode()) == resource["size"]


@pytest.mark.parametrize(
    ("name", "greeting"), [("Ada", "Hello, Ada!"), ("J%C3%BCrgen%2F2", "Hello, Jürgen/2!")]
)
def test_templates_can_be_filled_in(name, greeting, peer):
    [template] = peer.result("resources/templates/list")["resourceTemplates"]
    uri = template["uriTemplate"].replace("{name}", name)
    [content] = peer.result("resources/read", {"uri": uri})["contents"]
    assert (content["uri"], content["text"]) == (uri, greeting)


@pytest.mark.parametrize(
    "uri",
    [
        "demo://nothing",
        "demo://greeting/",
        "demo://greeting/a/b",
        "demo://greeting/a?b",
        "demo://greeting/%ff",
        "demo://greeting/" + "x" * 101,
        "",
    ],
)
def test_unknown_resources_are_told_in_the_words_of_the_era(uri, modern, legacy):
    assert modern.error("resources/read", {"uri": uri})["code"] == -32602
    error = legacy.error("resources/read", {"uri": uri})
    assert error["code"] == -32002
    assert error["data"] == {"uri": uri}


def test_uris_of_other_types_are_refused(peer):
    assert peer.error("resources/read", {"uri": 1})["code"] == -32602


def test_prompt_is_about_the_audience(peer):
    [prompt] = peer.result("prompts/list")["prompts"]
    [argument] = prompt["arguments"]
    params = {"name": prompt["name"], "arguments": {argument["name"]: "poets"}}
    [message] = peer.result("prompts/get", params)["messages"]
    assert "to poets." in message["content"]["text"]


@pytest.mark.parametrize(
    "params",
    [
        {"name": "no_such_prompt"},
        {"name": "introduce"},
        {"name": "introduce", "arguments": {}},
        {"name": "introduce", "arguments": {"audience": 1}},
        {"name": "introduce", "arguments": {"audience": "x", "more": "y"}},
        {"name": "introduce", "arguments": []},
    ],
)
def test_prompts_that_do_not_fit_are_refused(params, peer):
    assert peer.error("prompts/get", params)["code"] == -32602


@pytest.mark.parametrize(
    ("ref", "argument", "value", "expected"),
    [
        ({"type": "ref/prompt", "name": "introduce"}, "audience", "DEV", ["developers"]),
        ({"type": "ref/prompt", "name": "introduce"}, "audience", "x", []),
        ({"type": "ref/resource", "uri": "demo://greeting/{name}"}, "name", "a", ["Ada", "Alan"]),
    ],
)
def test_arguments_are_completed(ref, argument, value, expected, peer):
    params = {"ref": ref, "argument": {"name": argument, "value": value}}
    assert peer.result("completion/complete", params)["completion"] == {
        "values": expected,
        "total": len(expected),
        "hasMore": False,
    }


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"ref": {"type": "ref/prompt", "name": "introduce"}},
        {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "y", "value": ""}},
        {"ref": {"type": "ref/resource", "uri": "x"}, "argument": {"name": "y", "value": ""}},
        {"ref": {"type": "ref/other"}, "argument": {"name": "y", "value": ""}},
        {"ref": {"type": "ref/prompt", "name": "introduce"}, "argument": {"name": "audience"}},
    ],
)
def test_completions_of_nothing_are_refused(params, peer):
    assert peer.error("completion/complete", params)["code"] == -32602


# Subscriptions


def test_subscriptions_are_acknowledged_and_last_until_they_are_cancelled(modern):
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["demo://welcome"]}
    [note] = modern.send("subscriptions/listen", {"notifications": wanted}, ident="sub")
    assert note["method"] == "notifications/subscriptions/acknowledged"
    assert note["params"] == {"_meta": {SUBSCRIPTION: "sub"}, "notifications": {}}
    assert modern.send("tools/list", ident="sub")[0]["error"]["code"] == -32600
    assert modern.cancel("sub") == []
    assert "result" in modern.send("tools/list", ident="sub")[0]


def test_subscriptions_without_a_filter_are_refused(modern):
    assert modern.error("subscriptions/listen")["code"] == -32602


def test_subscriptions_at_once_are_bounded(modern):
    for ident in range(MOST_SUBSCRIPTIONS):
        modern.send("subscriptions/listen", {"notifications": {}}, ident=ident + 10)
    assert modern.error("subscriptions/listen", {"notifications": {}})["code"] == -33004


# Hostile lines


@pytest.mark.parametrize(
    ("line", "code", "ident"),
    [
        (b"no json", -32700, None),
        (b'{"jsonrpc":"2.0","id":5,"method":7}', -32600, 5),
        (b'{"jsonrpc":"1.0","id":5,"method":"ping"}', -32600, 5),
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":[]}', -32600, 5),
        (b'[{"jsonrpc":"2.0","id":5,"method":"ping"}]', -32600, None),
        (b"\xff\xfe", -32700, None),
        (b'{"jsonrpc":"2.0","id":5,"method":"ping","params":{"a":%b' % (b"[" * 9999), -32700, None),
        (Oversized(10_000_000, b"{"), -32600, None),
    ],
)
def test_what_is_no_message_is_answered_with_an_error(line, code, ident, peer):
    [answer] = peer.line(line)
    assert answer["error"]["code"] == code
    assert answer["id"] == ident
    assert peer.result("tools/list")


def test_batches_exist_in_one_revision_only():
    peer = Peer(modern=False, revision="2025-03-26")
    ping = b'{"jsonrpc":"2.0","id":%d,"method":"ping"}'
    assert [answer["id"] for answer in peer.line(b"[%b,%b]" % (ping % 1, ping % 2))] == [1, 2]
    assert peer.line(b"[]")[0]["error"]["code"] == -32600
    assert peer.line(ping % 3)[0]["id"] == 3


def test_repr_shows_the_state(legacy):
    assert repr(legacy.server) == "<DemoServer revision=2025-11-25 jobs=0 subscriptions=0>"
