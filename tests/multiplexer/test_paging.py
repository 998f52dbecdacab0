"""Long results of tools in parts: what clients get, how they read on, and what is kept for them."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from trio.testing import MockClock

from onemcp import config
from onemcp.auth import parse_scopes
from onemcp.backend import Caller
from onemcp.multiplexer import Conflict, View, lacking
from onemcp.multiplexer.paging import (
    KEPT,
    MAX_BYTES,
    MAX_BYTES_OF_ONE,
    MAX_OF_ONE,
    MAX_RESULTS,
    Holder,
    Pages,
    Part,
    divide,
)
from onemcp.protocol.errors import InvalidParams
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Request
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    decoded,
    legacy,
    modern,
    result,
    tool,
)
from tests.multiplexer.parked import Client, bench, question
from tests.multiplexer.test_rights import seen
from tests.multiplexer.test_task_bridge import NewServer, able, make, make_old, old_client
from tests.multiplexer.test_views import arrange, names

PAGER = "onemcp__next_page"
CALL = {"name": "alpha__t", "arguments": {}}
LINES = "".join(f"line {number}\n" for number in range(400))
SIZE = 1000


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": text, **more}


def paging(server: Server, characters: int | None = SIZE) -> Server:
    """Have a server's results paged."""
    server.config = attrs.evolve(server.config, paging=config.Paging(characters=characters))
    return server


def alpha(*content: dict[str, Any], **more: Any) -> Server:
    """Return a server whose tool has a result to be paged."""
    server = Server(tools=[tool("t"), tool("u")])
    server.handlers["tools/call"] = result({"content": content or [said(LINES)], **more})
    return paging(server)


def page_of(content: list[dict[str, Any]]) -> str | None:
    """Return the page that comes next, as a model would read it."""
    found = re.search(r'call the tool "onemcp__next_page" with .* (\{.*\}) to', content[-1]["text"])
    return None if found is None else str(json.loads(found[1])["page"])


async def turn(view: View, page: str, caller: Caller | None = None) -> dict[str, Any]:
    return await ask(view, "tools/call", {"name": PAGER, "arguments": {"page": page}}, caller)


async def read(
    view: View, first: dict[str, Any], caller: Caller | None = None
) -> list[list[dict[str, Any]]]:
    """Read a result to its end; return the content of each part, without the notice."""
    parts, part = [first["content"][:-1]], first
    while (page := page_of(part["content"])) is not None:
        part = await turn(view, page, caller)
        parts.append(part["content"][:-1])
    assert part["content"][-1]["text"].endswith("It is the last one.]")
    return parts


def text_of(parts: list[list[dict[str, Any]]]) -> str:
    return "".join(block["text"] for part in parts for block in part if block["type"] == "text")


# --- what clients get ----------------------------------------------------------------------------


@pytest.mark.parametrize("caller", [modern(), legacy(), legacy("2024-11-05")])
async def test_a_long_text_comes_in_parts_that_end_with_lines(world: World, caller: Caller):
    view = await world.show(alpha())
    first = await ask(view, "tools/call", CALL, caller)
    assert re.match(
        r"\[onemcp: this is part 1 of 4 of a long result: characters 1 to 9\d\d of 3490\. There is",
        first["content"][-1]["text"],
    )
    parts = await read(view, first, caller)
    assert text_of(parts) == LINES
    assert all(len(text_of([part])) <= SIZE for part in parts)
    assert all(text_of([part]).endswith("\n") for part in parts)
    second = await turn(view, page_of(first["content"]) or "", caller)
    assert second["content"][:-1] == parts[1], "it can be read again"
    if caller.revision == modern().revision:
        meta = {"io.modelcontextprotocol/serverInfo": {"name": "onemcp", "version": "1.2.3"}}
        assert (second["resultType"], second["_meta"]) == ("complete", meta)
    else:
        assert list(second) == ["content"]


async def test_everything_but_text_stays_where_it_is(world: World):
    image = {"type": "image", "data": "A" * 5000, "mimeType": "image/png"}
    structured = {"rows": ["x" * 3000]}
    blocks = [said("a" * 900), image, said("b" * 900, annotations={"priority": 1}), {"odd": 1}]
    server = alpha(*blocks, structuredContent=structured, isError=True, _meta={"m": 1})
    first = await ask(await world.show(server), "tools/call", CALL)
    assert first["content"][:-1] == [blocks[0], image, {"odd": 1}]
    assert first["structuredContent"] == structured
    assert (first["isError"], first["_meta"]["m"]) == (True, 1)
    parts = await read(world.multiplexer.whole(), first)
    assert parts[1:] == [[blocks[2]]], "whole, with what it says besides"


@pytest.mark.parametrize(
    "value",
    [
        {"content": [said("x" * SIZE)]},
        {"content": [said("short")], "structuredContent": {"x": "y" * 5000}},
        {"content": "x" * 5000},
        {"other": "x" * 5000},
    ],
)
async def test_what_has_no_long_text_stays_as_it_is(world: World, value: dict[str, Any]):
    server = paging(Server(tools=[tool("t")]))
    server.handlers["tools/call"] = result(value)
    answer = await ask(await world.show(server), "tools/call", CALL)
    assert {key: answer[key] for key in value} == value
    assert len(world.multiplexer.pages) == 0


