"""Which scopes a request lacks, whatever it is about: tasks, subscriptions and extensions too."""

from __future__ import annotations

from typing import Any

import pytest

from onemcp.auth import parse_scopes
from onemcp.multiplexer import View, lacking
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Request
from tests.multiplexer.fakes import Server, World, ask, modern, resource, result, tool
from tests.multiplexer.test_extensions import FIND, FINDING, TASKS, extended

ABLE = {"capabilities": raw({"extensions": TASKS})}
ADA = "ada"


def needed(
    view: View, scopes: str, method: str, params: Any, attainable: str = "mcp", *, who: str = ADA
) -> set[str]:
    """Return what somebody with some scopes lacks for a request."""
    multiplexer = view.multiplexer
    seen = multiplexer.view(view.name, multiplexer.granted(parse_scopes(scopes.split())))
    assert seen is not None
    request = Request(1, method, raw(params))
    return set(map(str, lacking(request, seen, parse_scopes(attainable.split()), who)))


async def both(world: World) -> View:
    return await world.show(
        Server("one", tools=[tool("get"), tool("put")], resources=[resource("x://one")]),
        Server("two", tools=[tool("t")], resources=[resource("x://two")]),
    )


async def test_a_subscription_lacks_what_any_of_its_resources_does(world: World):
    view = await both(world)
    for uris, scopes, expected in (
        (["x://one"], "backend:one", set()),
        (["x://two"], "backend:one", {"backend:two:read"}),
        (["x://one", "x://two"], "tool:one/get", {"backend:one:read", "backend:two:read"}),
        (["x://nowhere"], "backend:one", set()),
    ):
        params = {"notifications": {"toolsListChanged": True, "resourceSubscriptions": uris}}
        assert needed(view, scopes, "subscriptions/listen", params) == expected


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"notifications": 5},
        {"notifications": {"resourceSubscriptions": "x://two"}},
        {"notifications": {"taskIds": [5]}},
        {"notifications": {"taskIds": ["nonsense"]}},
    ],
)
async def test_a_malformed_subscription_is_refused_elsewhere(world: World, params: Any):
    assert not needed(await both(world), "backend:one", "subscriptions/listen", params)


async def task_of(view: View, name: str) -> str:
    made = await ask(view, "tools/call", {"name": name}, modern(**ABLE))
    return str(made["taskId"])


async def test_a_task_lacks_what_its_call_did(world: World):
    one = extended("one", TASKS, tools=[tool("get"), tool("put")])
    one.handlers["tools/call"] = result({"resultType": "task", "taskId": "t-1"})
    view = await world.show(one, extended("two", {}))
    task = await task_of(view, "one__put")
    for method in ("tasks/get", "tasks/update", "tasks/cancel", "tasks/result"):
        params = {"taskId": task}
        assert needed(view, "backend:two", method, params) == {"tool:one/put"}
        assert needed(view, "tool:one/get", method, params) == {"tool:one/put"}
        assert needed(view, "tool:one/put", method, params) == set()
        assert needed(view, "backend:two", method, params, "backend:two") == set(), "never hers"
        assert needed(view, "backend:two", method, params, who="eve") == set(), "not hers"
        assert needed(view, "backend:two", method, {"taskId": "t-1"}) == set()
        assert needed(view, "backend:two", method, {}) == set()
    listen = {"notifications": {"taskIds": [task]}}
    assert needed(view, "backend:two", "subscriptions/listen", listen) == {"tool:one/put"}
    assert needed(view, "tool:one/*", "subscriptions/listen", listen) == set()


async def test_an_extension_lacks_the_backend_that_alone_can_be_meant(world: World):
    view = await world.show(extended("one"), extended("two"), extended("three", {}))
    at_two: dict[str, Any] = {"uri": "x://two"}
    assert needed(view, "backend:one", FIND, at_two) == {"backend:two"}
    assert needed(view, "backend:one backend:two:read", FIND, {"name": "two__t"}) == {"backend:two"}
    assert needed(view, "backend:two", FIND, at_two) == set()
    assert needed(view, "backend:one", FIND, {}) == set(), "it may be meant for what is seen"
    assert needed(view, "backend:three", FIND, {}) == set(), "nothing tells which of two"
    assert needed(view, "backend:one", FIND, {"uri": "x://three"}) == set(), "it has none"
    assert needed(view, "backend:one", FIND, at_two, "backend:one") == set()
    assert needed(view, "backend:one", "tools/list", {}) == set()


async def test_the_only_extension_there_is_needs_nothing_that_leads_to_it(world: World):
    view = await world.show(extended("one", FINDING), extended("two", {}))
    assert needed(view, "backend:two", FIND, {}) == {"backend:one"}
    assert needed(view, "tool:one/t", FIND, {}) == {"backend:one"}
    assert needed(view, "backend:one", FIND, {}) == set()
