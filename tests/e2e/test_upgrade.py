"""A service is replaced under load, and no client notices.

The test is the service manager: it holds the socket, and hands it to the old process and to the
new one. The clients put up with nothing: an error, a connection that breaks, or a session that is
gone ends the test.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from tests.support.activation import Manager, managing
from tests.support.clients import Clients, LegacyClient, ModernClient, clients
from tests.support.gates import gate
from tests.support.load import Load, load
from tests.support.running import configuration, program

PATIENCE = 60.0
DOCUMENT = configuration({"it": program()}, server={"shutdownGrace": 20})


@attrs.define
class Service:
    """A service under load: its manager, its process of now, and its clients."""

    manager: Manager
    process: trio.Process
    clients: Clients
    load: Load
    _stack: AsyncExitStack

    async def start(self, *options: str) -> trio.Process:
        process = await self._stack.enter_async_context(self.manager.service(*options))
        await self.manager.hears("READY=1")
        return process

    async def replace(self) -> None:
        """Start the next process once this one has ended, as `systemctl restart` does."""
        self.process.send_signal(signal.SIGTERM)
        assert await self.process.wait() == 0
        self.process = await self._stack.enter_async_context(self.manager.service())


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[Service]:
    with trio.fail_after(PATIENCE):
        async with managing(folder) as manager, AsyncExitStack() as stack:
            manager.configure(DOCUMENT)
            process = await stack.enter_async_context(manager.service())
            await manager.hears("READY=1")
            url = f"{manager.url}/mcp"
            async with clients(url) as session, load(session, "it__echo") as running:
                yield Service(manager, process, session, running, stack)


async def test_a_service_that_is_restarted_loses_no_request_and_no_session(short_folder):
    async with serving(short_folder) as service, gate() as held_up, trio.open_nursery() as nursery:
        legacy, modern = await service.clients.legacy(), service.clients.modern()
        answers: list[str] = []

        async def hold(client: LegacyClient | ModernClient) -> None:
            answers.append(await client.call("it__hold", gate=held_up.port, message="held"))

        async with legacy.notifications() as of_legacy, modern.notifications() as of_modern:
            held = []
            for client in (legacy, modern):
                nursery.start_soon(hold, client)
                held.append(await held_up.arrived())
            nursery.start_soon(service.replace)
            assert [each async for each in of_legacy] == []
            *_, last = [each async for each in of_modern]
            assert last["result"]["resultType"] == "complete"
            for each in held:
                await each.release()
        await service.manager.hears("READY=1")
        await service.load.turn()
        assert answers == ["held", "held"]
        # The session is the same, and its client learns that it may have missed something.
        async with legacy.notifications() as notifications:
            assert (await notifications.receive())["method"].endswith("/list_changed")


async def test_an_instance_takes_over_while_the_one_before_still_serves(short_folder):
    async with serving(short_folder) as service:
        new = await service.start("--socket", str(short_folder / "new.sock"))
        await service.load.turn()  # at either of them
        service.process.send_signal(signal.SIGTERM)
        assert await service.process.wait() == 0
        await service.load.turn()
        assert new.returncode is None
