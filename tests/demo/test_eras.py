"""Which era is served how, what is subscribed to, and what hostile lines are answered with."""

from __future__ import annotations

import pytest

from onemcp.demo._server import MOST_SUBSCRIPTIONS
from onemcp.protocol.framing import Oversized
from tests.demo.peer import (
    CAPABILITIES,
    LISTS,
    MODERN,
    REVISIONS,
    SERVER_INFO,
    SUBSCRIPTION,
    VERSION,
    Peer,
)


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
    assert answer.get("id") == ident
    assert peer.result("tools/list")


def test_batches_exist_in_one_revision_only():
    peer = Peer(modern=False, revision="2025-03-26")
    ping = b'{"jsonrpc":"2.0","id":%d,"method":"ping"}'
    assert [answer["id"] for answer in peer.line(b"[%b,%b]" % (ping % 1, ping % 2))] == [1, 2]
    assert peer.line(b"[]")[0]["error"]["code"] == -32600
    assert peer.line(ping % 3)[0]["id"] == 3


def test_repr_shows_the_state(legacy):
    assert repr(legacy.server) == "<DemoServer revision=2025-11-25 jobs=0 subscriptions=0>"
