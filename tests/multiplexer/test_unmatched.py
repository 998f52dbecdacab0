"""Patterns of the configuration that match nothing that there is."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp import config
from onemcp.multiplexer import Arrangement, UnmatchedPattern
from tests.multiplexer.fakes import Server, World, resource, template, tool

LIST_CHANGED = "notifications/tools/list_changed"


def arrange(world: World, *views: config.View, **filters: config.Patterns) -> None:
    """Put views in force, and what is seen of the tools of some backends at all."""
    known = [
        attrs.evolve(backend.config, tools=filters.get(name, config.Patterns()))
        for name, backend in world.multiplexer.backends.items()
    ]
    world.multiplexer.arrange(Arrangement.of(config.Configuration(backends=known, views=views)))


def told(world: World) -> list[tuple[str, str]]:
    """Return which patterns have been told of since the last time."""
    events = [event for event in world.events if isinstance(event, UnmatchedPattern)]
    world.events.clear()
    return [(event.where, event.pattern) for event in events]


def standing(world: World) -> list[str]:
    return [each.pattern for each in world.multiplexer.unmatched]


VIEW = config.View(
    name="v",
    tools=config.WordedPatterns(
        allow=["one/[gs]et", "one/lost", "*/also_lost", "kept"],
        deny=["delete_*", "two/*"],
        override={"one/get": config.Wording(title="G"), "one/ge?": config.Wording(title="X")},
    ),
    prompts=config.WordedPatterns(allow=["*"], deny=["p"]),
)


async def test_each_is_told_of_once_with_the_place_where_it_stands(world: World):
    await world.show(Server("one", tools=[tool("get")]), Server("two", tools=[tool("kept")]))
    arrange(world, VIEW, two=config.Patterns(deny=["secret"]))
    assert told(world) == [
        ("views.v.tools.allow", "one/lost"),
        ("views.v.tools.allow", "*/also_lost"),
        ("views.v.tools.deny", "delete_*"),
        ("views.v.prompts.deny", "p"),
        ("views.v.tools.override", "one/ge?"),
        ("mcpServers.two.tools.deny", "secret"),
    ]
    assert len(world.multiplexer.unmatched) == 6
    arrange(world, VIEW, two=config.Patterns(deny=["secret"]))
    assert told(world) == []
    arrange(world, two=config.Patterns(deny=["other"]))
    assert told(world) == [("mcpServers.two.tools.deny", "other")]


async def test_it_is_judged_when_all_that_it_speaks_of_are_up(world: World):
    one, two = Server("one", tools=[tool("a")]), Server("two", tools=[tool("b")])
    two.gate = trio.Event()
    await world.show(one, two, wait=False)
    await wait_all_tasks_blocked()
    names = config.WordedPatterns(allow=["one/x", "b", "c"])
    arrange(world, config.View(name="v", tools=names))
    assert told(world) == [("views.v.tools.allow", "one/x")]
    two.gate.set()
    await wait_all_tasks_blocked()
    assert told(world) == [("views.v.tools.allow", "c")]


async def test_it_is_told_of_again_only_if_it_has_matched_meanwhile(
    autojump_clock: MockClock, world: World
):
    server = Server("one", tools=[tool("a")])
    await world.show(server)
    arrange(world, config.View(name="v", tools=config.WordedPatterns(allow=["a", "b"])))
    assert told(world) == [("views.v.tools.allow", "b")]

    server.crash(comes_back=True)
    await trio.sleep(1)
    assert (told(world), standing(world)) == ([], ["b"])
    for tools, heard, stand in (
        (["c"], ["a"], ["a", "b"]),
        (["b"], [], ["a"]),
        (["a"], ["b"], ["b"]),
    ):
        server.lists["tools"] = [tool(name) for name in tools]
        server.announce(LIST_CHANGED)
        await trio.sleep(1)
        assert [pattern for _, pattern in told(world)] == heard
        assert standing(world) == stand


async def test_a_list_that_has_not_changed_is_not_looked_at_again(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    await world.show(Server("one", tools=[tool("a")]), Server("two"))
    arrange(world, config.View(name="v", tools=config.WordedPatterns(allow=["b"])))
    monkeypatch.setattr("onemcp.multiplexer.unmatched.WatchedPattern.matches", None)
    for backend in world.multiplexer.backends.values():
        world.multiplexer.changed(backend)
    assert standing(world) == ["b"]


async def test_a_denied_uri_matches_in_every_spelling_and_templates_may_hide_anything(
    world: World,
):
    plain = Server("one", resources=[resource("x://Secret/%61")])
    vague = Server("two", resourceTemplates=[template("y://{path}")])
    await world.show(plain, vague)
    uris = config.Patterns(allow=["x://secret/?"], deny=["x://secret/a"])
    anything = config.Patterns(allow=["y://z"])
    arrange(
        world,
        config.View(name="v", backends=["one"], resources=uris),
        config.View(name="w", backends=["two"], resources=anything),
    )
    assert told(world) == [("views.v.resources.allow", "x://secret/?")]


async def test_what_is_about_no_server_that_is_enabled_is_not_judged(world: World):
    await world.show(Server("one"))
    backends = [world.multiplexer.backends["one"].config, Server("off").config]
    view = config.View(name="v", tools=config.WordedPatterns(allow=["off/a"]))
    configuration = config.Configuration(backends=backends, views=[view])
    world.multiplexer.arrange(Arrangement.of(configuration))
    assert told(world) == []
