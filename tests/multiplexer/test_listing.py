"""Lists: pages, cursors, both eras."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from onemcp.multiplexer import listing
from onemcp.multiplexer.listing import ListPages
from onemcp.multiplexer.table import Route, Section
from onemcp.protocol.errors import INVALID_PARAMS, InvalidParams
from onemcp.protocol.fields import raw
from onemcp.protocol.methods import PROMPTS, TOOLS
from onemcp.protocol.revisions import Era
from tests.multiplexer.fakes import Server, World, ask, decoded, legacy, modern, tool

INFO = raw({"name": "onemcp", "version": "1.2.3"})


def section(count: int, *, ttl: int = 5, public: bool = True, extra: str = "") -> Section:
    definitions = tuple(raw({"name": f"t{number}{extra}"}) for number in range(count))
    routes = {f"t{number}{extra}": Route("a", f"t{number}{extra}") for number in range(count)}
    return Section(routes, definitions, ttl, public)


def pages(count: int, size: int = 2, **more) -> ListPages:
    return ListPages(TOOLS, section(count, **more), INFO, size)


def walk(lists: ListPages, era: Era) -> list[list[str]]:
    found, params = [], {}
    while True:
        page = decoded(lists.page(params, era))
        found.append([item["name"] for item in page["tools"]])
        if "nextCursor" not in page:
            return found
        params = {"cursor": raw(page["nextCursor"])}


def refusal(lists: ListPages, cursor: object) -> str:
    with pytest.raises(InvalidParams) as caught:
        lists.page({"cursor": raw(cursor)}, Era.MODERN)
    assert caught.value.code == INVALID_PARAMS
    return caught.value.message


@pytest.mark.requirement("server/utilities/caching#cache-key-1")
@pytest.mark.parametrize("era", Era)
@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, [[]]),
        (1, [["t0"]]),
        (2, [["t0", "t1"]]),
        (3, [["t0", "t1"], ["t2"]]),
        (4, [["t0", "t1"], ["t2", "t3"]]),
    ],
)
def test_pages_hold_everything_once_and_in_order(era: Era, count: int, expected: list[list[str]]):
    assert walk(pages(count), era) == expected


@pytest.mark.requirement(
    "basic/index#result-responses-3", "server/utilities/caching#cacheable-results-1"
)
def test_a_modern_page_has_its_era_fields_and_a_legacy_one_does_not():
    assert decoded(pages(1).page({}, Era.MODERN)) == {
        "tools": [{"name": "t0"}],
        "resultType": "complete",
        "ttlMs": 5,
        "cacheScope": "public",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "onemcp", "version": "1.2.3"}},
    }
    assert decoded(pages(1).page({}, Era.LEGACY)) == {"tools": [{"name": "t0"}]}


@pytest.mark.requirement(
    "server/utilities/caching#cache-scope-field-1",
    "server/utilities/caching#interaction-with-pagination-4",
)
def test_every_page_has_the_same_scope():
    lists = pages(3, public=False)
    first = decoded(lists.page({}, Era.MODERN))
    second = decoded(lists.page({"cursor": raw(first["nextCursor"])}, Era.MODERN))
    assert first["cacheScope"] == second["cacheScope"] == "private"


@pytest.mark.requirement(
    "basic/index#statelessness-5", "server/utilities/pagination#implementation-guidelines-1"
)
def test_a_cursor_survives_an_equal_list_and_another_ttl():
    cursor = raw(decoded(pages(3).page({}, Era.MODERN))["nextCursor"])
    again = decoded(pages(3, ttl=99).page({"cursor": cursor}, Era.LEGACY))
    assert [item["name"] for item in again["tools"]] == ["t2"]


@pytest.mark.requirement("server/utilities/pagination#implementation-guidelines-1")
def test_a_cursor_of_a_list_that_has_changed_is_refused_with_what_to_do():
    cursor = decoded(pages(3).page({}, Era.MODERN))["nextCursor"]
    assert "list again from the start" in refusal(pages(3, extra="x"), cursor)


def test_a_cursor_tells_nothing_of_how_it_is_made():
    cursor = decoded(pages(3).page({}, Era.MODERN))["nextCursor"]
    assert "t2" not in base64.b64decode(cursor).decode()


def forged(lists: ListPages, position: str) -> str:
    return base64.b64encode(f"{lists.version}:{position}".encode()).decode()


@pytest.mark.requirement("server/utilities/pagination#error-handling-1")
@pytest.mark.parametrize("position", ["0", "1", "4", "-2", "1000", "", "x", "2.0", "9" * 5000])
def test_a_tampered_cursor_is_refused(position: str):
    lists = pages(4)
    assert refusal(lists, forged(lists, position)) == "the cursor was not issued here"


@pytest.mark.requirement("server/utilities/pagination#error-handling-1")
@pytest.mark.parametrize("cursor", ["", "é", "====", "AAAA", "/w==", 2, None, {}, True])
def test_what_never_was_a_cursor_is_refused(cursor: object):
    assert refusal(pages(4), cursor) == "the cursor was not issued here"


@given(st.text() | st.binary().map(lambda data: base64.b64encode(data).decode()))
def test_any_text_as_a_cursor_is_refused_in_the_same_way(cursor: str):
    assert refusal(pages(4), cursor)


@pytest.mark.requirement("server/utilities/caching#cache-key-1")
def test_a_page_is_written_once_for_each_era():
    lists = pages(3)
    assert lists.page({}, Era.MODERN) is lists.page({}, Era.MODERN)
    assert lists.page({}, Era.LEGACY) is not lists.page({}, Era.MODERN)


def test_legacy_clients_get_no_output_schema_that_they_refuse_the_list_for():
    ours = raw({"name": "t", "outputSchema": {"type": "array"}})
    lists = ListPages(TOOLS, Section({}, (ours,), 0, is_public=False), INFO)
    assert decoded(lists.page({}, Era.LEGACY))["tools"] == [{"name": "t"}]
    assert b'"outputSchema":{"type":"array"}' in bytes(lists.page({}, Era.MODERN))
    prompts = ListPages(PROMPTS, Section({}, (ours,), 0, is_public=False), INFO)
    assert b"outputSchema" in bytes(prompts.page({}, Era.LEGACY))


def test_definitions_are_spliced_in_byte_for_byte():
    odd = Raw(rb'{"name":"\u0074","x":1.0e5,  "y":{ "z":[1,2] }}')
    lists = ListPages(TOOLS, Section({}, (odd,), 0, is_public=False), INFO)
    assert b'"tools":[' + bytes(odd) + b"]" in bytes(lists.page({}, Era.LEGACY))


async def test_a_client_pages_through_more_than_one_page_can_hold(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(listing.ListPages.__init__, "__defaults__", (2,))
    server = Server(tools=[tool("a"), tool("b"), tool("c")])
    view = await world.show(server)
    first = await ask(view, "tools/list", {}, modern())
    second = await ask(view, "tools/list", {"cursor": first["nextCursor"]}, legacy())
    names = [item["name"] for item in first["tools"] + second["tools"]]
    assert names == ["alpha__a", "alpha__b", "alpha__c"]
    assert "nextCursor" not in second


@pytest.mark.requirement("server/utilities/caching#time-to-live-ttl-field-5")
async def test_the_hints_of_the_backends_reach_the_client(world: World):
    one, two = Server("one", tools=[tool("a")]), Server("two", tools=[tool("b")])
    one.hints = {"ttlMs": 900, "cacheScope": "public"}
    two.hints = {"ttlMs": 300, "cacheScope": "public"}
    listed = await ask(await world.show(one, two), "tools/list")
    assert (listed["ttlMs"], listed["cacheScope"]) == (300, "public")
