"""What onemcp says about itself and about everything behind it."""

from __future__ import annotations

import pytest
import trio

from onemcp.admission import Limits
from onemcp.multiplexer import SelfDescription
from onemcp.multiplexer.description import UNKNOWN
from onemcp.protocol.revisions import LEGACY_REVISIONS, V2025_11_25
from tests.multiplexer.fakes import ABILITIES, Server, World, ask, decoded, legacy


@pytest.mark.requirement(
    "basic/index#result-responses-3",
    "server/discover#introduction-1",
    "server/discover#discoverresult-1",
    "server/utilities/caching#cacheable-results-1",
)
async def test_discover_names_onemcp_its_revisions_and_its_caching(world: World):
    view = await world.show(Server(capabilities={"tools": {}}))
    assert await ask(view, "server/discover") == {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28", *reversed(LEGACY_REVISIONS)],
        "capabilities": {"tools": {"listChanged": True}},
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "onemcp", "version": "1.2.3"}},
        "ttlMs": 0,
        "cacheScope": "private",
        "instructions": "Be brief.",
    }


@pytest.mark.requirement("basic/index#meta-13")
@pytest.mark.parametrize(
    "method",
    ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"],
)
async def test_every_result_of_onemcp_says_who_it_is(world: World, method: str):
    view = await world.show(Server())
    found = await ask(view, method)
    about = {"name": "onemcp", "version": "1.2.3"}
    assert found["_meta"] == {"io.modelcontextprotocol/serverInfo": about}
    if method != "server/discover":
        assert "_meta" not in await ask(view, method, caller=legacy())


@pytest.mark.parametrize("revision", LEGACY_REVISIONS)
async def test_initialize_answers_in_the_agreed_revision_without_modern_fields(
    world: World, revision: str
):
    extensions = {"io.example/x": {}}
    view = await world.show(Server(capabilities={"tools": {}, "extensions": extensions}))
    assert decoded(view.initialize(revision)) == {
        "protocolVersion": revision,
        # Extensions are older than the field that declares them: servers of 2025 have them too.
        "capabilities": {"tools": {"listChanged": True}, "extensions": extensions},
        "serverInfo": {"name": "onemcp", "version": "1.2.3"},
        "instructions": "Be brief.",
    }
    assert decoded(view.contents.discover())["capabilities"]["extensions"] == extensions


@pytest.mark.requirement(
    "server/prompts#capabilities-1",
    "server/resources#capabilities-1",
    "server/tools#capabilities-1",
    "server/utilities/completion#capabilities-1",
    "server/utilities/logging#capabilities-1",
)
async def test_what_one_backend_can_do_all_can_do_together(world: World):
    one = Server("one", capabilities={"tools": {}, "experimental": {"x": {}}})
    two = Server(
        "two",
        capabilities={
            "resources": {"subscribe": True},
            "completions": {},
            "extensions": {"io.example/b": {"v": 1}},
        },
    )
    view = await world.show(one, two)
    assert view.contents.capabilities == {
        "tools": {"listChanged": True},
        "experimental": {"x": {}},
        "resources": {"subscribe": True, "listChanged": True},
        "completions": {},
        "extensions": {"io.example/b": {"v": 1}},
    }
    assert world.view("one").contents.capabilities == {
        "tools": {"listChanged": True},
        "experimental": {"x": {}},
    }


