"""Fetching a list: all its pages, none for ever, and what is malformed left out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from msgspec import Raw

from onemcp.backend import catalogue as module
from onemcp.backend.attribution import INTERNAL
from onemcp.backend.catalogue import Listing, fetch
from onemcp.protocol.errors import BackendProtocolError, RemoteError
from onemcp.protocol.fields import plain
from onemcp.protocol.methods import CATALOGUES, RESOURCES, TEMPLATES, TOOLS
from tests.backend.core.fakes import FakeConnection, caller, failure, tools

SELF = caller(INTERNAL)


class Lists:
    """A server's answers to one list method, by cursor."""

    def __init__(self, *pages: Any, method: str = "tools/list", pause: bool = False) -> None:
        self.connection = FakeConnection()
        self.connection.server = self.connection.description
        self.rejected: list[tuple[str, str]] = []
        self._pages = iter(pages)
        self.connection.answers[method] = lambda _: next(self._pages)

    async def fetch(self, kind=TOOLS, *, mirrors: bool = False) -> Listing:
        return await fetch(
            self.connection,
            kind,
            SELF,
            on_rejected=lambda *rejected: self.rejected.append(rejected),
            mirrors=mirrors,
        )


def names(listing: Listing) -> list[str]:
    return [item.identity for item in listing.items]


@pytest.mark.requirement(
    "server/prompts#implementation-considerations-2",
    "server/utilities/caching#interaction-with-pagination-2",
    "server/utilities/pagination#pagination-model-1",
    "server/utilities/pagination#implementation-guidelines-2",
    "server/utilities/pagination#implementation-guidelines-3",
)
async def test_every_page_is_fetched_in_order():
    lists = Lists(tools("a", "b", nextCursor="p2"), tools("c", nextCursor="p3"), tools("d"))
    assert names(await lists.fetch()) == ["a", "b", "c", "d"]
    assert lists.connection.asked("tools/list") == [{}, {"cursor": "p2"}, {"cursor": "p3"}]
    assert lists.rejected == []


@pytest.mark.requirement(
    "server/utilities/pagination#implementation-guidelines-3",
    "server/utilities/pagination#implementation-guidelines-4",
)
async def test_an_empty_string_is_a_cursor():
    lists = Lists(tools("a", nextCursor=""), tools("b"))
    assert names(await lists.fetch()) == ["a", "b"]
    assert lists.connection.asked("tools/list") == [{}, {"cursor": ""}]


@pytest.mark.requirement("server/utilities/pagination#implementation-guidelines-2")
@pytest.mark.parametrize("cursor", [None, 5, []])
async def test_what_is_no_cursor_ends_the_list(cursor):
    assert names(await Lists(tools("a", nextCursor=cursor)).fetch()) == ["a"]


@pytest.mark.parametrize("cursors", [["x", "x"], ["", ""], ["a", "b", "a"]])
async def test_cursors_that_go_round_in_circles_end(cursors):
    lists = Lists(*(tools(f"t{n}", nextCursor=cursor) for n, cursor in enumerate(cursors)))
    with pytest.raises(BackendProtocolError, match="pages for ever"):
        await lists.fetch()


async def test_endless_pages_end(monkeypatch):
    monkeypatch.setattr(module, "MAX_PAGES", 5)
    lists = Lists(*(tools(nextCursor=str(n)) for n in range(9)))
    with pytest.raises(BackendProtocolError, match="more than 5 pages"):
        await lists.fetch()
    assert len(lists.connection.opened) == 5


@pytest.mark.parametrize(("limit", "value"), [("MAX_ITEMS", 2), ("MAX_BYTES", 60)])
async def test_endless_items_end(monkeypatch, limit, value):
    monkeypatch.setattr(module, limit, value)
    lists = Lists(tools("a", "b", nextCursor="2"), tools("c", nextCursor="3"), tools("d"))
    with pytest.raises(BackendProtocolError, match="pages for ever"):
        await lists.fetch()


async def test_of_two_items_with_one_name_the_first_counts():
    first = {"tools": [{"name": "a", "title": "first"}], "nextCursor": "2"}
    listing = await Lists(first, tools("a", "b")).fetch()
    assert names(listing) == ["a", "b"]
    assert plain(listing.items[0].definition)["title"] == "first"


async def test_malformed_items_are_left_out_and_reported():
    lists = Lists({"tools": [5, None, [], {}, {"name": 5}, {"name": "ok", "x": {"y": 1}}]})
    listing = await lists.fetch()
    assert names(listing) == ["ok"]
    assert bytes(listing.items[0].definition) == b'{"name":"ok","x":{"y":1}}'
    nameless, no_object = "has no name", "must be a JSON object"
    reasons = [why.removeprefix("an item of tools/list ") for _, why in lists.rejected]
    assert reasons == [no_object, no_object, no_object, nameless, nameless]
    assert {name for name, _ in lists.rejected} == {"?"}


@pytest.mark.parametrize(
    "result", [{}, {"tools": None}, {"tools": {}}, {"tools": "x"}, [], "x", None, {"resources": []}]
)
async def test_what_is_no_list_is_an_error(result):
    with pytest.raises(BackendProtocolError, match="tools/list"):
        await Lists(result).fetch()