async def test_without_being_configured_nothing_is_paged_or_listed(world: World):
    view = await world.show(paging(alpha(), None))
    assert (await ask(view, "tools/call", CALL))["content"] == [said(LINES)]
    assert await names(view, "tools") == ["alpha__t", "alpha__u"]
    with pytest.raises(InvalidParams, match=f"Unknown tool: {PAGER}"):
        await ask(view, "tools/call", {"name": PAGER})


async def test_what_a_call_brings_after_its_questions_is_paged(world: World, autojump_clock):
    async with bench(world) as b:
        view = await world.show(paging(b.server))
        b.client = Client(view, b.server, b.client.caller)
        state = await b.client.call_asked(question())
        b.finish_soon(value={"content": [said(LINES)]})
        (answer,) = await b.client.retry(state)
        assert text_of(await read(view, decoded(answer.result))) == LINES


async def test_results_of_tasks_are_paged_too(world: World, autojump_clock: MockClock):
    server = paging(NewServer())
    server.states = [{"status": "completed", "result": {"content": [said(LINES)]}}]
    view = await world.show(server)
    task = await make(view)
    got = await ask(view, "tasks/get", {"taskId": task}, able())
    assert got["status"] == "completed"
    assert text_of(await read(view, got["result"])) == LINES
    ada = old_client()
    task = await make_old(view, ada)
    got = await ask(view, "tasks/result", {"taskId": task}, ada)
    assert text_of(await read(view, got, ada)) == LINES
    server.states = [{"status": "working"}]
    task = await make(view)
    assert "result" not in await ask(view, "tasks/get", {"taskId": task}, able())


# --- where the tool is listed --------------------------------------------------------------------


async def test_the_tool_is_listed_where_something_visible_is_paged(world: World):
    beta = Server("beta", tools=[tool("v")])
    await world.show(alpha(), beta)
    whole = world.multiplexer.whole()
    (*_, listed) = (await ask(whole, "tools/list"))["tools"]
    assert (listed["name"], listed["inputSchema"]["required"]) == (PAGER, ["page"])
    assert listed["annotations"]["readOnlyHint"] is True
    assert await names(whole, "tools") == ["alpha__t", "alpha__u", "beta__v", PAGER]
    assert await names(world.view("alpha"), "tools") == ["t", "u", PAGER]
    assert await names(world.view("beta"), "tools") == ["v"]
    assert await names(seen(world, "tool:alpha/t"), "tools") == ["alpha__t", PAGER]
    assert await names(seen(world, "backend:beta"), "tools") == ["beta__v"]
    arrange(world, alpha={"tools": config.Patterns(deny=["*"])})
    assert await names(whole, "tools") == ["beta__v"]
    await world.show(paging(alpha(), None), beta)
    arrange(world)
    assert await names(whole, "tools") == ["alpha__t", "alpha__u", "beta__v"]


async def test_clients_hear_when_it_comes(world: World):
    server = paging(alpha(), None)
    view = await world.show(server)
    subscriber = await view.subscribe(frozenset({"notifications/tools/list_changed"}))
    await world.show(paging(server))
    with trio.fail_after(30):
        assert (await subscriber.receive()).method == "notifications/tools/list_changed"
    subscriber.close()


async def test_a_backends_tool_of_that_name_wins_and_nothing_is_paged(world: World):
    other = Server("onemcp", tools=[tool("next_page")])
    view = await world.show(alpha(), other)
    assert await names(view, "tools") == ["alpha__t", "alpha__u", PAGER]
    conflict = Conflict("tools", PAGER, "onemcp", "onemcp")
    assert world.multiplexer.conflicts == (conflict,)
    assert (await ask(view, "tools/call", {"name": PAGER}))["said"] == "onemcp"
    assert (await ask(view, "tools/call", CALL))["content"] == [said(LINES)]
    assert await names(seen(world, "backend:alpha"), "tools") == ["alpha__t", "alpha__u"]


async def test_no_scope_is_lacking_for_it(world: World):
    await world.show(alpha(), Server("beta", tools=[tool("v")]))
    request = Request(1, "tools/call", raw({"name": PAGER, "arguments": {"page": "x"}}))
    for scope in ("backend:beta", "tool:alpha/t"):
        assert not lacking(request, seen(world, scope), parse_scopes(["mcp"]), "ada")


# --- who may read on -----------------------------------------------------------------------------


def refused(answer: dict[str, Any]) -> str:
    assert answer["isError"] is True
    (block,) = answer["content"]
    return str(block["text"])


@pytest.mark.parametrize(
    "page", ["", "x", "x.2", "." * 65, "{key}.1", "{key}.9", "{key}.x", "{key}"]
)
async def test_what_is_no_page_is_refused_in_words_for_a_model(world: World, page: str):
    view = await world.show(alpha())
    first = await ask(view, "tools/call", CALL)
    key = (page_of(first["content"]) or "").partition(".")[0]
    assert refused(await turn(view, page.format(key=key))).startswith("There is no such page here")


