"""Which calls are made again when the backend went away with them in flight, and which never."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp import config
from onemcp.multiplexer import CallRepeated
from onemcp.protocol.errors import BackendUnavailable
from onemcp.protocol.fields import raw
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from onemcp.protocol.revisions import LATEST_LEGACY
from tests.multiplexer.fakes import (
    ANSWERING,
    Server,
    World,
    decoded,
    failure,
    legacy,
    modern,
    nothing,
    receive_all,
    resource,
    send,
    tool,
)

TOOLS = "notifications/tools/list_changed"
LOST = -33002


def reader(name: str = "t", **hints: bool) -> dict[str, Any]:
    return tool(name, annotations=hints or {"readOnlyHint": True})


def server_with(*tools: dict[str, Any], **more: Any) -> Server:
    server = Server(tools=list(tools or [reader()]), **more)
    server.handlers["tools/call"] = nothing
    return server


def configured(server: Server, **retry: Any) -> Server:
    server.config = attrs.evolve(server.config, retry=config.Retry(**retry))
    return server


async def calling(
    world: World,
    server: Server,
    method: str = "tools/call",
    params: dict[str, Any] | None = None,
    caller: Any = None,
) -> tuple[Any, list[Any]]:
    """Begin a call; return its reply, and a list that its messages get into."""
    view = await world.show(server)
    reply = await send(view, method, params or {"name": "alpha__t"}, caller)
    messages: list[Any] = []

    async def receive() -> None:
        messages.extend(await receive_all(reply))

    world.nursery.start_soon(receive)
    await wait_all_tasks_blocked()
    return reply, messages


async def crash(server: Server, *, comes_back: bool = True) -> None:
    server.crash(comes_back=comes_back)
    await wait_all_tasks_blocked()


def answer(server: Server, value: object) -> None:
    server.last.finish(Response(server.last.id, raw(value)))


def code_of(message: Any) -> int:
    assert isinstance(message, Failure), message
    return int(decoded(message.error)["code"])


@pytest.mark.parametrize("hint", ["readOnlyHint", "idempotentHint"])
async def test_a_call_that_may_be_made_twice_is_answered_by_the_next_incarnation(
    world: World, hint: str
):
    server = server_with(reader(**{hint: True}))
    _, messages = await calling(world, server)
    await crash(server)
    answer(server, {"run": 2})
    await wait_all_tasks_blocked()
    assert decoded(messages[0].result)["run"] == 2
    assert len(server.calls) == 2
    assert server.sent[0]["name"] == server.sent[1]["name"] == "t"
    assert world.multiplexer.in_flight == 0
    (event,) = [event for event in world.events if isinstance(event, CallRepeated)]
    assert (event.backend, event.method) == ("alpha", "tools/call")


@pytest.mark.parametrize(
    "listed",
    [
        tool("t"),
        reader(destructiveHint=False),
        reader(readOnlyHint=False),
        tool("t", annotations=1),
    ],
    ids=["silent", "not destructive", "no reader", "nonsense"],
)
async def test_any_other_call_fails_once_and_says_that_it_may_have_acted(
    world: World, listed: dict[str, Any]
):
    server = server_with(listed)
    _, messages = await calling(world, server)
    await crash(server)
    assert [code_of(message) for message in messages] == [LOST]
    assert "may or may not have acted" in decoded(messages[0].error)["message"]
    assert len(server.calls) == 1


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "x://1"}),
        ("prompts/get", {"name": "alpha__p"}),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "alpha__p"}, "argument": {}},
        ),
    ],
)
async def test_what_only_reads_by_its_method_is_made_again(
    world: World, method: str, params: dict[str, Any]
):
    server = Server(resources=[resource("x://1")], prompts=[{"name": "p"}])
    server.handlers[method] = nothing
    configured(server, tools="none")
    _, messages = await calling(world, server, method, params)
    await crash(server)
    answer(server, {})
    await wait_all_tasks_blocked()
    assert isinstance(messages[0], Response)


@pytest.mark.parametrize(("attempts", "made"), [(0, 1), (1, 2), (3, 4)])
async def test_a_call_is_made_again_so_often_and_no_more(world: World, attempts: int, made: int):
    server = configured(server_with(), attempts=attempts)
    _, messages = await calling(world, server)
    for _ in range(attempts + 1):
        assert messages == []
        await crash(server)
    assert [code_of(message) for message in messages] == [LOST]
    assert len(server.calls) == made


@pytest.mark.parametrize(
    ("tools", "listed", "made"), [("all", tool("t"), 2), ("none", reader(), 1)]
)
async def test_the_configuration_has_the_last_word_on_tools(
    world: World, tools: str, listed: dict[str, Any], made: int
):
    server = configured(server_with(listed), tools=tools)
    await calling(world, server)
    await crash(server)
    assert len(server.calls) == made


@pytest.mark.parametrize(
    "said",
    [
        Notification("notifications/progress", raw({"progressToken": 1, "progress": 1})),
        Notification("notifications/message", raw({"level": "error", "data": 1})),
        Request(5, "elicitation/create", raw({"message": "Who?", "requestedSchema": {}})),
    ],
    ids=["progress", "log", "question"],
)
async def test_nothing_is_made_again_whose_client_has_got_anything_of_it(world: World, said: Any):
    server = server_with(revision=LATEST_LEGACY)
    caller = legacy(capabilities=ANSWERING, log_level="debug")
    _, messages = await calling(world, server, caller=caller)
    server.last.deliver(said)
    await wait_all_tasks_blocked()
    await crash(server)
    assert [type(message) for message in messages[:-1]] == [type(said)]
    assert code_of(messages[-1]) == LOST
    assert [call.call.method for call in server.calls].count("tools/call") == 1


async def test_what_the_client_does_not_get_is_no_beginning(world: World):
    server = server_with()
    _, messages = await calling(world, server)
    unwanted = Notification("notifications/message", raw({"level": "error", "data": 1}))
    server.last.deliver(unwanted)
    await wait_all_tasks_blocked()
    await crash(server)
    answer(server, {})
    await wait_all_tasks_blocked()
    assert [type(message) for message in messages] == [Response]


async def test_the_log_level_is_set_again_before_a_call_is_made_again(world: World):
    server = server_with(revision=LATEST_LEGACY)
    _, messages = await calling(world, server, caller=legacy(log_level="debug"))
    await crash(server)
    answer(server, {})
    await wait_all_tasks_blocked()
    assert isinstance(messages[0], Response)
    methods = [call.call.method for call in server.calls]
    assert methods == ["logging/setLevel", "tools/call"] * 2


async def test_a_call_with_a_state_of_the_backend_is_made_once(world: World):
    server = server_with()
    params = {"name": "alpha__t", "requestState": "s", "inputResponses": {}}
    _, messages = await calling(world, server, params=params, caller=modern(capabilities=ANSWERING))
    await crash(server)
    assert code_of(messages[0]) == LOST
    assert len(server.calls) == 1


async def test_an_error_of_the_backend_itself_is_its_answer(world: World):
    server = server_with()
    server.handlers["tools/call"] = failure(LOST, "not really")
    _, messages = await calling(world, server)
    assert decoded(messages[0].error)["message"] == "not really"
    assert len(server.calls) == 1


async def test_a_call_that_was_not_processed_waits_for_the_next_connection(world: World):
    server = server_with(tool("t"))
    _, messages = await calling(world, server)
    assert server.connection is not None
    server.connection.server = None  # as of a connection that is about to say why it ends
    server.last.fail(BackendUnavailable("its session had ended"))
    await crash(server)
    answer(server, {})
    await wait_all_tasks_blocked()
    assert isinstance(messages[0], Response)


async def test_a_call_that_was_refused_by_a_live_backend_is_not_made_again(world: World):
    server = server_with()
    _, messages = await calling(world, server)
    server.last.fail(BackendUnavailable("it is not available (HTTP 503)"))
    await wait_all_tasks_blocked()
    assert [code_of(message) for message in messages] == [-33001]
    assert len(server.calls) == 1


async def test_one_deadline_covers_all_attempts_and_the_wait_between(
    world: World, autojump_clock: MockClock
):
    server = server_with(call_timeout=60.0)
    begun = trio.current_time()
    reply = await send(await world.show(server), "tools/call", {"name": "alpha__t"})
    await trio.sleep(40)
    server.crash()
    messages = await receive_all(reply)
    assert trio.current_time() == begun + 60
    assert [code_of(message) for message in messages] == [-33003]
    assert "may or may not have acted" in decoded(messages[0].error)["message"]


async def test_a_backend_given_up_meanwhile_leaves_the_outcome_unknown(world: World):
    server = server_with()
    _, messages = await calling(world, server)
    await crash(server, comes_back=False)
    assert messages == []
    world.multiplexer.backends["alpha"].give_up()
    await wait_all_tasks_blocked()
    assert [code_of(message) for message in messages] == [LOST]


async def test_a_client_that_goes_while_its_call_waits_is_forgotten(world: World):
    server = server_with()
    reply, messages = await calling(world, server)
    await crash(server, comes_back=False)
    reply.close()
    server.gate.set()
    await wait_all_tasks_blocked()
    assert [exchange.finished for exchange in server.calls[1:]] in ([], [True])
    assert code_of(messages[0]) == -33009
    assert world.multiplexer.in_flight == 0


# --- what subscribers hear of a restart ------------------------------------------------------


async def test_a_restart_tells_of_a_list_only_where_it_has_changed(world: World):
    server = server_with()
    view = await world.show(server)
    subscriber = await view.subscribe(frozenset({TOOLS}))
    for tools, told in ([server.lists["tools"], False], [[reader(), reader("u")], True]):
        server.lists["tools"] = tools
        await crash(server)
        with trio.move_on_after(0.01) as silence:
            assert (await subscriber.receive()).method == TOOLS
        assert silence.cancelled_caught is not told
    subscriber.close()
