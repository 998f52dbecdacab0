"""Every scope, and every way to a task: a task is for those who may call the tool that made it."""

from __future__ import annotations

from typing import Any, Final

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.auth import parse_scopes
from onemcp.backend import Caller
from onemcp.multiplexer import View
from onemcp.protocol.errors import ProtocolError
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import Server, World, receive_all, result, send, tool
from tests.multiplexer.test_tasks import able, listen, make, make_old, new, old
from tests.multiplexer.test_views import arrange

READS: Final = {"annotations": {"readOnlyHint": True}}
OPENS: Final = {
    "mcp": True,
    "backend:alpha": True,
    "tool:alpha/t": True,
    "tool:alpha/*": True,
    "tag:first": True,
    "mcp:read": False,
    "backend:alpha:read": False,
    "tool:alpha/u": False,
    "tag:second": False,
    "backend:beta": False,
    "nonsense": False,
}
"""Whether each scope opens the task of a call of `t`, which changes something."""

MODERN: Final = ("tasks/get", "tasks/update", "tasks/cancel")
LEGACY: Final = ("tasks/get", "tasks/result", "tasks/cancel")
ADA: Final = Caller("ada's", "ada", LATEST_LEGACY)


def served(server: Server) -> Server:
    """Return a server with a tool that changes something, and one that does not."""
    [makes] = server.lists["tools"]
    server.lists["tools"] = [makes, {**makes, "name": "u", **READS}]
    return server


def seen(world: World, scope: str) -> View | None:
    arrange(world, alpha={"tags": ["first"]}, beta={"tags": ["second"]})
    return world.multiplexer.view(None, world.multiplexer.granted(parse_scopes([scope])))


async def answers(view: View | None, method: str, task: str, caller: Caller) -> bool:
    """Tell whether a request about a task is answered."""
    params: dict[str, Any] = {"taskId": task, "inputResponses": {}}
    try:
        reply = await send(view, method, params, caller) if view else None
    except ProtocolError:
        return False
    return reply is not None and isinstance((await receive_all(reply))[-1], Response)


@pytest.mark.parametrize("scope", OPENS)
async def test_tasks_of_the_extension_are_for_those_who_may_call_the_tool(world: World, scope: str):
    server = served(new())
    task = await make(await world.show(server, Server("beta", tools=[tool("t")])))
    view = seen(world, scope)
    for method in MODERN:
        server.calls.clear()
        assert await answers(view, method, task, able()) == OPENS[scope], method
        assert bool(server.calls) == OPENS[scope], method
    if view is not None and scope != "nonsense":
        try:
            reply, granted = await listen(view, [task], able())
        except ProtocolError:
            assert not OPENS[scope]
            return
        assert granted == ([task] if OPENS[scope] else [])
        await wait_all_tasks_blocked()
        assert server.tasks == ({"t-1"} if OPENS[scope] else set())
        reply.close()


@pytest.mark.parametrize("scope", OPENS)
async def test_tasks_of_2025_11_25_are_for_those_who_may_call_the_tool(
    world: World, autojump_clock: MockClock, scope: str
):
    server = served(old())
    server.handlers["tasks/cancel"] = result({"taskId": "t-1", "status": "cancelled"})
    whole = await world.show(server, Server("beta", revision=LATEST_LEGACY, tools=[tool("t")]))
    view = seen(world, scope)
    hears = None if view is None else await view.subscribe(frozenset(), caller=ADA)
    task = await make_old(whole, ADA)
    if hears is not None:
        server.announce("notifications/tasks/status", taskId="t-1", status="working")
        told = None
        with trio.move_on_after(1):
            told = await hears.receive()
        assert (told is not None) == OPENS[scope]
        hears.close()
    for method in LEGACY:
        server.calls.clear()
        assert await answers(view, method, task, ADA) == OPENS[scope], method
        assert bool(server.calls) == OPENS[scope], method
