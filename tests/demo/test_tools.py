"""The tools: arguments, results, progress, log messages, cancellation."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from onemcp.demo._server import MOST_JOBS
from onemcp.demo._tools import TOOLS
from tests.demo.peer import MODERN, Peer


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