@pytest.mark.requirement("basic/versioning#extension-negotiation-2")
async def test_tasks_are_advertised_in_the_design_that_the_client_has(world: World):
    tasks = "io.modelcontextprotocol/tasks"
    old = {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}
    # A list is onemcp's own: what a backend lists are everybody's tasks.
    offered = {"cancel": {}, "requests": old["requests"]}
    both = {"tools": {}, "tasks": offered, "extensions": {tasks: {}, "io.example/x": {}}}
    shown = {}
    for revision in ("2026-07-28", "2025-11-25", "2025-06-18"):
        view = await world.show(Server(revision, revision=revision, capabilities=both))
        shown[revision] = {
            client: view.contents.declared(client)
            for client in ("2026-07-28", "2025-11-25", "2025-06-18")
        }
    other = {"tools": {"listChanged": True}, "extensions": {"io.example/x": {}}}
    experimental = {**other, "tasks": old}
    extension = {**other, "extensions": {tasks: {}, "io.example/x": {}}}
    assert shown == {
        "2026-07-28": {"2026-07-28": extension, "2025-11-25": experimental, "2025-06-18": other},
        "2025-11-25": {"2026-07-28": extension, "2025-11-25": experimental, "2025-06-18": other},
        "2025-06-18": {"2026-07-28": other, "2025-11-25": other, "2025-06-18": other},
    }


async def test_nonsense_of_one_backend_does_not_spoil_the_whole(world: World):
    bad = Server("bad", capabilities={"tools": True, "prompts": 1, "extensions": [], "unheard": 5})
    view = await world.show(bad, Server("good", capabilities={"tools": {}}))
    assert view.contents.capabilities == {"tools": {"listChanged": True}, "unheard": 5}


async def test_a_backend_not_connected_yet_promises_everything(world: World):
    coming = Server("coming", capabilities={})
    coming.gate = trio.Event()
    view = await world.show(coming, wait=False)
    assert view.contents.capabilities == UNKNOWN
    assert UNKNOWN["tools"] == {"listChanged": True}
    coming.gate.set()
    await world.multiplexer.backends["coming"].wait_ready()
    assert view.contents.capabilities == {}


async def test_a_backend_given_up_before_it_ever_came_up_promises_everything_still(world: World):
    # A legacy client asks only once, and the supervisor tries again after a pause.
    dead = Server("dead")
    dead.gate = trio.Event()
    view = await world.show(dead, wait=False)
    world.multiplexer.backends["dead"].give_up()
    assert view.contents.capabilities == UNKNOWN


async def test_a_backend_that_went_away_keeps_its_promise(world: World):
    server = Server(capabilities={"prompts": {}})
    view = await world.show(server)
    server.crash()
    await trio.testing.wait_all_tasks_blocked()
    world.multiplexer.backends["alpha"].give_up()
    assert view.contents.capabilities == {"prompts": {"listChanged": True}}


async def test_instructions_stand_under_the_names_of_their_backends(world: World):
    view = await world.show(
        Server("one", instructions="First."), Server("two"), Server("three", instructions="Third.")
    )
    told = decoded(view.contents.discover())["instructions"]
    assert told == "Be brief.\n\n# one\n\nFirst.\n\n# three\n\nThird."
    assert decoded(view.initialize(V2025_11_25))["instructions"] == told


async def test_the_view_of_one_backend_has_its_own_words_bare(world: World):
    await world.show(Server("one", instructions="First."), Server("two"))
    assert decoded(world.view("one").contents.discover())["instructions"] == "First."
    assert "instructions" not in decoded(world.view("two").contents.discover())


async def test_without_any_words_there_are_no_instructions(world: World):
    view = await world.show(Server())
    world.multiplexer.reconfigure(SelfDescription("x", "0"), separator="__", limits=Limits())
    assert "instructions" not in decoded(view.contents.discover())
    assert "instructions" not in decoded(view.initialize(V2025_11_25))
    assert decoded(view.initialize(V2025_11_25))["serverInfo"]["name"] == "x"


async def test_capabilities_are_united_once_for_each_state(world: World):
    view = await world.show(Server(capabilities=ABILITIES))
    assert view.contents.capabilities is view.contents.capabilities
    before = view.contents.capabilities
    await ask(view, "tools/list", {}, legacy())
    assert view.contents.capabilities is before
    await world.show(Server("other", capabilities={"tools": {}}))
    assert view.contents.capabilities == {"tools": {"listChanged": True}}
