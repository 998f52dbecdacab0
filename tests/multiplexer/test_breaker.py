"""The circuit breaker as clients and the way to a backend meet it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onemcp import config
from onemcp.backend import BreakerState
from onemcp.backend.breaker import SHORTEST
from onemcp.protocol.jsonrpc import Response
from tests.multiplexer.fakes import (
    Server,
    World,
    ask_for_error,
    modern,
    nothing,
    receive_all,
    resource,
    send,
    tool,
)

CALL = ("tools/call", {"name": "alpha__t"})
OPEN, LOST, SLOW, DOWN = -33011, -33002, -33003, -33001


@pytest.fixture
def server() -> Server:
    """A server that hangs, behind a breaker that opens after two calls."""
    server = Server(tools=[tool("t")], resources=[resource("x://1")], call_timeout=60.0)
    server.handlers["tools/call"] = nothing
    breaker = config.Breaker(failures=2, cooldown=10.0 / SHORTEST)
    server.config = attrs.evolve(server.config, breaker=breaker)
    return server


async def failing(world: World, server: Server) -> Any:
    """Show the server, and let its breaker open."""
    view = await world.show(server)
    for _ in range(2):
        assert (await ask_for_error(view, *CALL))["code"] == SLOW
    return view


async def test_a_backend_that_hangs_is_not_waited_for_again_and_again(
    world: World, server: Server, autojump_clock: MockClock
):
    view = await failing(world, server)
    now = trio.current_time()
    with pytest.raises(Exception, match=r"'alpha' has failed too often.*tried again in 10 s"):
        await send(view, *CALL)
    assert trio.current_time() == now
    assert len(server.calls) == 2
    await trio.sleep(10.1)
    backend = world.multiplexer.backends["alpha"]
    assert backend.breaker.state is BreakerState.HALF_OPEN
    server.handlers = {}
    assert isinstance((await receive_all(await send(view, *CALL)))[-1], Response)
    assert backend.breaker.is_closed


async def test_its_names_stay_and_its_lists_are_kept(
    world: World, server: Server, autojump_clock: MockClock
):
    view = await failing(world, server)
    (page,) = await receive_all(await send(view, "tools/list"))
    assert b"alpha__t" in bytes(page.result)


async def test_a_call_does_not_wait_for_a_restart_to_be_refused_then(
    world: World, server: Server, autojump_clock: MockClock
):
    view = await failing(world, server)
    server.crash()
    await wait_all_tasks_blocked()
    now = trio.current_time()
    with pytest.raises(Exception, match="has failed too often"):
        await send(view, *CALL)
    assert trio.current_time() == now


async def test_calls_that_wait_for_a_restart_do_not_all_go_to_a_half_open_backend(
    world: World, server: Server, autojump_clock: MockClock
):
    view = await failing(world, server)
    server.crash()
    await trio.sleep(10.1)
    replies: list[Any] = []
    codes: list[Any] = []

    async def call() -> None:
        try:
            replies.append(await send(view, *CALL))
        except Exception as error:  # noqa: BLE001 - looked at below
            codes.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call)
        await wait_all_tasks_blocked()
        server.gate.set()
    assert len(replies) == 1
    assert [error.code for error in codes] == [OPEN, OPEN]
    replies[0].close()


async def test_what_is_known_to_be_down_says_so_and_not_that_it_is_tried_again_soon(
    world: World, server: Server, autojump_clock: MockClock
):
    view = await failing(world, server)
    server.crash()
    await wait_all_tasks_blocked()
    backend = world.multiplexer.backends["alpha"]
    await backend.quiesce(1.0, stays_down=True)
    with pytest.raises(Exception, match="stopped by an operator"):
        await send(view, *CALL)
    backend.renew()
    assert backend.breaker.is_closed


async def test_one_crash_that_takes_many_calls_opens_nothing(
    world: World, server: Server, autojump_clock: MockClock
):
    view = await world.show(server)
    replies = [await send(view, *CALL, modern()) for _ in range(64)]
    await trio.sleep(1)
    server.crash(comes_back=True)
    await wait_all_tasks_blocked()
    for reply in replies:
        await receive_all(reply)
    assert world.multiplexer.backends["alpha"].breaker.is_closed
