"""What a bridge does for the time its instance is away."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onemcp.app.serving import BRIDGE_RETRY, bridge_configuration
from onemcp.app.trees import supervise
from onemcp.protocol.errors import BackendUnavailable
from tests.backend.core.pooled import World, able, settle

ANN = able("ann")


class Bridged(World):
    """The instance that a bridge leads to, supervised as the gateway does it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        (settings,) = bridge_configuration("http://127.0.0.1:1/mcp", None).backends
        super().__init__(nursery, timeouts=settings.timeouts, restart=settings.restart)
        self.supervisor = supervise("b", self.backend, None)

    async def be_lost(self) -> None:
        await self.nursery.start(self.supervisor.run)
        await self.backend.wait_ready()
        await settle()
        self.cannot_start = "connection refused"
        self.alive[0].end("it was stopped")
        await settle()
        assert not self.backend.is_up


async def test_a_call_is_sent_on_when_the_instance_is_back_soon(
    nursery: trio.Nursery, autojump_clock: MockClock
):
    bridged = Bridged(nursery)
    await bridged.be_lost()
    pending = bridged.begin(ANN)
    await trio.sleep(2)
    assert pending.waits
    bridged.cannot_start = None
    await bridged.backend.wait_ready()
    await settle()
    assert pending.exchange is not None
    nursery.cancel_scope.cancel()


async def test_a_call_fails_when_the_instance_stays_away(
    nursery: trio.Nursery, autojump_clock: MockClock
):
    bridged = Bridged(nursery)
    await bridged.be_lost()
    with trio.fail_after(60), pytest.raises(BackendUnavailable, match="connection refused"):
        await bridged.open(ANN)
    bridged.cannot_start = None
    with trio.fail_after(BRIDGE_RETRY + 1):
        while not bridged.backend.is_up:
            await bridged.backend.standing.change()
    nursery.cancel_scope.cancel()
