"""A real program under a real supervisor: it crashes, comes back, or is given up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from onemcp import config
from onemcp.backend import Backend, BackendDown, BackendReady, Identity, Setup
from onemcp.backend.duplex import DuplexConnection, DuplexLimits
from onemcp.backend.handshake import Terms
from onemcp.backend.process import ProcessInstance, ProcessSpec, StopPolicy
from onemcp.backend.stdio import open_stdio_channel
from onemcp.protocol.errors import BackendUnavailable
from onemcp.protocol.fields import plain
from onemcp.protocol.jsonrpc import Response
from onemcp.protocol.methods import TOOLS
from onemcp.supervision import Backoff, ChildSpec, Intensity, Pause, Supervisor, What
from tests.backend.core.fakes import IDENTITY, call, error_of
from tests.support.process_tree import alive, marked

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = Path(__file__).parent / "programs"


class Supervised:
    """A backend whose program is started again whenever it ends."""

    def __init__(self, program: str, *args: str, restarts: int = 3) -> None:
        self.instance = ProcessInstance()
        self.events: list[Any] = []
        self.paused = trio.Event()
        spec = ProcessSpec(sys.executable, ("-I", "-S", str(PROGRAMS / program), *args))

        def connect(setup: Setup) -> DuplexConnection:
            return DuplexConnection(
                lambda: open_stdio_channel(
                    spec,
                    instance=self.instance,
                    stop=StopPolicy(eof=5, terminate=5, kill=20),
                    limit=1024 * 1024,
                    on_stderr=lambda _: None,
                ),
                Terms("auto", IDENTITY, 20.0, setup.memory),
                setup.notification_handler,
                DuplexLimits(),
            )

        self.backend = Backend(
            config.Backend(name="b", transport=config.StdioTransport(command=sys.executable)),
            connect=connect,
            observer=self,
            identity=Identity(IDENTITY),
            on_event=self.events.append,
        )
        self.supervisor = Supervisor(
            "b",
            [ChildSpec(id="connection", start=self.backend.serve, shutdown=30.0)],
            intensity=Intensity(restarts, 60.0),
            backoff=Backoff(initial=0.01, maximum=0.01),
            on_exhaustion=Pause(3600.0),
            on_event=self._hear,
        )

    def changed(self, backend: Backend) -> None:
        """Nothing to route here."""

    def announced(self, backend: Backend, note: object) -> None:
        """Nobody has subscribed."""

    def _hear(self, event: Any) -> None:
        if event.what is What.PAUSED:
            self.backend.give_up()
            self.paused.set()

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def ask(self, name: str) -> Any:
        exchange = await self.backend.open(call(params={"name": name}))
        return await exchange.receive()


@pytest.fixture
def start(nursery):
    """Run a backend until the test ends."""

    async def run(*args, **options) -> Supervised:
        supervised = Supervised(*args, **options)
        await nursery.start(supervised.supervisor.run)
        return supervised

    return run


@pytest.fixture
def instances() -> Iterator[list[ProcessInstance]]:
    """Check at the very end, when the nursery is closed."""
    found: list[ProcessInstance] = []
    yield found
    for instance in found:
        assert marked(instance.id) == set()


@pytest.mark.requirement("basic/transports/stdio#unexpected-termination-1")
@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        ("crash", "it exited with status 3", "cannot go on"),
        ("killed", "it was killed by SIGKILL", None),
    ],
)
async def test_a_program_that_crashes_comes_back(instances, start, fault, reason, detail):
    with trio.fail_after(30):
        supervised = await start("server.py", "--banner")
        instances.append(supervised.instance)
        first = plain((await supervised.ask("ok")).result)["pid"]
        failed = error_of(await supervised.ask(fault))
        assert failed.code == -33002
        assert reason in failed.message
        answer = await supervised.ask("ok")
        assert isinstance(answer, Response), "the call waited for the restart"
        second = plain(answer.result)["pid"]
    assert second != first
    assert not alive(first)
    assert alive(second)
    assert supervised.of(BackendDown) == [BackendDown("b", reason, detail)]
    assert len(supervised.of(BackendReady)) == 2
    assert [item.identity for item in supervised.backend.listings[TOOLS].items] == ["t"]


async def test_a_program_that_never_comes_up_is_given_up(instances, start):
    with trio.fail_after(30):
        supervised = await start("faults.py", "exits", restarts=2)
        instances.append(supervised.instance)
        with pytest.raises(BackendUnavailable, match="exited with status 3"):
            await supervised.backend.open(call())
    assert len(supervised.of(BackendDown)) == 3
    assert all("hunter2" not in event.reason for event in supervised.of(BackendDown))
    assert all("hunter2" in event.detail for event in supervised.of(BackendDown))


async def test_an_operator_brings_it_back(instances, start):
    with trio.fail_after(30):
        supervised = await start("server.py", restarts=0)
        instances.append(supervised.instance)
        await supervised.ask("ok")
        await supervised.ask("crash")
        await supervised.paused.wait()
        with pytest.raises(BackendUnavailable):
            await supervised.ask("ok")
        await supervised.supervisor.restart_child("connection")
        assert isinstance(await supervised.ask("ok"), Response)
