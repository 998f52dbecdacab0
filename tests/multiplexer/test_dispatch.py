"""Requests find their backend, in both eras, or are refused with the code that says why."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from msgspec import Raw
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp.admission import Limits
from onemcp.multiplexer import contents as contents_module
from onemcp.protocol import errors
from onemcp.protocol.errors import (
    BackendUnavailable,
    InvalidParams,
    MethodNotFound,
    Overloaded,
    ProtocolError,
    ShuttingDown,
)
from onemcp.protocol.fields import raw
from onemcp.protocol.headers import MirroredParameter
from onemcp.protocol.jsonrpc import Failure, Notification, Request, Response
from tests.multiplexer.fakes import (
    Server,
    World,
    ask,
    ask_for_error,
    decoded,
    legacy,
    modern,
    nothing,
    receive_all,
    resource,
    result,
    send,
    tool,
)

ERAS = pytest.mark.parametrize("caller", [modern(), legacy()], ids=["modern", "legacy"])


@pytest.fixture
def server() -> Server:
    return Server(tools=[tool("t")], prompts=[{"name": "p"}])


@ERAS
@pytest.mark.parametrize(
    ("method", "kind", "name"), [("tools/call", "tools", "t"), ("prompts/get", "prompts", "p")]
)
async def test_a_call_reaches_its_backend_under_its_own_name(
    world: World, server: Server, *, caller, method, kind, name
):
    view = await world.show(Server("other", tools=[tool("t")], prompts=[{"name": "p"}]), server)
    params = {"name": f"alpha__{name}", "arguments": {"a": [1, None]}, "unheardOf": 1}
    assert (await ask(view, method, params, caller))["said"] == "alpha"
    assert server.last.call.method == method
    sent = {key: value for key, value in server.sent[-1].items() if key != "_meta"}
    assert sent == {**params, "name": name}
    assert world.multiplexer.in_flight == 0


@pytest.mark.requirement("basic/index#meta-1")
async def test_arguments_travel_byte_for_byte(world: World, server: Server):
    view = await world.show(server)
    odd = rb'{"name":"alpha__t","arguments":{"a":1.0e2, "b":"\u0041","n":12345678901234567890123}}'
    reply = await view.dispatch(Request("x", "tools/call", Raw(odd)), modern())
    await receive_all(reply)
    assert bytes(server.last.call.params["arguments"]) == odd[31:-1]


async def test_the_view_of_one_backend_has_bare_names(world: World, server: Server):
    await world.show(server, Server("other", tools=[tool("u")]))
    view = world.view("alpha")
    assert [item["name"] for item in (await ask(view, "tools/list"))["tools"]] == ["t"]
    await ask(view, "tools/call", {"name": "t"})
    with pytest.raises(InvalidParams):
        await send(view, "tools/call", {"name": "alpha__t"})
    with pytest.raises(InvalidParams):
        await send(view, "tools/call", {"name": "u"})


async def test_an_empty_prefix_exposes_a_backend_bare(world: World):
    view = await world.show(Server(prefix="", tools=[tool("t")]))
    assert [item["name"] for item in (await ask(view, "tools/list"))["tools"]] == ["t"]
    await ask(view, "tools/call", {"name": "t"})


@pytest.mark.requirement("server/prompts#error-handling-1")
@ERAS
@pytest.mark.parametrize(
    ("method", "params", "message"),
    [
        ("tools/call", {"name": "alpha__x"}, "Unknown tool: alpha__x"),
        ("tools/call", {"name": "t"}, "Unknown tool: t"),
        ("tools/call", {}, "params.name must be a string"),
        ("tools/call", {"name": 1}, "params.name must be a string"),
        ("prompts/get", {"name": "x"}, "Unknown prompt: x"),
        ("resources/read", {}, "params.uri must be a string"),
        ("completion/complete", {}, 'params.ref.type must be "ref/prompt" or "ref/resource"'),
        ("completion/complete", {"ref": 1}, "params.ref must be a JSON object"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}}, "Unknown prompt: x"),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "x:"}},
            "Unknown resource template: x:",
        ),
    ],
)
async def test_what_nobody_knows_is_an_invalid_parameter(
    world: World, server: Server, *, caller, method, params, message
):
    view = await world.show(server)
    with pytest.raises(InvalidParams) as caught:
        await send(view, method, params, caller)
    assert (caught.value.code, caught.value.message) == (-32602, message)
    assert world.multiplexer.in_flight == 0


@pytest.mark.requirement(
    "server/prompts#implementation-considerations-3", "server/utilities/completion#error-handling-1"
)
@ERAS
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/list", {}),
        ("tools/call", {"name": "x"}),
        ("prompts/list", {}),
        ("prompts/get", {"name": "x"}),
        ("resources/list", {}),
        ("resources/templates/list", {}),
        ("resources/read", {"uri": "x:"}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}}),
        ("unheard/of", {}),
        ("notifications/cancelled", {}),
    ],
)
async def test_a_method_that_no_backend_offers_is_not_found(world: World, caller, method, params):
    view = await world.show(Server(capabilities={"logging": {}}))
    with pytest.raises(MethodNotFound) as caught:
        await send(view, method, params, caller)
    assert caught.value.code == -32601
    assert method in caught.value.message


async def test_ping_is_answered_in_the_legacy_era_only(world: World):
    view = await world.show(Server())
    assert await ask(view, "ping", {}, legacy()) == {}
    with pytest.raises(MethodNotFound):
        await send(view, "ping", {}, modern())


@pytest.mark.parametrize("method", ["server/discover", "subscriptions/listen"])
async def test_modern_methods_do_not_exist_for_legacy_clients(world: World, method: str):
    view = await world.show(Server())
    with pytest.raises(MethodNotFound):
        await send(view, method, {"notifications": {}}, legacy())


async def test_an_immediate_reply_asks_and_holds_nothing(world: World):
    reply = await send(await world.show(Server()), "server/discover")
    assert not reply.answer(Response(1, Raw(b"{}")))
    first = await reply.receive()
    reply.close()
    assert await reply.receive() is first


@pytest.mark.requirement("basic/index#result-responses-1")
async def test_the_id_of_the_client_comes_back_as_it_is(world: World, server: Server):
    view = await world.show(server)
    for request_id in (0, -1, "", "7", 2**53):
        request = Request(request_id, "tools/call", raw({"name": "alpha__t"}))
        (answer,) = await receive_all(await view.dispatch(request, modern()))
        assert answer.id == request_id
        assert type(answer.id) is type(request_id)


async def test_mirrored_parameters_are_found_by_exposed_name(world: World):
    schema = {"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": "Region"}}}
    view = await world.show(Server(tools=[tool("t") | {"inputSchema": schema}, tool("u")]))
    assert view.mirrored("alpha__t") == (MirroredParameter(("r",), "Region"),)
    assert view.mirrored("alpha__u") == view.mirrored("nobody") == ()


async def test_a_broken_meta_is_refused_and_nothing_is_left_in_flight(world: World, server: Server):
    view = await world.show(server)
    with pytest.raises(InvalidParams):
        await send(view, "tools/call", {"name": "alpha__t", "_meta": 1})
    with pytest.raises(InvalidParams):
        await send(view, "tools/call", {"name": "alpha__t", "_meta": {"progressToken": []}})
    assert world.multiplexer.in_flight == 0


# --- backends that are not up ----------------------------------------------------------------


async def test_a_call_waits_for_a_backend_that_is_coming_back(world: World, server: Server):
    view = await world.show(server)
    server.crash()
    await wait_all_tasks_blocked()
    assert (await ask(view, "tools/list"))["tools"][0]["name"] == "alpha__t"
    answers = []

    async def call() -> None:
        answers.append(await ask(view, "tools/call", {"name": "alpha__t"}))

    world.nursery.start_soon(call)
    await wait_all_tasks_blocked()
    assert (answers, world.multiplexer.in_flight) == ([], 1)
    server.gate.set()
    await wait_all_tasks_blocked()
    assert (answers[0]["said"], world.multiplexer.in_flight) == ("alpha", 0)


async def test_a_call_waits_no_longer_than_its_own_deadline(
    world: World, server: Server, autojump_clock: MockClock
):
    view = await world.show(server)
    server.crash()
    await wait_all_tasks_blocked()
    with pytest.raises(BackendUnavailable, match=r"'alpha' did not come up in time: it crashed"):
        await send(view, "tools/call", {"name": "alpha__t"})
    assert trio.current_time() == pytest.approx(60)
    assert world.multiplexer.in_flight == 0


async def test_a_backend_given_up_fails_calls_that_wait_and_its_names_go(
    world: World, server: Server
):
    view = await world.show(server)
    server.crash()
    await wait_all_tasks_blocked()
    failures = []

    async def call() -> None:
        try:
            await send(view, "tools/call", {"name": "alpha__t"})
        except ProtocolError as error:
            failures.append(decoded(error.error))

    world.nursery.start_soon(call)
    await wait_all_tasks_blocked()
    world.multiplexer.backends["alpha"].give_up()
    await wait_all_tasks_blocked()
    assert failures == [{"code": -33001, "message": "backend 'alpha' is down: it crashed"}]
    assert (await ask(view, "tools/list"))["tools"] == []
    assert world.multiplexer.in_flight == 0


async def test_a_name_that_a_dead_backend_may_have_is_not_called_unknown(
    world: World, server: Server
):
    other = Server("other", tools=[tool("u")])
    view = await world.show(server, other)
    server.crash()
    await wait_all_tasks_blocked()
    world.multiplexer.backends["alpha"].give_up()
    with pytest.raises(BackendUnavailable, match="because backend 'alpha' is not up: it crashed"):
        await send(view, "tools/call", {"name": "alpha__t"})
    with pytest.raises(InvalidParams, match="Unknown tool: other__t"):
        await send(view, "tools/call", {"name": "other__t"})


FIRST_CALLS = [
    ("tools/call", {"name": "coming__t", "arguments": {}}),
    ("resources/read", {"uri": "x://r"}),
]


@pytest.mark.parametrize(("method", "params"), FIRST_CALLS)
async def test_what_a_starting_backend_may_have_is_waited_for(
    world: World, method: str, params: dict[str, Any]
):
    coming = Server("coming", tools=[tool("t")], resources=[resource("x://r")])
    coming.handlers[method] = result({"said": "here"}, era_fields=True)
    coming.gate = trio.Event()
    view = await world.show(coming, wait=False)
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await ask(view, method, params))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        assert answers == []
        coming.gate.set()
    assert answers[0]["said"] == "here"


@pytest.mark.parametrize(("method", "params"), FIRST_CALLS)
async def test_a_backend_that_fails_to_start_is_waited_for_no_longer(
    world: World, method: str, params: dict[str, Any]
):
    coming = Server("coming")
    coming.gate = trio.Event()
    view = await world.show(coming, wait=False)
    failed: list[Any] = []

    async def call() -> None:
        with pytest.raises(ProtocolError) as caught:
            await send(view, method, params)
        failed.append(caught.value.code)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        assert failed == []
        world.multiplexer.backends["coming"].give_up()
    assert failed[0] in {-33001, -32602}


async def test_other_names_don_t_wait_for_a_starting_backend(world: World):
    coming = Server("coming")
    coming.gate = trio.Event()
    view = await world.show(coming, wait=False)
    with pytest.raises(InvalidParams, match="Unknown tool: other__t"):
        await send(view, "tools/call", {"name": "other__t"})


async def test_a_backend_that_dies_with_the_call_fails_it_as_it_may_have_acted(
    world: World, server: Server
):
    server.handlers["tools/call"] = nothing
    view = await world.show(server)
    reply = await send(view, "tools/call", {"name": "alpha__t"})
    server.crash()
    error = (await receive_all(reply))[-1]
    assert isinstance(error, Failure)
    assert decoded(error.error)["code"] == errors.BackendLost.code
    assert world.multiplexer.in_flight == 0


# --- deadlines and limits --------------------------------------------------------------------


@pytest.mark.requirement(
    "basic/patterns/cancellation#timeouts-1",
    "basic/patterns/cancellation#timeouts-2",
    "server/tools#security-considerations-2",
)
@ERAS
async def test_a_call_without_an_answer_ends_at_its_deadline_and_is_cancelled_upstream(
    world: World, caller, autojump_clock: MockClock
):
    server = Server(tools=[tool("t")], call_timeout=2.5)
    server.handlers["tools/call"] = nothing
    view = await world.show(server)
    error = await ask_for_error(view, "tools/call", {"name": "alpha__t"}, caller)
    assert error == {
        "code": -33003,
        "message": "backend 'alpha' did not answer within 2.5 s; it may or may not have acted",
    }
    assert trio.current_time() == pytest.approx(2.5)
    assert server.cancelled == server.calls
    assert world.multiplexer.in_flight == 0


@pytest.mark.requirement("basic/patterns/cancellation#timeouts-4")
async def test_progress_does_not_put_the_deadline_off(world: World, autojump_clock: MockClock):
    server = Server(tools=[tool("t")], call_timeout=2.5)
    server.handlers["tools/call"] = nothing
    reply = await send(await world.show(server), "tools/call", {"name": "alpha__t"})
    note = Notification("notifications/progress", raw({"progressToken": 1, "progress": 1}))
    for _ in range(4):
        await trio.sleep(0.5)
        server.last.deliver(note)
    *before, last = await receive_all(reply)
    assert trio.current_time() == pytest.approx(2.5)
    assert before
    assert decoded(last.error)["code"] == -33003


async def test_the_limit_of_calls_in_flight_is_kept_and_nothing_else_is(
    world: World, server: Server
):
    server.handlers["tools/call"] = nothing
    view = await world.show(server)
    limits = Limits(in_flight=1, queued=0)
    world.multiplexer.reconfigure(world.multiplexer.identity, separator="__", limits=limits)
    reply = await send(view, "tools/call", {"name": "alpha__t"})
    with pytest.raises(Overloaded) as caught:
        await send(view, "tools/call", {"name": "alpha__t"})
    assert caught.value.code == -33004
    await ask(view, "tools/list")
    reply.close()
    reply.close()
    assert world.multiplexer.in_flight == 0
    (await send(view, "tools/call", {"name": "alpha__t"})).close()


async def test_the_limit_of_one_backend_is_its_own(world: World):
    busy = Server("busy", tools=[tool("t")], in_flight=1, queued=0)
    busy.handlers["tools/call"] = nothing
    view = await world.show(busy, Server("idle", tools=[tool("t")]))
    reply = await send(view, "tools/call", {"name": "busy__t"})
    with pytest.raises(Overloaded, match="'busy'"):
        await send(view, "tools/call", {"name": "busy__t"})
    await ask(view, "tools/call", {"name": "idle__t"})
    reply.close()
    assert world.multiplexer.in_flight == 0


async def test_a_stopped_gateway_takes_no_calls_and_no_subscriptions_but_ends_those_it_has(
    world: World, server: Server
):
    server.handlers["tools/call"] = nothing
    view = await world.show(server)
    reply = await send(view, "tools/call", {"name": "alpha__t"})
    world.multiplexer.stop()
    for method, params in (
        ("tools/call", {"name": "alpha__t"}),
        ("subscriptions/listen", {"notifications": {}}),
    ):
        with pytest.raises(ShuttingDown) as caught:
            await send(view, method, params)
        assert caught.value.code == -33008
    server.last.finish(Response(server.last.id, Raw(b'{"resultType":"complete"}')))
    assert isinstance((await receive_all(reply))[-1], Response)


async def test_a_call_that_waits_for_a_backend_goes_on_at_the_one_that_replaces_it(
    world: World, server: Server
):
    view = await world.show(server)
    old = world.multiplexer.backends["alpha"]
    server.crash()
    await wait_all_tasks_blocked()
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await ask(view, "tools/call", {"name": "alpha__t"}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        again = Server(tools=[tool("t")])
        again.handlers["tools/call"] = result({"said": "by the other one"}, era_fields=True)
        await world.show(again)
        await old.drain()
    assert answers[0]["said"] == "by the other one"
    assert world.multiplexer.in_flight == 0


async def test_a_backend_that_is_replaced_takes_no_calls(world: World, server: Server):
    view = await world.show(server)
    world.nursery.start_soon(world.multiplexer.backends["alpha"].drain)
    await wait_all_tasks_blocked()
    with pytest.raises(ShuttingDown):
        await send(view, "tools/call", {"name": "alpha__t"})
    assert world.multiplexer.in_flight == 0


# --- the hot path ----------------------------------------------------------------------------


async def test_a_call_builds_no_table_and_unites_no_capabilities(
    world: World, server: Server, monkeypatch: pytest.MonkeyPatch
):
    view = await world.show(server)
    await ask(view, "tools/list")

    def forbidden(*_: object) -> None:
        raise AssertionError("this is too slow for every call")

    monkeypatch.setattr(contents_module, "build", forbidden)
    monkeypatch.setattr(contents_module.description, "capabilities", forbidden)
    await ask(view, "tools/call", {"name": "alpha__t"})
    await ask(view, "tools/list")


async def test_a_restart_that_changes_nothing_builds_no_table(world: World, server: Server):
    view = await world.show(server)
    table = view.contents.table
    server.crash(comes_back=True)
    await wait_all_tasks_blocked()
    assert view.contents.table is table
    json.dumps(await ask(view, "tools/call", {"name": "alpha__t"}))