async def test_an_error_is_an_error():
    with pytest.raises(RemoteError) as caught:
        await Lists(tools("a", nextCursor="2"), failure(-32602, "no such cursor")).fetch()
    assert caught.value.code == -32602


@pytest.mark.parametrize("kind", CATALOGUES, ids=lambda kind: kind.method)
async def test_every_kind_of_list_is_known_by_its_own_identity(kind):
    lists = Lists({kind.key: [{kind.identity: "x"}, {"other": "y"}]}, method=kind.method)
    assert names(await lists.fetch(kind)) == ["x"]
    assert lists.rejected == [("?", f"an item of {kind.method} has no {kind.identity}")]


ANNOTATED = {
    "name": "good",
    "inputSchema": {"properties": {"r": {"type": "string", "x-mcp-header": "Region"}}},
}
INVALID = {
    "name": "bad",
    "inputSchema": {"properties": {"r": {"type": "array", "x-mcp-header": "Region"}}},
}


@pytest.mark.requirement(
    "basic/transports/streamable-http#schema-extension-9",
    "basic/transports/streamable-http#schema-extension-10",
)
async def test_over_http_tools_with_invalid_annotations_are_left_out_with_a_reason():
    lists = Lists({"tools": [ANNOTATED, INVALID]})
    listing = await lists.fetch(mirrors=True)
    assert names(listing) == ["good"]
    assert [mirrored.name for mirrored in listing.items[0].mirrored] == ["Region"]
    assert [name for name, _ in lists.rejected] == ["bad"]


async def test_elsewhere_nothing_is_left_out_and_what_is_wrong_is_known():
    lists = Lists({"tools": [ANNOTATED, INVALID]})
    listing = await lists.fetch()
    assert names(listing) == ["good", "bad"]
    assert [len(item.mirrored) for item in listing.items] == [1, 0]
    assert listing.items[0].fault is None
    assert "x-mcp-header" in (listing.items[1].fault or "")
    assert lists.rejected == []


async def test_annotations_do_not_hide_behind_escapes():
    escaped = json.dumps(INVALID).replace("x-mcp-header", r"x\u002dmcp-header")
    listing = await Lists({"tools": [ANNOTATED, Raw(escaped.encode())]}).fetch(mirrors=True)
    assert names(listing) == ["good"]


async def test_what_is_left_out_counts_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_ITEMS", 2)
    page = {"tools": [{}, {}, {}], "nextCursor": "2"}
    with pytest.raises(BackendProtocolError, match="for ever"):
        await Lists(page, page).fetch()


@pytest.mark.parametrize("kind", [RESOURCES, TEMPLATES])
async def test_only_tools_are_looked_at_for_annotations(kind):
    item = {kind.identity: "u", "description": "x-mcp-header", "inputSchema": 5}
    listing = await Lists({kind.key: [item]}, method=kind.method).fetch(kind, mirrors=True)
    assert names(listing) == ["u"]


async def test_a_tool_that_only_mentions_the_annotation_is_fine():
    tool = {"name": "t", "description": "about x-mcp-header"}
    assert names(await Lists({"tools": [tool]}).fetch(mirrors=True)) == ["t"]


@pytest.mark.requirement(
    "server/utilities/caching#time-to-live-ttl-field-4",
    "server/utilities/caching#time-to-live-ttl-field-5",
)
@pytest.mark.parametrize(
    ("ttls", "expected"),
    [
        ([None], None),
        ([5000], 5000),
        ([5000, 1000, 9000], 1000),
        ([5000, None], 5000),
        ([-5], 0),
        ([True], None),
        (["5"], None),
        ([1.5], None),
        ([10**400], 2**53 - 1),
    ],
)
async def test_of_all_hints_the_shortest_freshness_counts(ttls, expected):
    pages = [
        tools(ttlMs=ttl, **({} if n == len(ttls) - 1 else {"nextCursor": str(n)}))
        for n, ttl in enumerate(ttls)
    ]
    if ttls == [10**400]:
        pages = [{"tools": Raw(b"[]"), "ttlMs": Raw(b"1" + b"0" * 400)}]
    assert (await Lists(*pages).fetch()).ttl_ms == expected


@pytest.mark.requirement(
    "server/utilities/caching#cache-scope-field-1",
    "server/utilities/caching#security-considerations-1",
)
@pytest.mark.parametrize(
    ("scopes", "expected"),
    [
        (["public"], True),
        (["private"], False),
        ([None], False),
        ([5], False),
        (["public", "public"], True),
        (["private", "public"], False),
        (["public", "private"], False),
    ],
)
async def test_a_list_is_public_only_where_all_its_pages_are(scopes, expected):
    pages = [
        tools(cacheScope=scope, **({} if n == len(scopes) - 1 else {"nextCursor": str(n)}))
        for n, scope in enumerate(scopes)
    ]
    assert (await Lists(*pages).fetch()).is_public is expected


@pytest.mark.requirement("basic/patterns/cancellation#timeouts-2")
async def test_giving_up_waiting_cancels_the_request():
    lists = Lists()
    del lists.connection.answers["tools/list"]
    with trio.move_on_after(0):
        await lists.fetch()
    assert lists.connection.cancelled == lists.connection.opened


def test_listings_are_equal_when_their_bytes_are():
    item = module.Item("a", Raw(b"{}"))
    assert item == module.Item("a", Raw(b"{}"))
    assert item != module.Item("a", Raw(b"{ }"))