async def test_a_page_without_an_id_is_refused(world: World):
    view = await world.show(alpha())
    answer = await ask(view, "tools/call", {"name": PAGER}, legacy())
    assert refused(answer).startswith('The argument "page" is missing')
    with pytest.raises(InvalidParams, match=r"params\.arguments must be a JSON object"):
        await ask(view, "tools/call", {"name": PAGER, "arguments": [1]})


async def test_a_page_is_for_who_has_called_and_may_still_see_the_tool(world: World):
    view = await world.show(alpha())
    page = page_of((await ask(view, "tools/call", CALL))["content"]) or ""
    eve = attrs.evolve(modern(), principal="eve")
    assert refused(await turn(view, page, eve))
    assert refused(await turn(world.view("alpha"), page))
    assert refused(await turn(seen(world, "tool:alpha/u"), page))
    assert "isError" not in await turn(seen(world, "tool:alpha/t"), page)


async def test_pages_that_nobody_reads_expire(world: World, mock_clock: MockClock):
    view = await world.show(alpha())
    page = page_of((await ask(view, "tools/call", CALL))["content"]) or ""
    for _ in range(3):
        mock_clock.jump(KEPT - 1)
        assert "isError" not in await turn(view, page)
    mock_clock.jump(KEPT)
    assert "has not been read for 10 minutes" in refused(await turn(view, page))
    assert len(world.multiplexer.pages) == 0


async def test_what_is_too_large_to_be_kept_is_said_so(world: World):
    view = await world.show(alpha(said("x" * (MAX_BYTES_OF_ONE + 2 * SIZE))))
    first = await ask(view, "tools/call", CALL)
    assert len(first["content"][0]["text"]) == SIZE
    notice = first["content"][-1]["text"]
    assert notice.endswith("too large to be kept: call the tool again, and ask for less at once.]")
    assert len(world.multiplexer.pages) == 0


# --- how much is kept ----------------------------------------------------------------------------


def part(size: int) -> list[Part]:
    return [Part((Raw(bytes(size)),), 2, 2, 0, 0, 0)]


def keep(pages: Pages, size: int, principal: str = "ada") -> str:
    page = pages.keep(Holder(principal, None, "alpha", "t"), part(size))
    assert page is not None
    return page


def test_the_oldest_pages_of_one_principal_make_room():
    pages = Pages(lambda: 0.0)
    other = keep(pages, 10, "eve")
    first, second = keep(pages, 10), keep(pages, MAX_BYTES_OF_ONE - 15)
    assert pages.find(first, "ada", None) is not None, "it is read, and so not the oldest any more"
    third = keep(pages, 10)
    kept = [pages.find(page, "ada", None) is not None for page in (first, second, third)]
    assert kept == [True, False, True]
    for _ in range(MAX_OF_ONE):
        keep(pages, 1)
    assert pages.find(third, "ada", None) is None
    assert len(pages) == MAX_OF_ONE + 1
    assert pages.find(other, "eve", None) is not None


def test_all_principals_together_have_bounds():
    pages = Pages(lambda: 0.0)
    first = keep(pages, 10, "p")
    for number in range(MAX_RESULTS):
        keep(pages, 1, f"p{number}")
    assert pages.find(first, "p", None) is None
    assert len(pages) == MAX_RESULTS
    for number in range(MAX_BYTES // MAX_BYTES_OF_ONE + 1):
        keep(pages, MAX_BYTES_OF_ONE, f"p{number}")
    assert repr(pages) == f"<Pages results=4 bytes={MAX_BYTES}>"


# --- dividing ------------------------------------------------------------------------------------


@given(
    st.lists(st.text(st.sampled_from("ab\n\u00e9\U0001f600"), max_size=60), max_size=6),
    st.integers(min_value=1, max_value=50),
)
def test_the_parts_of_texts_make_up_the_texts(texts: list[str], characters: int):
    parts = divide([raw(said(text)) for text in texts], characters)
    shown = [[decoded(block)["text"] for block in part.content] for part in parts]
    assert "".join(map("".join, shown)) == "".join(texts)
    lengths = [len("".join(each)) for each in shown]
    assert all(length <= characters for length in lengths)
    assert all(lengths) or not any(texts)
    assert [part.end - part.start for part in parts] == lengths
    assert {part.total for part in parts} == {sum(lengths)}
    if sum(lengths) <= characters:
        assert len(parts) == 1


def test_a_text_is_divided_only_where_it_must_be():
    def shape(*lengths: int) -> list[list[int]]:
        parts = divide([raw(said("x" * length)) for length in lengths], 10)
        return [[len(decoded(block)["text"]) for block in part.content] for part in parts]

    assert shape(6, 10, 3) == [[6], [10], [3]]
    assert shape(25) == [[10], [10], [5]]
    assert shape(3, 12) == [[3, 7], [5]]
    assert shape(6, 12) == [[6], [10], [2]]
    assert shape(0, 10, 0) == [[0, 10, 0]]
    assert shape(10, 1) == [[10], [1]]
